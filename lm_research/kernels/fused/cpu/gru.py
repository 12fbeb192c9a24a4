"""The GRU's scan on a CPU; gates in the order r, z, n, the reset gate after the product."""

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
    parts,
    taken,
    weights,
    widened,
)
from lm_research.kernels.fused.cpu.threads import over_rows
from lm_research.kernels.fused.cpu.vectors import Vector, rowwise, sigmoid, tanh
from lm_research.kernels.operators import empty_as
from lm_research.kernels.reference import recurrent
from lm_research.kernels.walk import Walk

_READ = ("a_r", "a_z", "a_n", "u_r", "u_z", "u_n", "bias", "h")


def _step(
    a_r: Vector, a_z: Vector, a_n: Vector, u_r: Vector, u_z: Vector, u_n: Vector,
    bias: Vector, h: Vector,
) -> tuple[Vector, ...]:  # fmt: skip
    r, z, inner = sigmoid(a_r + u_r), sigmoid(a_z + u_z), u_n + bias
    n = tanh(r.times_plus(inner, a_n))
    after = z.times_plus(h - n, n)
    return after, after, after, r, z, n, inner


def _gradient(
    carried: Vector, dy: Vector, r: Vector, z: Vector, n: Vector, inner: Vector, before: Vector
) -> tuple[Vector, ...]:
    dh = carried + dy
    dn = dh * (1.0 - z) * (1.0 - n * n)
    dz = dh * (before - n) * z * (1.0 - z)
    dr = dn * inner * r * (1.0 - r)
    dinner = dn * r
    return dr, dz, dn, dinner, dr, dz, dinner, dh * z


_STEP = rowwise(_READ, ("h", "left", "y"), lambda *rows: _step(*rows)[:3])
_KEEP = rowwise(_READ, ("h", "left", "y", "r", "z", "n", "inner"), _step)
_BACK = rowwise(
    ("carried", "dy", "r", "z", "n", "inner", "before"),
    ("da_r", "da_z", "da_n", "dinner", "d_r", "d_z", "d_n", "left"),
    _gradient,
)


@compiled
def _forward(gates, panels, bias, h0, lengths, reset, y, last, saved, keep, place, first, end):
    steps, hidden, count, number, reverse = place
    rows, width = end - first, width_of(3 * hidden)
    u = np.empty(rows * width, np.float32)
    h, size = taken(h0, first, rows, hidden, count, number), row_size(hidden, panels)
    left = as_rows(h, rows, hidden, panels)
    for step in range(steps):
        t = steps - 1 - step if reverse else step
        cleared(h, hidden, reset, first, rows, steps, t, hidden)
        cleared(left, size, reset, first, rows, steps, t, hidden)
        product(left, rows, size, panels, u, width, 0)
        for row in range(rows):
            at = ((first + row) * steps + t) * count + number
            a, v, s, out = 3 * hidden * at, row * width, 4 * hidden * at, hidden * at
            if t >= lengths[first + row]:
                y[out : out + hidden] = 0
                continue
            state, side = pointer(h, row * hidden), pointer(left, row * size)
            read = (pointer(gates, a), pointer(gates, a + hidden), pointer(gates, a + 2 * hidden),
                    pointer(u, v), pointer(u, v + hidden), pointer(u, v + 2 * hidden),
                    pointer(bias, 0), state)  # fmt: skip
            if keep:
                kept = (state, side, pointer(y, out), pointer(saved, s),
                        pointer(saved, s + hidden), pointer(saved, s + 2 * hidden),
                        pointer(saved, s + 3 * hidden))  # fmt: skip
                _KEEP(read + kept, hidden)
            else:
                _STEP((*read, state, side, pointer(y, out)), hidden)
    given(h, hidden, last, first, rows, hidden, count, number)


@compiled
def _backward(
    dy, dlast, saved, before, panels, lengths, reset, dgates, dinner, dh0, place, first, end
):
    steps, hidden, count, number, reverse = place
    rows, width = end - first, width_of(hidden)
    carried = widened(taken(dlast, first, rows, hidden, count, number), rows, hidden, width)
    size = row_size(3 * hidden, panels)
    d = np.zeros(rows * size, panels.dtype)
    for step in range(steps):
        t = step if reverse else steps - 1 - step
        for row in range(rows):
            at = ((first + row) * steps + t) * count + number
            a, v, s, out = 3 * hidden * at, row * size, 4 * hidden * at, hidden * at
            if t >= lengths[first + row]:
                dgates[a : a + 3 * hidden] = 0
                dinner[out : out + hidden] = 0
                d[v : v + 3 * hidden] = 0
                continue
            carry = pointer(carried, row * width)
            _BACK(
                (carry, pointer(dy, out), pointer(saved, s), pointer(saved, s + hidden),
                 pointer(saved, s + 2 * hidden), pointer(saved, s + 3 * hidden),
                 pointer(before, out), pointer(dgates, a), pointer(dgates, a + hidden),
                 pointer(dgates, a + 2 * hidden), pointer(dinner, out), pointer(d, v),
                 pointer(d, v + hidden), pointer(d, v + 2 * hidden), carry),
                hidden,
            )  # fmt: skip
        product(d, rows, size, panels, carried, width, 1)
        cleared(carried, width, reset, first, rows, steps, t, hidden)
    given(carried, width, dh0, first, rows, hidden, count, number)


def forward(
    gates_BTG: Tensor, weight_GD: Tensor, h0_BH: Tensor, bias_n_H: Tensor, walk: Walk, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and, to ``save`` but not to recompute, r, z, n, U h + b' of every step.

    These lie as gates do: (B, T, R x 4 H).
    """
    batch, steps, width = *gates_BTG.shape[:2], h0_BH.shape[1]
    keep = save and not walk.recompute
    y_BTH, h_BH = gates_BTG.new_empty(batch, steps, width), empty_as(h0_BH)
    saved = gates_BTG.new_empty((batch, steps, 4 * width) if keep else (0,))
    panels, biases = weights(weight_GD, walk.directions), parts(bias_n_H, walk.directions)
    for way in Direction.all(walk, batch, steps, width // walk.directions):
        read = (flat(gates_BTG), panels[way.number], biases[way.number], flat(h0_BH))
        written = (flat(y_BTH), flat(h_BH), flat(saved), keep, way.place())
        over_rows(
            partial(_forward, *read, way.lengths_B, way.reset_BT, *written),
            batch,
            way.products(batch, weight_GD),
        )
    return y_BTH, h_BH, saved


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    saved: Tensor,
    before_BTH: Tensor,
    weight_GD: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, of n's inner product U h + b', and of h0.

    Args:
        saved: what the forward scan saved; to recompute it the gates that it took.
        before_BTH: h_{t-1}.
    """
    batch, steps, width = before_BTH.shape
    check_saved(saved, (batch, steps, (3 if walk.recompute else 4) * width))
    if walk.recompute:
        saved = _recomputed(saved, before_BTH, weight_GD, bias_n_H, walk.directions)
    dgates_BTG = before_BTH.new_empty(batch, steps, 3 * width)
    dinner_BTH, dh0_BH = empty_as(before_BTH), empty_as(dh_BH)
    panels = weights(weight_GD, walk.directions, turned=True)
    for way in Direction.all(walk, batch, steps, width // walk.directions):
        read = (flat(dy_BTH), flat(dh_BH), flat(saved), flat(before_BTH), panels[way.number])
        written = (flat(dgates_BTG), flat(dinner_BTH), flat(dh0_BH), way.place())
        over_rows(
            partial(_backward, *read, way.lengths_B, way.reset_BT, *written),
            batch,
            way.products(batch, weight_GD),
        )
    return dgates_BTG, dinner_BTH, dh0_BH


def _recomputed(
    gates_BTG: Tensor, before_BTH: Tensor, weight_GD: Tensor, bias_n_H: Tensor, directions: int
) -> Tensor:
    """r, z, n, U h + b' of all steps at once, from the states before them."""
    shape = gates_BTG.shape[:2]
    found = []
    tensors = (gates_BTG, before_BTH, weight_GD, bias_n_H)
    dims = (-1, -1, 0, 0)
    chunks = (tensor.chunk(directions, dim) for tensor, dim in zip(tensors, dims, strict=True))
    for gates, before, weight, bias_H in zip(*chunks, strict=True):
        u_r, u_z, u_n = recurrent(before.flatten(0, 1), weight).unflatten(0, shape).unbind(2)
        a_r, a_z, a_n = gates.chunk(3, -1)
        r, z, inner = (a_r + u_r).sigmoid(), (a_z + u_z).sigmoid(), u_n + bias_H
        found += [r, z, (a_n + r * inner).tanh(), inner]
    return torch.cat(found, -1)
