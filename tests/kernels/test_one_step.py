"""A single step on a CPU is that of ``torch.nn``, by another way."""

import pytest
import torch
from torch import nn

from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN, stack

LAYERS = {"rnn": (FusedRNN, nn.RNN), "gru": (FusedGRU, nn.GRU), "lstm": (FusedLSTM, nn.LSTM)}


@pytest.fixture
def steps(monkeypatch):
    """Counts calls."""
    seen, real = [], stack.one_step
    monkeypatch.setattr(
        stack, "one_step", lambda *given: (seen.append(given[0].mode), real(*given))[1]
    )
    return seen


def both(cell, x, state, **options):
    """Outputs and gradients of ours and of PyTorch's layer on the same weights."""
    fused, plain = (kind(5, 7, **options) for kind in LAYERS[cell])
    plain.load_state_dict(fused.state_dict())
    found = []
    for layer in (fused, plain):
        given = [t.detach().clone().requires_grad_() for t in (x, *(state or ()))]
        hx = None if state is None else tuple(given[1:]) if cell == "lstm" else given[1]
        y, after = layer(given[0], hx)
        outputs = [y, *(after if cell == "lstm" else (after,))]
        total = sum((o * torch.arange(1.0, o.numel() + 1).view_as(o)).sum() for o in outputs)
        wanted = [*given, *layer.parameters()]
        found.append([*outputs, *torch.autograd.grad(total, wanted)])
    return found


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("more", [{}, {"num_layers": 3}, {"bias": False}], ids=str)
@pytest.mark.parametrize("given", [True, False])
def test_outputs_states_and_gradients(cell, batch_first, more, given, steps):
    x = torch.randn((4, 1, 5) if batch_first else (1, 4, 5))
    count = 2 if cell == "lstm" else 1
    layers = more.get("num_layers", 1)
    state = [torch.randn(layers, 4, 7) for _ in range(count)] if given else None
    ours, theirs = both(cell, x, state, batch_first=batch_first, **more)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert len(steps) == 1


def test_relu(steps):
    x = torch.randn(2, 1, 5)
    ours, theirs = both("rnn", x, None, batch_first=True, nonlinearity="relu")
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert steps == ["RNN_RELU"]


@pytest.mark.parametrize("cell", LAYERS)
def test_without_a_recurrent_bias(cell, steps):
    layer = LAYERS[cell][0](5, 7, batch_first=True, recurrent_bias=False)
    x = torch.randn(2, 1, 5)
    torch.testing.assert_close(layer(x)[0], layer.plain()(x)[0])
    assert len(steps) == 1


@pytest.mark.parametrize("cell", LAYERS)
def test_dropout_between_layers_is_for_training(cell, steps):
    layer = LAYERS[cell][0](5, 7, 2, dropout=0.9, batch_first=True)
    x = torch.randn(3, 1, 5)
    torch.manual_seed(0)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])
    assert len(steps) == 4


@pytest.mark.parametrize("cell", LAYERS)
def test_what_goes_another_way(cell, steps):
    kind = LAYERS[cell][0]
    kind(5, 7, batch_first=True)(torch.randn(3, 2, 5))
    kind(5, 7, batch_first=True, bidirectional=True)(torch.randn(3, 1, 5))
    with torch.autocast("cpu", torch.bfloat16):
        kind(5, 7, batch_first=True)(torch.randn(3, 1, 5).bfloat16())
    kind(5, 7, batch_first=True)(torch.randn(1, 5))  # without a batch
    assert not steps


@pytest.mark.parametrize("cell", LAYERS)
def test_a_wrong_size_is_told_as_by_torch(cell):
    layer = LAYERS[cell][0](5, 7, batch_first=True)
    with pytest.raises(RuntimeError, match="Expected 5, got 6"):
        layer(torch.randn(3, 1, 6))
    state = torch.zeros(1, 2, 7)
    with pytest.raises(RuntimeError, match="Expected hidden size"):
        layer(torch.randn(3, 1, 5), (state, state) if cell == "lstm" else state)
