"""Prepared steps: against the formulas in float64; when there are none; what they leave alone."""

import pytest
import torch

from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN, LayerNormGRU, obstacles, prepared
from lm_research.kernels.fused.cpu.product import COLUMNS, packed
from lm_research.kernels.fused.cpu.steps import CompiledLinear, CompiledStep
from lm_research.kernels.prepared import prepared_linear, prepared_step

LAYERS = {"lstm": FusedLSTM, "gru": FusedGRU, "rnn": FusedRNN, "relu": FusedRNN}
NEAR = {"rtol": 0, "atol": 3e-6}
"""float32 beside float64, of numbers up to about 10."""
every_cell = pytest.mark.parametrize("cell", LAYERS)


def built(cell, inputs=5, hidden=7, **options):
    more = {"nonlinearity": "relu"} if cell == "relu" else {}
    torch.manual_seed(0)
    return LAYERS[cell](inputs, hidden, batch_first=True, **more, **options)


def given(cell, rows, inputs=5, hidden=7, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    draw = [
        torch.randn(rows, n, generator=generator, dtype=dtype) for n in (inputs, hidden, hidden)
    ]
    return draw[0], tuple(draw[1:]) if cell == "lstm" else (draw[1],)


def by_hand(cell, layer, x, states):
    """The formulas of the modules' docstrings, in float64."""
    w, u, b, b_hh = (None if p is None else p.detach().double() for p in layer.parts(0))
    x, h, *c = (part.double() for part in (x, *states))
    a = x @ w.T if b is None else x @ w.T + b
    inner = h @ u.T if b_hh is None else h @ u.T + b_hh
    if cell == "gru":
        (a_r, a_z, a_n), (u_r, u_z, u_n) = a.chunk(3, 1), inner.chunk(3, 1)
        r, z = torch.sigmoid(a_r + u_r), torch.sigmoid(a_z + u_z)
        return ((1 - z) * torch.tanh(a_n + r * u_n) + z * h,)
    if cell != "lstm":
        return ((torch.relu if cell == "relu" else torch.tanh)(a + inner),)
    i, f, g, o = (a + inner).chunk(4, 1)
    after = f.sigmoid() * c[0] + i.sigmoid() * g.tanh()
    return o.sigmoid() * after.tanh(), after


@every_cell
@pytest.mark.parametrize("rows", [1, 2, 7, 64, 101])
@pytest.mark.parametrize(("inputs", "hidden"), [(1, 1), (5, 7), (33, 16), (64, 130)])
@pytest.mark.parametrize("more", [{}, {"bias": False}, {"recurrent_bias": False}], ids=str)
def test_a_compiled_step_is_the_formula(cell, rows, inputs, hidden, more):
    layer = built(cell, inputs, hidden, **more)
    x, states = given(cell, rows, inputs, hidden)
    step = prepared_step(layer)
    assert isinstance(step, CompiledStep)
    after = step(x, states)
    assert len(after) == len(states)
    for found, expected in zip(after, by_hand(cell, layer, x, states), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, **NEAR)


@every_cell
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_a_compiler_it_is_pytorchs_cell(cell, dtype, monkeypatch):
    monkeypatch.setattr(obstacles, "COMPILER", False)
    layer = built(cell).to(dtype)
    x, states = given(cell, 3, dtype=dtype)
    with torch.no_grad():
        after = prepared_step(layer)(x, states)
    tolerance = {"rtol": 0, "atol": 1e-12} if dtype == torch.float64 else NEAR
    for found, expected in zip(after, by_hand(cell, layer, x, states), strict=True):
        torch.testing.assert_close(found.double(), expected, **tolerance)


@every_cell
def test_a_row_is_the_same_beside_any_others_on_any_number_of_threads(cell):
    layer = built(cell, 130, 150)
    step, (x, states) = prepared_step(layer), given(cell, 100, 130, 150)
    whole, before = step(x, states), torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for rows in (slice(0, 1), slice(3, 8), slice(40, 100)):
                found = step(x[rows], tuple(part[rows] for part in states))
                assert all(map(torch.equal, found, (part[rows] for part in whole)))
    finally:
        torch.set_num_threads(before)


@every_cell
def test_states_are_left_alone_and_may_lie_anyhow(cell):
    layer, (x, states) = built(cell), given(cell, 4)
    step, kept = prepared_step(layer), [part.clone() for part in states]
    after = step(x, states)
    assert all(map(torch.equal, states, kept))
    turned = [part.T.contiguous().T for part in (x, *states)]
    assert all(map(torch.equal, step(turned[0], tuple(turned[1:])), after))
    row = step(x, tuple(part[:1].expand(4, -1) for part in states))
    assert torch.equal(row[0][:1], after[0][:1])


@every_cell
@pytest.mark.parametrize(
    "changes", [{"x": (4, 6)}, {"x": (3, 5)}, {"h": (4, 8)}, {"dtype": torch.float64}], ids=str
)
def test_what_does_not_fit_is_told(cell, changes):
    x, states = given(cell, 4, dtype=changes.get("dtype", torch.float32))
    if "x" in changes:
        x = torch.zeros(changes["x"])
    if "h" in changes:
        states = tuple(torch.zeros(changes["h"]) for _ in states)
    with pytest.raises(RuntimeError, match=r"Expected float32 of size \(\d, \d\), got torch"):
        prepared_step(built(cell))(x, states)


@pytest.mark.parametrize(
    "layer",
    [
        FusedGRU(5, 8, 2),
        FusedLSTM(5, 8, bidirectional=True),
        FusedLSTM(5, 8, proj_size=3),
        FusedRNN(5, 8, num_heads=2),
        FusedGRU(5, 8, zoneout=0.1),
        FusedGRU(5, 8, state_dropout=0.1),  # in training
        LayerNormGRU(5, 8),
        FusedGRU(5, 8, backend="reference"),
        FusedGRU(5, 8, device="meta"),
    ],
    ids=str,
)
def test_what_has_to_be_called_as_a_layer(layer):
    assert prepared_step(layer) is None


def test_autocast_is_the_layers_own_affair():
    layer, linear = FusedGRU(5, 8), torch.nn.Linear(5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert prepared_step(layer) is None
        found = prepared_linear(linear.weight, linear.bias)(torch.zeros(1, 5))
        assert found.dtype == torch.bfloat16
    assert prepared_step(layer) is not None


def test_a_backend_asked_for_by_name_is_taken():
    assert isinstance(prepared_step(FusedGRU(5, 8, backend="cpu")), CompiledStep)
    step = prepared_step(FusedGRU(5, 8, backend="torch"))
    assert step is not None
    assert not isinstance(step, CompiledStep)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("rows", "inputs", "size"), [(1, 1, 1), (3, 7, 65), (64, 33, 128)])
def test_a_linear_map_is_its_formula(rows, inputs, size, bias, monkeypatch):
    linear, x = torch.nn.Linear(inputs, size, bias), torch.randn(rows, inputs)
    expected = linear.double()(x.double()).detach()
    linear.float()
    found = prepared_linear(linear.weight, linear.bias)
    assert isinstance(found, CompiledLinear)
    torch.testing.assert_close(found(x).double(), expected, **NEAR)
    with pytest.raises(RuntimeError, match="Expected float32 of size"):
        found(x.double())
    monkeypatch.setattr(prepared, "PACKED", inputs * size - 1)
    large = prepared_linear(linear.weight, linear.bias)
    assert not isinstance(large, CompiledLinear)
    torch.testing.assert_close(large(x).double(), expected, **NEAR)


@pytest.mark.parametrize(
    ("rows", "size"), [(1, 1), (64, 16), (65, 17), (130, 33), (15, 64), (384, 128), (200, 7)]
)
def test_a_weight_is_packed_alike_whichever_way_it_lies(rows, size):
    weight = torch.randn(rows, size)
    wide = torch.zeros(-(-rows // COLUMNS) * COLUMNS, size)
    wide[:rows] = weight
    expected = wide.unflatten(0, (-1, COLUMNS)).transpose(1, 2).flatten()
    for lying, steps in ((weight, (size, 1)), (weight.T.contiguous(), (1, rows))):
        found = packed(lying.flatten().numpy(), rows, size, *steps)
        assert torch.equal(torch.from_numpy(found), expected)
