"""The Elman network's scan on a CPU: h_t = f(a_t + U h_{t-1}), f being tanh or relu."""

from functools import partial

import numpy as np
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
from lm_research.kernels.fused.cpu.vectors import Vector, rowwise, tanh
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk

Two = tuple[Vector, Vector]


def _tanh(a: Vector, u: Vector) -> Two:
    h = tanh(a + u)
    return h, h


def _relu(a: Vector, u: Vector) -> Two:
    total = a + u
    h = total.if_below(0.0, 0.0, total)
    return h, h


def _tanh_gradient(carried: Vector, dy: Vector, y: Vector) -> tuple[Vector, Vector, Vector]:
    d = (carried + dy) * (1.0 - y * y)
    return d, d, d.everywhere(0.0)


def _relu_gradient(carried: Vector, dy: Vector, y: Vector) -> tuple[Vector, Vector, Vector]:
    d = y.if_at_most(0.0, 0.0, carried + dy)
    return d, d, d.everywhere(0.0)


_TANH, _RELU = (rowwise(("a", "u"), ("h", "y"), step) for step in (_tanh, _relu))
_TANH_BACK, _RELU_BACK = (
    rowwise(("carried", "dy", "y"), ("dgate", "d", "left"), step)
    for step in (_tanh_gradient, _relu_gradient)
)


@compiled
def _forward(gates, panels, h0, lengths, reset, y, last, relu, place, first, end):
    steps, hidden, count, number, reverse = place
    rows, width = end - first, width_of(hidden)
    u = np.empty(rows * width, np.float32)
    size = row_size(hidden, panels)
    h = as_rows(taken(h0, first, rows, hidden, count, number), rows, hidden, panels)
    for step in range(steps):
        t = steps - 1 - step if reverse else step
        cleared(h, size, reset, first, rows, steps, t, hidden)
        product(h, rows, size, panels, u, width, 0)
        for row in range(rows):
            at = (((first + row) * steps + t) * count + number) * hidden
            if t >= lengths[first + row]:
                y[at : at + hidden] = 0
                continue
            places = (pointer(gates, at), pointer(u, row * width), pointer(h, row * size),
                      pointer(y, at))  # fmt: skip
            if relu:
                _RELU(places, hidden)
            else:
                _TANH(places, hidden)
    given(h, size, last, first, rows, hidden, count, number)


@compiled
def _backward(dy, dlast, y, panels, lengths, reset, dgates, dh0, relu, place, first, end):
    steps, hidden, count, number, reverse = place
    rows, width = end - first, width_of(hidden)
    carried = widened(taken(dlast, first, rows, hidden, count, number), rows, hidden, width)
    size = row_size(hidden, panels)
    d = np.zeros(rows * size, panels.dtype)
    for step in range(steps):
        t = step if reverse else steps - 1 - step
        for row in range(rows):
            at = (((first + row) * steps + t) * count + number) * hidden
            if t >= lengths[first + row]:
                dgates[at : at + hidden] = 0
                d[row * size : row * size + hidden] = 0
                continue
            carry = pointer(carried, row * width)
            places = (carry, pointer(dy, at), pointer(y, at), pointer(dgates, at),
                      pointer(d, row * size), carry)  # fmt: skip
            if relu:
                _RELU_BACK(places, hidden)
            else:
                _TANH_BACK(places, hidden)
        product(d, rows, size, panels, carried, width, 1)
        cleared(carried, width, reset, first, rows, steps, t, hidden)
    given(carried, width, dh0, first, rows, hidden, count, number)


def forward(
    gates_BTH: Tensor, weight_HD: Tensor, h0_BH: Tensor, walk: Walk, save: bool, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH, and nothing: y is all that the backward scan needs."""
    batch, steps, width = gates_BTH.shape
    y_BTH, h_BH = gates_BTH.new_empty(batch, steps, width), empty_as(h0_BH)
    panels = weights(weight_HD, walk.directions)
    for way in Direction.all(walk, batch, steps, width // walk.directions):
        given_ = (flat(gates_BTH), panels[way.number], flat(h0_BH), way.lengths_B, way.reset_BT)
        written = (flat(y_BTH), flat(h_BH), relu, way.place())
        over_rows(partial(_forward, *given_, *written), batch, way.products(batch, weight_HD))
    return y_BTH, h_BH, gates_BTH.new_empty(0)


def backward(
    dy_BTH: Tensor, dh_BH: Tensor, values_BTH: Tensor, weight_HD: Tensor, walk: Walk, relu: bool
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the gates and of h0; ``values_BTH`` are y."""
    batch, steps, width = dy_BTH.shape
    check_saved(values_BTH, (batch, steps, width))
    dgates_BTH, dh0_BH = empty_as(values_BTH), empty_as(dh_BH)
    panels = weights(weight_HD, walk.directions, turned=True)
    for way in Direction.all(walk, batch, steps, width // walk.directions):
        read = (flat(dy_BTH), flat(dh_BH), flat(values_BTH), panels[way.number])
        written = (flat(dgates_BTH), flat(dh0_BH), relu, way.place())
        call = partial(_backward, *read, way.lengths_B, way.reset_BT, *written)
        over_rows(call, batch, way.products(batch, weight_HD))
    return dgates_BTH, dh0_BH
