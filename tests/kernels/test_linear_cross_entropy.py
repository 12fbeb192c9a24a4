"""The loss by blocks against the loss of all logits at once."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lm_research.kernels import linear_cross_entropy
from lm_research.kernels.linear_cross_entropy import block_rows


def inputs(rows=13, features=5, vocabulary=11, dtype=torch.float64, bias=True):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    made = [draw(rows, features), draw(vocabulary, features), draw(vocabulary) if bias else None]
    targets = torch.randint(vocabulary, (rows,), generator=generator)
    return [None if t is None else t.requires_grad_() for t in made], targets


def plain(x, weight, bias, targets, smoothing=0.0):
    return F.cross_entropy(F.linear(x, weight, bias), targets, label_smoothing=smoothing)


def gradients(loss, given):
    return torch.autograd.grad(loss, [t for t in given if t is not None])


@pytest.mark.parametrize("rows", [1, 4, 13, 100])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equal_to_all_logits_at_once(rows, bias, smoothing):
    given, targets = inputs(bias=bias)
    ours = linear_cross_entropy(*given, targets, smoothing, rows)
    theirs = plain(*given, targets, smoothing)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    # A loss that is scaled, as by an accumulation or a gradient scaler, scales its gradients.
    for a, b in zip(gradients(ours * 3, given), gradients(theirs * 3, given), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


def test_gradcheck():
    given, targets = inputs(4, 3, 5)
    torch.autograd.gradcheck(lambda *t: linear_cross_entropy(*t, targets, 0.2, 3), given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_as_near_to_float64_as_the_plain_loss(dtype, autocast):
    kind = torch.float32 if autocast else dtype
    given, targets = inputs(64, 32, 100, kind)
    exact = [t.detach().double().requires_grad_() for t in given]
    true = [plain(*exact, targets), *gradients(plain(*exact, targets), exact)]

    def errors(compute):
        with torch.autocast("cpu", dtype, enabled=autocast and dtype != torch.float32):
            loss = compute()
        found = [loss, *gradients(loss, given)]
        return [((a - b).norm() / b.norm()).item() for a, b in zip(found, true, strict=True)]

    ours = errors(lambda: linear_cross_entropy(*given, targets, 0.0, 16))
    theirs = errors(lambda: plain(*given, targets))
    step = torch.finfo(dtype).eps
    assert all(a <= 1.5 * b + 2 * step for a, b in zip(ours, theirs, strict=True)), (ours, theirs)


def test_only_what_is_asked_for_is_computed():
    given, targets = inputs()
    frozen = [given[0], given[1].detach(), given[2].detach()]
    (found,) = torch.autograd.grad(linear_cross_entropy(*frozen, targets), given[:1])
    (expected,) = torch.autograd.grad(plain(*given, targets), given[:1])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)
    with torch.no_grad():
        assert not linear_cross_entropy(*given, targets).requires_grad


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that an operation gives."""

    numel = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


def test_no_tensor_holds_the_logits_of_all_rows():
    vocabulary = 30_000
    given, targets = inputs(2048, 8, vocabulary, torch.float32)
    with Largest() as seen:
        linear_cross_entropy(*given, targets).backward()
    assert seen.numel == block_rows(vocabulary) * vocabulary < 2048 * vocabulary / 10


def test_it_is_differentiated_once():
    given, targets = inputs()
    loss = linear_cross_entropy(*given, targets)
    with pytest.raises(RuntimeError, match="differentiated twice"):
        torch.autograd.grad(loss, given[:1], create_graph=True)


def test_no_rows():
    given, targets = inputs(0)
    with pytest.raises(ValueError, match="no rows"):
        linear_cross_entropy(*given, targets)
