"""The pointer-generator's mixture against its formula written out."""

import pytest
import torch

from lm_research.tasks.copying import mixed, mixed_at

B, T, S, V = 3, 4, 5, 7


def given():
    generator = torch.Generator().manual_seed(0)
    draw = lambda *size: torch.randn(*size, generator=generator, dtype=torch.float64)  # noqa: E731
    source_BS = torch.randint(0, V, (B, S), generator=generator)
    source_BS[1, 3:] = -1
    source_BS[2, :] = 2  # the same word at every place
    weight_BTS = draw(B, T, S).masked_fill(source_BS[:, None] < 0, -torch.inf).softmax(-1)
    logits, gate = draw(B, T, V), draw(B, T, 1)
    for tensor in (logits, gate, weight_BTS):
        tensor.requires_grad_()
    return logits, gate, weight_BTS, source_BS


def written_out(logits, gate, weight, source):
    p = torch.zeros(B, T, V, dtype=torch.float64)
    share = torch.sigmoid(gate)
    for b in range(B):
        for t in range(T):
            p[b, t] = share[b, t] * logits[b, t].softmax(-1)
            for s in range(S):
                if source[b, s] >= 0:
                    p[b, t, source[b, s]] += (1 - share[b, t, 0]) * weight[b, t, s]
    return p


def test_the_mixture_is_the_published_one():
    logits, gate, weight, source = given()
    log_p = mixed(logits.log_softmax(-1), gate, weight, source)
    torch.testing.assert_close(log_p.exp(), written_out(logits, gate, weight, source))
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(B, T, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_one_token_of_it_and_its_gradients(dtype):
    logits, gate, weight, source = given()
    target = torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(1))
    target[:, 0] = source[:, 0]
    whole = written_out(logits, gate, weight, source)
    expected = whole.gather(-1, target[..., None])[..., 0].log()
    inputs = logits, gate, weight
    wanted = torch.autograd.grad(expected.sum(), inputs)
    low = [tensor.detach().to(dtype).requires_grad_() for tensor in inputs]
    found = mixed_at(low[0].log_softmax(-1), low[1], low[2], source, target)
    torch.testing.assert_close(found, expected.to(dtype))
    for got, want in zip(torch.autograd.grad(found.sum(), low), wanted, strict=True):
        torch.testing.assert_close(got, want.to(dtype), rtol=1e-5, atol=1e-6)
    target[0, 1] = -1
    assert mixed_at(low[0].log_softmax(-1), low[1], low[2], source, target).isfinite().all()
