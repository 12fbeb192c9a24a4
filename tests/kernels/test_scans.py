"""The fused scans against the reference in float64: outputs, states and every gradient."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scan_cases import DTYPES, GATES, both, case, names_of, run

from lm_research.kernels import gru_scan, lstm_scan
from lm_research.kernels.walk import Walk


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_every_type_and_direction(cell, dtype, reverse, device, agree):
    tensors, options = case(cell, dtype, device, 3, 7, 24, lengths=[7, 1, 4], resets=0.3)
    agree(*both(cell, tensors, {**options, "reverse": reverse}), names_of(cell), dtype)


SHAPES = [(1, 1, 1), (16, 2, 16), (17, 7, 20), (2, 63, 8), (5, 3, 64), (33, 2, 33)]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_odd_shapes(cell, shape, device, agree):
    tensors, options = case(cell, torch.float32, device, *shape)
    agree(*both(cell, tensors, options), names_of(cell), torch.float32)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cell=st.sampled_from(sorted(GATES)),
    batch=st.integers(1, 18),
    steps=st.integers(1, 4),
    size=st.integers(1, 18),
    heads=st.integers(1, 3),
    way=st.sampled_from([{}, {"reverse": True}, {"bidirectional": True}]),
    resets=st.sampled_from([None, 0.4]),
    dropout=st.sampled_from([None, 0.4]),
    zoneout=st.sampled_from([None, "mask", 0.3]),
    recompute=st.booleans(),
    data=st.data(),
)
def test_any_walk(
    cell, batch, steps, size, heads, way, resets, dropout, zoneout, recompute, data, device, agree
):
    one = st.integers(1, steps)
    lengths = data.draw(st.none() | st.lists(one, min_size=batch, max_size=batch))
    tensors, options = case(
        cell,
        torch.float32,
        device,
        batch,
        steps,
        size * heads,
        heads,
        lengths,
        resets,
        dropout=dropout,
        zoneout=zoneout,
        **way,
    )
    found, expected = both(cell, tensors, {**options, "recompute": recompute})
    agree(found, expected, names_of(cell), torch.float32)


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


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradcheck(cell, device):
    tensors, options = case(cell, torch.float64, device, 2, 3, 4, lengths=[3, 2], resets=0.3)
    given = [t.requires_grad_() for t in tensors]
    function = lambda *t: run(cell, t, options, "triton")  # noqa: E731
    assert torch.autograd.gradcheck(function, given, fast_mode=True)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_reference_differentiates_twice(cell):
    tensors, options = case(cell, torch.float64, "cpu", 2, 2, 3)
    given = [t.requires_grad_() for t in tensors]
    assert torch.autograd.gradgradcheck(lambda *t: run(cell, t, options, "reference"), given)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_second_derivative_is_refused(cell, device):
    tensors, options = case(cell, torch.float32, device, 2, 3, 4)
    given = [t.requires_grad_() for t in tensors]
    y = run(cell, given, options, "triton")[0]
    (first,) = torch.autograd.grad(y.square().sum(), given[0], create_graph=True)
    with pytest.raises(RuntimeError, match="backend='reference'"):
        first.sum().backward()


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_large_inputs_do_not_overflow(cell, device):
    tensors, options = case(cell, torch.float32, device, 2, 3, 4)
    tensors[0] = tensors[0] * 1e4
    found, _ = both(cell, tensors, options)
    assert all(tensor.isfinite().all() for tensor in found)


@pytest.mark.parametrize("cell", ["rnn", "rnn_relu", "lstm", "gru"])
def test_a_nan_stays_one(cell, device):
    tensors, options = case(cell, torch.float32, device, 2, 3, 4)
    tensors[0][0, 1] = float("nan")
    y = run(cell, tensors, options, "triton")[0]
    assert y[0, 1:].isnan().all()
    assert y[1].isfinite().all()


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_operators_keep_pytorchs_rules(cell, device):
    from lm_research.kernels import ops

    tensors, _ = case(cell, torch.float32, device, 2, 3, 4)
    given = [t.requires_grad_() for t in tensors]
    flags = (True, False) if cell == "rnn" else (True,)  # to save; no ReLU
    operator = getattr(ops, f"{cell}_scan")
    torch.library.opcheck(operator, (*given, *flags, *Walk(precision="ieee").flat()))


REFUSED = [
    ({"gates": (2, 3)}, "gates must have 3 dimensions"),
    ({"gates": (2, 3, 15)}, "multiple of 4"),
    ({"weight": (16, 3)}, "Expected weight size"),
    ({"weight": (12, 4)}, "Expected weight size"),
    ({"h0": (2, 5)}, "Expected h0 size"),
    ({"lengths": torch.tensor([1, 2, 3])}, "Expected lengths size"),
    ({"lengths": torch.tensor([1.0, 2.0])}, "lengths' type"),
    ({"reset_mask": torch.zeros(2, 3)}, "reset_mask's type"),
    ({"reset_mask": torch.zeros(3, 2, dtype=torch.bool)}, "Expected reset_mask size"),
]


def test_a_bias_that_does_not_fit_is_named():
    with pytest.raises(RuntimeError, match="Expected bias_n size"):
        gru_scan(torch.zeros(2, 3, 12), torch.zeros(12, 4), bias_n=torch.zeros(3))


@pytest.mark.parametrize(("change", "said"), REFUSED)
def test_what_does_not_fit_is_named(change, said):
    given = {"gates": (2, 3, 16), "weight": (16, 4), "h0": (2, 4), **change}
    gates, weight, h0 = (torch.zeros(given.pop(name)) for name in ("gates", "weight", "h0"))
    with pytest.raises(RuntimeError, match=said):
        lstm_scan(gates, weight, (h0, torch.zeros(2, 4)), **given)
