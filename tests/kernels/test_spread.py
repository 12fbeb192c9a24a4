"""Scans spread over several programs against float64, one step a launch in the interpreter."""

import dataclasses

import pytest
import torch

from lm_research.kernels import reference
from lm_research.kernels.walk import Walk

COUNTS = {"rnn": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
NAMES = {
    "rnn": ["y", "h", "d gates", "d h0"],
    "lstm": ["y", "h", "c", "d gates", "d h0", "d c0"],
    "gru": ["y", "h", "d gates", "d h0", "d inner bias"],
}


def cut(units=16, **changes):
    """A plan of several slices for heads of more than ``units`` units."""
    from lm_research.kernels.fused.spread.plan import Plan

    plan = Plan(rows=16, units=units, warps=2, inner=32, groups=2, persistent=False)
    return dataclasses.replace(plan, **changes)


def case(cell, dtype, device, batch, steps, hidden, heads=1, directions=1, seed=0):
    """(gates, weight, states, bias) as a scan takes them; the GRU alone has a bias."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).to(device)

    width, size = directions * hidden, hidden // heads
    gates = draw(batch, steps, COUNTS[cell] * width)
    weight = draw(COUNTS[cell] * width, size) / size**0.5
    states = [draw(batch, width) for _ in range(2 if cell == "lstm" else 1)]
    return gates, weight, states, [draw(width)] if cell == "gru" else []


def spread(cell, gates, weight, states, bias, walk, cotangents, plan):
    """Outputs and gradients (of gates, states, the GRU's inner bias) by the spread scans."""
    from lm_research.kernels.fused.spread import elman, gru, lstm

    if cell == "lstm":
        y, h, c, *saved = lstm.forward(gates, weight, *states, walk, True, plan)
        return [y, h, c, *lstm.backward(*cotangents, *saved, weight, walk, plan)]
    if cell == "gru":
        y, h, saved = gru.forward(gates, weight, *bias, *states, walk, True, plan)
        before = seen(y, states[0], walk)
        dgates, dinner, dh0 = gru.backward(*cotangents, saved, before, weight, walk, plan)
        return [y, h, dgates, dh0, dinner.double().sum((0, 1))]
    relu = cell == "rnn_relu"
    y, h = elman.forward(gates, weight, *states, walk, relu, plan)
    return [y, h, *elman.backward(*cotangents, y, weight, walk, relu, plan)]


def seen(y, h0, walk):
    """h_{t-1} of every step, step by step; zero after a reset."""
    before = torch.empty_like(y)
    hidden = y.shape[2] // walk.directions
    for r in range(walk.directions):
        reverse = walk.reverse or r == 1
        columns = slice(r * hidden, (r + 1) * hidden)
        h = h0[:, columns]
        for t in reversed(range(y.shape[1])) if reverse else range(y.shape[1]):
            fresh = resets_of(walk, r)
            h = h if fresh is None else h.masked_fill(fresh[:, t, None], 0)
            before[:, t, columns] = h
            after = y[:, t, columns]
            real = None if walk.lengths_B is None else (t < walk.lengths_B)[:, None]
            h = after if real is None else torch.where(real, after, h)
    return before


def resets_of(walk, r):
    reset = walk.reset_BT
    return reset[r] if reset is not None and reset.dim() == 3 else reset


def oracle(cell, gates, weight, states, bias, walk, cotangents):
    """The same by autograd through the float64 reference, each direction for itself."""
    given = [t.double().requires_grad_() for t in (gates, *states, *bias)]
    gates, *states = given
    weight = weight.double()
    bias = [states.pop()] if bias else []
    outputs = []
    for r in range(walk.directions):
        part = [t.chunk(walk.directions, -1)[r] for t in (gates, *states, *bias)]
        rows = weight.chunk(walk.directions)[r]
        steps = (walk.lengths_B, resets_of(walk, r), walk.reverse or r == 1)
        if cell == "lstm":
            outputs.append(reference.lstm_scan(part[0], rows, *part[1:], *steps))
        elif cell == "gru":
            outputs.append(reference.gru_scan(part[0], rows, part[2], part[1], *steps))
        else:
            kind = "relu" if cell == "rnn_relu" else "tanh"
            outputs.append(reference.rnn_scan(part[0], rows, part[1], *steps, kind))
    whole = [torch.cat(parts, -1) for parts in zip(*outputs, strict=True)]
    return [*whole, *torch.autograd.grad(whole, given, [c.double() for c in cotangents])]


def compare(agree, cell, dtype, device, sizes, walk, plan, heads=1):
    tensors = case(cell, dtype, device, *sizes, heads, walk.directions)
    generator = torch.Generator().manual_seed(1)
    shapes = [(*sizes[:2], walk.directions * sizes[2])] + [s.shape for s in tensors[2]]
    cotangents = [torch.randn(s, generator=generator).to(tensors[0]) for s in shapes]
    found = spread(cell, *tensors, walk, cotangents, plan)
    expected = oracle(cell, *tensors, walk, cotangents)
    agree(found, expected, NAMES[cell.removesuffix("_relu")], dtype)


def walk_of(device, batch, steps, reverse=False, directions=1, precision="ieee"):
    """Lengths from 1 to ``steps`` and a reset here and there."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator)
    shape = (batch, steps) if directions == 1 else (2, batch, steps)
    reset = torch.rand(shape, generator=generator) < 0.3
    return Walk(
        lengths_B=lengths.to(device),
        reset_BT=reset.to(device),
        reverse=reverse,
        directions=directions,
        precision=precision,
    )


@pytest.mark.parametrize("cell", COUNTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_every_type_and_direction_over_three_slices(cell, dtype, reverse, device, agree):
    walk = walk_of(device, 3, 7, reverse)
    compare(agree, cell, dtype, device, (3, 7, 40), walk, cut())


@pytest.mark.parametrize("cell", COUNTS)
@pytest.mark.parametrize("sizes", [(1, 1, 40), (17, 2, 33), (2, 7, 24)], ids=str)
def test_odd_shapes(cell, sizes, device, agree):
    compare(agree, cell, torch.float32, device, sizes, Walk(precision="ieee"), cut(8))


@pytest.mark.parametrize("cell", COUNTS)
def test_heads_and_both_directions(cell, device, agree):
    walk = walk_of(device, 2, 4, directions=2)
    compare(agree, cell, torch.float32, device, (2, 4, 40), walk, cut(8), heads=2)


@pytest.mark.parametrize("cell", COUNTS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_reset_at_every_position(cell, reverse, device, agree):
    reset = torch.eye(4, dtype=torch.bool, device=device)
    walk = Walk(reset_BT=reset, reverse=reverse, precision="ieee")
    compare(agree, cell, torch.float32, device, (4, 4, 24), walk, cut())
