"""Cells with layer normalization: the fused scans against ``F.layer_norm`` at every step."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lm_research.kernels.normalized.scans import (
    layer_norm_gru_scan,
    layer_norm_lstm_scan,
    layer_norm_rnn_scan,
)

GATES = {"rnn": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
CELLS = ["rnn", "lstm", "gru"]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def run(cell, tensors, options, backend):
    """[y, states...] from (gates, weight, states..., gain, ...)."""
    gates, weight, *others = tensors
    options = {**options, "backend": backend}
    if cell == "lstm":
        h0, c0, gain, gain_c, bias_c = others
        y, state = layer_norm_lstm_scan(gates, weight, gain, gain_c, bias_c, (h0, c0), **options)
        return [y, *state]
    if cell == "gru":
        h0, gain, bias_n = others
        return list(layer_norm_gru_scan(gates, weight, gain, h0, bias_n=bias_n, **options))
    h0, gain = others
    kind = "relu" if cell == "rnn_relu" else "tanh"
    return list(layer_norm_rnn_scan(gates, weight, gain, h0, nonlinearity=kind, **options))


def names_of(cell):
    outputs = ["y", "h", "c"] if cell == "lstm" else ["y", "h"]
    extra = {"lstm": ["c0", "gain", "gain_c", "bias_c"], "gru": ["gain", "bias_n"]}
    inputs = ["gates", "weight", "h0", *extra.get(cell, ["gain"])]
    return [*outputs, *(f"d {name}" for name in inputs)]


def case(cell, dtype, device, batch, steps, hidden, heads=1, lengths=None, resets=None, seed=0):
    """Inputs in ``dtype`` and options; lengths in every row, resets with a probability.

    Gains are about 1/2, since at 1 the Elman cell is chaotic (whatever the scale of U), and
    ReLU's arguments stay off its kink, where rounding would decide between two gradients.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def gain(size):
        return 0.5 + 0.5 * draw(size)

    size, width = hidden // heads, GATES[cell] * hidden
    gates = draw(batch, steps, width)
    if cell == "rnn_relu":
        gates = gates + 3 * gates.sign()
    tensors = [gates, draw(width, size), draw(batch, hidden)]
    if cell == "lstm":
        tensors += [draw(batch, hidden), gain(width), gain(hidden), draw(hidden)]
    elif cell == "gru":
        tensors += [gain(width), draw(hidden)]
    else:
        tensors += [gain(width)]
    options = {}
    if lengths is not None:
        options["lengths"] = torch.tensor(lengths, device=device)
    if resets is not None:
        mask = torch.rand(batch, steps, generator=generator) < resets
        options["reset_mask"] = mask.to(device)
    return [tensor.to(dtype).to(device) for tensor in tensors], options


def both(cell, tensors, options):
    """(found, expected): outputs and gradients of the fused scan, and of the float64 reference."""
    results = []
    for backend, double in (("triton", False), ("reference", True)):
        inputs = [(t.double() if double else t).detach().requires_grad_() for t in tensors]
        outputs = run(cell, inputs, options, backend)
        generator = torch.Generator().manual_seed(1)
        weights = [
            torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o) for o in outputs
        ]
        results.append([*outputs, *torch.autograd.grad(outputs, inputs, weights)])
    return results


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_every_type_and_direction(cell, dtype, reverse, device, agree):
    tensors, options = case(cell, dtype, device, 3, 7, 24, lengths=[7, 1, 4], resets=0.3)
    agree(*both(cell, tensors, {**options, "reverse": reverse}), names_of(cell), dtype)


SHAPES = [(1, 1, 4), (16, 2, 16), (17, 7, 20), (2, 63, 8), (5, 3, 64), (33, 2, 33)]


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_odd_shapes(cell, shape, device, agree):
    tensors, options = case(cell, torch.float32, device, *shape)
    agree(*both(cell, tensors, options), names_of(cell), torch.float32)
