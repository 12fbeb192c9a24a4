"""The LSTM's scan on a CPU; gates in the order i, f, g, o."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from lm_research.kernels.fused.cpu.compiled import compiled, flat
from lm_research.kernels.fused.cpu.product import as_rows, pointer, product, row_size, width_of
from lm_research.kernels.fused.cpu.rows import (
    Direction,
    check_saved,
    cleared,
    given,
    taken,
    weights,
    widened,
)
from lm_research.kernels.fused.cpu.threads import over_rows
from lm_research.kernels.fused.cpu.vectors import Vector, rowwise, sigmoid, tanh
from lm_research.kernels.operators import empty_as
from lm_research.kernels.reference import recurrent
from lm_research.kernels.walk import Walk

_READ = ("a_i", "a_f", "a_g", "a_o", "u_i", "u_f", "u_g", "u_o", "c")


def _step(*rows: Vector) -> tuple[Vector, ...]:
    a_i, a_f, a_g, a_o, u_i, u_f, u_g, u_o, c = rows
    i, f, g, o = sigmoid(a_i + u_i), sigmoid(a_f + u_f), tanh(a_g + u_g), sigmoid(a_o + u_o)
    after = f.times_plus(c, i * g)
    h = o * tanh(after)
    return h, h, after, i, f, g, o, c


def _gradient(
    carried: Vector, dy: Vector, dc: Vector, i: Vector, f: Vector, g: Vector, o: Vector,
    before: Vector,
) -> tuple[Vector, ...]:  # fmt: skip
    dh, bounded = carried + dy, tanh(f.times_plus(before, i * g))
    dcell = dc + dh * o * (1.0 - bounded * bounded)
    di = dcell * g * i * (1.0 - i)
    df = dcell * before * f * (1.0 - f)
    dg = dcell * i * (1.0 - g * g)
    do = dh * bounded * o * (1.0 - o)
    return di, df, dg, do, di, df, dg, do, dh.everywhere(0.0), dcell * f


_STEP = rowwise(_READ, ("h", "y", "c"), lambda *rows: _step(*rows)[:3])
_KEEP = rowwise(_READ, ("h", "y", "c", "i", "f", "g", "o", "before"), _step)
_BACK = rowwise(
    ("carried", "dy", "dc", "i", "f", "g", "o", "before"),
    ("da_i", "da_f", "da_g", "da_o", "d_i", "d_f", "d_g", "d_o", "left", "dc"),
    _gradient,
)


@compiled
def _four(array, place, hidden):
    return (pointer(array, place), pointer(array, place + hidden),
            pointer(array, place + 2 * hidden), pointer(array, place + 3 * hidden))  # fmt: skip


@compiled
def _forward(
    gates, panels, h0, c0, lengths, reset, y, last, c_last, saved, before, keep, place, first, end
):
    steps, hidden, count, number, reverse = place
    rows, width = end - first, width_of(4 * hidden)
    u = np.empty(rows * width, np.float32)
    size = row_size(hidden, panels)
    h = as_rows(taken(h0, first, rows, hidden, count, number), rows, hidden, panels)
    c = taken(c0, first, rows, hidden, count, number)
    for step in range(steps):
        t = steps - 1 - step if reverse else step
        cleared(h, size, reset, first, rows, steps, t, hidden)
        cleared(c, hidden, reset, first, rows, steps, t, hidden)
        product(h, rows, size, panels, u, width, 0)
        for row in range(rows):
            at = ((first + row) * steps + t) * count + number
            out = hidden * at
            if t >= lengths[first + row]:
                y[out : out + hidden] = 0
                continue
            cell = pointer(c, row * hidden)
            read = _four(gates, 4 * out, hidden) + _four(u, row * width, hidden) + (cell,)
            written = (pointer(h, row * size), pointer(y, out), cell)
            if keep:
                kept = (*_four(saved, 4 * out, hidden), pointer(before, out))
                _KEEP(read + written + kept, hidden)
            else:
                _STEP(read + written, hidden)
    given(h, size, last, first, rows, hidden, count, number)
    given(c, hidden, c_last, first, rows, hidden, count, number)


@compiled
def _backward(
    dy, dlast, dc_last, saved, before, panels, lengths, reset, dgates, dh0, dc0, place, first, end
):
    steps, hidden, count, number, reverse = place
    rows, width = end - first, width_of(hidden)
    carried = widened(taken(dlast, first, rows, hidden, count, number), rows, hidden, width)
    dc = taken(dc_last, first, rows, hidden, count, number)
    size = row_size(4 * hidden, panels)
    d = np.zeros(rows * size, panels.dtype)
    for step in range(steps):
        t = step if reverse else steps - 1 - step
        for row in range(rows):
            at = ((first + row) * steps + t) * count + number
            out, v = hidden * at, row * size
            if t >= lengths[first + row]:
                dgates[4 * out : 4 * (out + hidden)] = 0
                d[v : v + 4 * hidden] = 0
                continue
            carry, cell = pointer(carried, row * width), pointer(dc, row * hidden)
            read = (carry, pointer(dy, out), cell, *_four(saved, 4 * out, hidden))
            written = _four(dgates, 4 * out, hidden) + _four(d, v, hidden)
            _BACK((*read, pointer(before, out), *written, carry, cell), hidden)
        product(d, rows, size, panels, carried, width, 1)
        cleared(carried, width, reset, first, rows, steps, t, hidden)
        cleared(dc, hidden, reset, first, rows, steps, t, hidden)
    given(carried, width, dh0, first, rows, hidden, count, number)
    given(dc, hidden, dc0, first, rows, hidden, count, number)


def forward(
    gates_BTG: Tensor, weight_GD: Tensor, h0_BH: Tensor, c0_BH: Tensor, walk: Walk, save: bool
) -> tuple[Tensor, ...]:
    """Returns y_BTH, h_BH, c_BH and, to ``save``, gates' values (not to recompute) and c_{t-1}."""
    shape = batch, steps, width = *gates_BTG.shape[:2], h0_BH.shape[1]
    y_BTH, h_BH, c_BH = gates_BTG.new_empty(shape), empty_as(h0_BH), empty_as(c0_BH)
    saved_BTG = gates_BTG.new_empty(gates_BTG.shape if save else (0,))
    before_BTH = gates_BTG.new_empty(shape if save else (0,), dtype=torch.float32)
    panels = weights(weight_GD, walk.directions)
    for way in Direction.all(walk, batch, steps, width // walk.directions):
        read = (flat(gates_BTG), panels[way.number], flat(h0_BH), flat(c0_BH))
        written = (flat(y_BTH), flat(h_BH), flat(c_BH), flat(saved_BTG), flat(before_BTH))
        call = partial(_forward, *read, way.lengths_B, way.reset_BT, *written, save, way.place())
        over_rows(call, batch, way.products(batch, weight_GD))
    kept = gates_BTG.new_empty(0) if walk.recompute else saved_BTG
    return y_BTH, h_BH, c_BH, kept, before_BTH


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    dc_BH: Tensor,
    saved_BTG: Tensor,
    before_BTH: Tensor,
    hidden_BTH: Tensor | None,
    weight_GD: Tensor,
    walk: Walk,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, of h0 and of c0.

    Args:
        saved_BTG: what the forward scan saved; to recompute it the gates that it took.
        before_BTH: c_{t-1}.
        hidden_BTH: h_{t-1}, to recompute gates' values from.
    """
    batch, steps, width = dy_BTH.shape
    check_saved(saved_BTG, (batch, steps, 4 * width))
    check_saved(before_BTH, (batch, steps, width))
    if walk.recompute and hidden_BTH is not None:
        saved_BTG = _recomputed(saved_BTG, hidden_BTH, weight_GD, walk.directions)
    dgates_BTG, dh0_BH, dc0_BH = empty_as(saved_BTG), empty_as(dh_BH), empty_as(dc_BH)
    panels = weights(weight_GD, walk.directions, turned=True)
    for way in Direction.all(walk, batch, steps, width // walk.directions):
        read = (flat(dy_BTH), flat(dh_BH), flat(dc_BH), flat(saved_BTG), flat(before_BTH))
        written = (flat(dgates_BTG), flat(dh0_BH), flat(dc0_BH), way.place())
        call = partial(_backward, *read, panels[way.number], way.lengths_B, way.reset_BT, *written)
        over_rows(call, batch, way.products(batch, weight_GD))
    return dgates_BTG, dh0_BH, dc0_BH


def _recomputed(
    gates_BTG: Tensor, hidden_BTH: Tensor, weight_GD: Tensor, directions: int
) -> Tensor:
    """The gates' values of all steps at once, from the states before them."""
    shape = gates_BTG.shape[:2]
    found = []
    tensors, dims = (gates_BTG, hidden_BTH, weight_GD), (-1, -1, 0)
    chunks = (tensor.chunk(directions, dim) for tensor, dim in zip(tensors, dims, strict=True))
    for gates, hidden, weight in zip(*chunks, strict=True):
        u = recurrent(hidden.flatten(0, 1), weight).unflatten(0, shape)
        i, f, g, o = (gates.unflatten(-1, (4, -1)) + u).unbind(2)
        found += [i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()]
    return torch.cat(found, -1)
