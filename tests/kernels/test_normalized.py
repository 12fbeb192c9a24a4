"""Cells with layer normalization: the fused scans against ``F.layer_norm`` at every step."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lm_research.kernels.normalized import (
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


def case(cell, dtype, device, batch, steps, hidden, heads=1, directions=1, lengths=None, resets=0):
    """Inputs in ``dtype`` and options; lengths in every row, resets with a probability.

    Gains are about 1/2, since at 1 the Elman cell is chaotic (whatever the scale of U), and
    ReLU's arguments stay off its kink, where rounding would decide between two gradients.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def gain(size):
        return 0.5 + 0.5 * draw(size)

    units = directions * hidden
    width = GATES[cell] * units
    gates = draw(batch, steps, width)
    if cell == "rnn_relu":
        gates = gates + 3 * gates.sign()
    tensors = [gates, draw(width, hidden // heads), draw(batch, units)]
    if cell == "lstm":
        tensors += [draw(batch, units), gain(width), gain(units), draw(units)]
    elif cell == "gru":
        tensors += [gain(width), draw(units)]
    else:
        tensors += [gain(width)]
    options = {"bidirectional": directions == 2}
    if lengths is not None:
        options["lengths"] = torch.tensor(lengths, device=device)
    if resets:
        shape = (batch, steps) if directions == 1 else (2, batch, steps)
        options["reset_mask"] = (torch.rand(shape, generator=generator) < resets).to(device)
    return [tensor.to(dtype).to(device) for tensor in tensors], options


def both(cell, tensors, options):
    """(found, expected): outputs and gradients of the fused scan, and of the float64 reference."""
    exact = everything(cell, [tensor.double() for tensor in tensors], options, "reference")
    return everything(cell, tensors, options, "triton"), exact


def everything(cell, tensors, options, backend):
    """Outputs, and the gradient of every input."""
    inputs = [tensor.detach().requires_grad_() for tensor in tensors]
    outputs = run(cell, inputs, options, backend)
    generator = torch.Generator().manual_seed(1)
    shapes = [output.shape for output in outputs]
    weights = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    weights = [weight.to(output) for weight, output in zip(weights, outputs, strict=True)]
    return [*outputs, *torch.autograd.grad(outputs, inputs, weights)]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_every_type_and_direction(cell, dtype, reverse, device, agree):
    tensors, options = case(cell, dtype, device, 3, 7, 24, lengths=[7, 1, 4], resets=0.3)
    agree(*both(cell, tensors, {**options, "reverse": reverse}), names_of(cell), dtype)


SHAPES = [(1, 1, 4), (16, 2, 16), (17, 7, 20), (2, 31, 8), (5, 3, 64), (33, 2, 33)]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_odd_shapes(cell, shape, device, agree):
    tensors, options = case(cell, torch.float32, device, *shape)
    agree(*both(cell, tensors, options), names_of(cell), torch.float32)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cell=st.sampled_from(sorted(GATES)),
    batch=st.integers(1, 18),
    steps=st.integers(1, 5),
    size=st.integers(4, 18),  # LN of two numbers is their sign: its gradient is all cancellation
    heads=st.integers(1, 3),
    reverse=st.booleans(),
    resets=st.sampled_from([0, 0.4]),
    data=st.data(),
)
def test_any_shape(cell, batch, steps, size, heads, reverse, resets, data, device, agree):
    one = st.integers(1, steps)
    lengths = data.draw(st.none() | st.lists(one, min_size=batch, max_size=batch))
    tensors, options = case(
        cell, torch.float32, device, batch, steps, size * heads, heads, 1, lengths, resets
    )
    found, expected = both(cell, tensors, {**options, "reverse": reverse})
    agree(found, expected, names_of(cell), torch.float32)


WALKS = {
    "state dropout": ["dropout_mask"],
    "zoneout": ["zoneout_h", "zoneout_c"],
    "a share of zoneout": ["share_h", "share_c"],
    "all": ["dropout_mask", "zoneout_h", "share_c"],
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("masks", WALKS)
@pytest.mark.parametrize("directions", [1, 2])
def test_every_walk(cell, masks, directions, device, agree):
    tensors, options = case(
        cell, torch.float32, device, 3, 5, 12, 2, directions, lengths=[5, 1, 4], resets=0.3
    )
    shape = (3, 5, directions * 12)
    generator = torch.Generator().manual_seed(0)
    for name in WALKS[masks]:
        if name == "dropout_mask":
            kept = torch.rand(3, directions * 12, generator=generator) < 0.7
            options[name] = kept.to(device) / 0.7
        elif cell == "lstm" or name.endswith("h"):
            option = name.replace("share", "zoneout")
            drawn = (torch.rand(shape, generator=generator) < 0.3).to(device)
            options[option] = 0.3 if "share" in name else drawn
    agree(*both(cell, tensors, options), names_of(cell), torch.float32)


@pytest.mark.parametrize("cell", GATES)
def test_a_reset_at_every_position(cell, device, agree):
    tensors, options = case(cell, torch.float32, device, 6, 6, 8)
    options["reset_mask"] = torch.eye(6, dtype=torch.bool, device=device)
    agree(*both(cell, tensors, options), names_of(cell), torch.float32)


@pytest.mark.parametrize("cell", GATES)
def test_strided_inputs(cell, device, agree):
    tensors, options = case(cell, torch.float32, device, 4, 5, 12)
    strided = [t.mT.contiguous().mT if t.dim() > 1 else t for t in tensors]
    agree(*both(cell, strided, options), names_of(cell), torch.float32)


@pytest.mark.parametrize("cell", CELLS)
def test_a_mean_far_from_zero_costs_no_accuracy(cell, device, agree):
    """U h has a mean many times its deviation, which plain sums of squares would lose."""
    tensors, options = case(cell, torch.float32, device, 3, 4, 16)
    tensors[1] = tensors[1] + 30
    agree(*both(cell, tensors, options), names_of(cell), torch.float32)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", CELLS)
def test_gradcheck(cell, device):
    tensors, options = case(cell, torch.float64, device, 2, 2, 8, 2, 1, [2, 1], 0.3)
    inputs = [t.requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(
        lambda *t: run(cell, t, options, "triton"), inputs, fast_mode=True
    )


@pytest.mark.parametrize("cell", CELLS)
def test_the_reference_differentiates_twice(cell):
    tensors, options = case(cell, torch.float64, "cpu", 2, 2, 3)
    inputs = [t.requires_grad_() for t in tensors]
    assert torch.autograd.gradgradcheck(lambda *t: run(cell, t, options, "reference"), inputs)


@pytest.mark.parametrize("cell", CELLS)
def test_a_second_derivative_is_refused(cell, device):
    tensors, options = case(cell, torch.float32, device, 2, 3, 4)
    inputs = [t.requires_grad_() for t in tensors]
    y = run(cell, inputs, options, "triton")[0]
    (first,) = torch.autograd.grad(y.square().sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="backend='reference'"):
        first.sum().backward()


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_beyond_a_length_is_not_read(cell, device):
    """NaN in padding reaches neither outputs nor gradients."""
    tensors, options = case(cell, torch.float32, device, 3, 5, 8, lengths=[5, 2, 3])
    expected = everything(cell, tensors, options, "triton")
    tensors[0][1, 2:] = float("nan")
    found = everything(cell, tensors, options, "triton")
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("cell", CELLS)
def test_a_nan_stays_one(cell, device):
    tensors, options = case(cell, torch.float32, device, 2, 3, 4)
    tensors[0][0, 1] = float("nan")
    y = run(cell, tensors, options, "triton")[0]
    assert y[0, 1:].isnan().all()
    assert y[1].isfinite().all()


@pytest.mark.parametrize("cell", CELLS)
def test_the_operators_keep_pytorchs_rules(cell, device):
    from lm_research.kernels.normalized import ops
    from lm_research.kernels.walk import Walk

    tensors, _ = case(cell, torch.float32, device, 2, 3, 4)
    inputs = [t.requires_grad_() for t in tensors]
    options = {"rnn": (True, False, 1e-5), "lstm": (True, 1e-5), "gru": (True, 1e-5)}[cell]
    operator = getattr(ops, f"{cell}_scan")
    torch.library.opcheck(operator, (*inputs, *options, *Walk(precision="ieee").flat()))
