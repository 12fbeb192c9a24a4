"""Single steps on a CPU, for generation: products, gates and state of a layer in one call.

Weights are packed once for all steps to come. Sums are taken in one order whatever the number of
rows, so that a stream's numbers do not depend on those beside it.

Shapes: B rows, I input size, H hidden size, G gates x H. float32.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from lm_research.kernels.fused.cpu.compiled import compiled, flat
from lm_research.kernels.fused.cpu.product import packed, pointer, product, width_of
from lm_research.kernels.fused.cpu.threads import over_rows
from lm_research.kernels.fused.cpu.vectors import Vector, rowwise, sigmoid, tanh

ROWS = 48
"""Worked on at once, so that sums stay in a cache; a multiple of the product's six."""


def _lstm(i: Vector, f: Vector, g: Vector, o: Vector, c: Vector) -> tuple[Vector, Vector]:
    after = sigmoid(f).times_plus(c, sigmoid(i) * tanh(g))
    return sigmoid(o) * tanh(after), after


def _gru(
    a_r: Vector, a_z: Vector, a_n: Vector, u_r: Vector, u_z: Vector, u_n: Vector, h: Vector
) -> tuple[Vector]:
    r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
    n = tanh(r.times_plus(u_n, a_n))
    return (z.times_plus(h - n, n),)


def _relu(total: Vector) -> tuple[Vector]:
    return (total.if_below(0.0, 0.0, total),)


_LSTM = rowwise(("i", "f", "g", "o", "c"), ("h", "c_after"), _lstm)
_GRU = rowwise(("a_r", "a_z", "a_n", "u_r", "u_z", "u_n", "h"), ("h_after",), _gru)
_TANH = rowwise(("a",), ("h",), lambda total: (tanh(total),))
_RELU = rowwise(("a",), ("h",), _relu)


@compiled
def _begun(bias, rows):
    """Rows of sums that begin with a bias, as wide as the product."""
    sums = np.empty(rows * bias.size, np.float32)
    for row in range(rows):
        sums[row * bias.size : (row + 1) * bias.size] = bias
    return sums


@compiled
def _plus(a, first, rows, size, panels, sums, width):
    """sums += rows of ``a`` from ``first`` on, times a packed weight."""
    product(a.reshape(-1)[first * size :], rows, size, panels, sums, width, 1)


@compiled
def _summed(x, h, weights, first, rows):
    """W x + U h + b, for cells whose gates need no more than that."""
    w, u, bias, _ = weights
    sums = _begun(bias, rows)
    _plus(x, first, rows, x.shape[1], w, sums, bias.size)
    _plus(h, first, rows, h.shape[1], u, sums, bias.size)
    return sums


@compiled
def _tanh_rows(x, h, weights, after, first, end):
    hidden, width = h.shape[1], weights[2].size
    for start in range(first, end, ROWS):
        rows = min(ROWS, end - start)
        sums = _summed(x, h, weights, start, rows)
        for row in range(rows):
            _TANH((pointer(sums, row * width), pointer(after, (start + row) * hidden)), hidden)


@compiled
def _relu_rows(x, h, weights, after, first, end):
    hidden, width = h.shape[1], weights[2].size
    for start in range(first, end, ROWS):
        rows = min(ROWS, end - start)
        sums = _summed(x, h, weights, start, rows)
        for row in range(rows):
            _RELU((pointer(sums, row * width), pointer(after, (start + row) * hidden)), hidden)


@compiled
def _lstm_rows(x, h, c, weights, after, c_after, first, end):
    hidden, width = h.shape[1], weights[2].size
    for start in range(first, end, ROWS):
        rows = min(ROWS, end - start)
        sums = _summed(x, h, weights, start, rows)
        for row in range(rows):
            a, at = row * width, (start + row) * hidden
            read = (pointer(sums, a), pointer(sums, a + hidden), pointer(sums, a + 2 * hidden),
                    pointer(sums, a + 3 * hidden), pointer(c, at))  # fmt: skip
            _LSTM((*read, pointer(after, at), pointer(c_after, at)), hidden)


@compiled
def _gru_rows(x, h, weights, after, first, end):
    w, u, bias, inner_bias = weights
    hidden, width = h.shape[1], bias.size
    for start in range(first, end, ROWS):
        rows = min(ROWS, end - start)
        gates, inner = _begun(bias, rows), _begun(inner_bias, rows)
        _plus(x, start, rows, x.shape[1], w, gates, width)
        _plus(h, start, rows, hidden, u, inner, width)
        for row in range(rows):
            a, at = row * width, (start + row) * hidden
            read = (pointer(gates, a), pointer(gates, a + hidden), pointer(gates, a + 2 * hidden),
                    pointer(inner, a), pointer(inner, a + hidden), pointer(inner, a + 2 * hidden),
                    pointer(h, at))  # fmt: skip
            _GRU((*read, pointer(after, at)), hidden)


_ROWS = {"LSTM": _lstm_rows, "GRU": _gru_rows, "RNN_TANH": _tanh_rows, "RNN_RELU": _relu_rows}
"""By the mode of a layer."""


@compiled
def _linear_rows(x, weights, sums, first, end):
    panels, bias = weights
    width = bias.size
    for start in range(first, end, ROWS):
        rows = min(ROWS, end - start)
        into = sums.reshape(-1)[start * width : (start + rows) * width]
        for row in range(rows):
            into[row * width : (row + 1) * width] = bias
        _plus(x, start, rows, x.shape[1], panels, into, width)


class CompiledLinear:
    """W x + b with the weights that it was made with.

    Args:
        weight_NK, bias_N: float32 on a CPU; the bias may be None.
    """

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None) -> None:
        self.size, self.inputs = weight_NK.shape
        self.weights = _packed(weight_NK), _bias(bias_N, int(width_of(self.size)))

    def __call__(self, x_BK: Tensor) -> Tensor:
        """(B, N) float32.

        Raises:
            RuntimeError: size or type do not fit.
        """
        rows = len(x_BK)
        x = _checked(x_BK, rows, self.inputs)
        sums = np.empty((rows, self.weights[1].size), np.float32)
        walk = partial(_linear_rows, x, self.weights, sums)
        over_rows(walk, rows, rows * self.size * self.inputs)
        found = torch.from_numpy(sums)
        return found if len(self.weights[1]) == self.size else found[:, : self.size]


class CompiledStep:
    """A step of one layer with the weights that it was made with.

    Args:
        mode: of the layer, as ``torch.nn`` names it.
        w_GI, u_GH, b_G, b_hh_G: its weights, float32 on a CPU; biases may be None.
    """

    def __init__(
        self, mode: str, w_GI: Tensor, u_GH: Tensor, b_G: Tensor | None, b_hh_G: Tensor | None
    ) -> None:
        (size, self.inputs), self.hidden = w_GI.shape, u_GH.shape[1]
        self.walk = _ROWS[mode]
        self.elements = size * (self.inputs + self.hidden)
        width = int(width_of(size))
        bias, inner = (_bias(part, width) for part in (b_G, b_hh_G))
        if mode != "GRU":
            bias, inner = bias + inner, bias[:0]
        self.weights = _packed(w_GI), _packed(u_GH), bias, inner

    def __call__(self, x_BI: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The states (h, of an LSTM c, each B x H) after the step; h is the output.

        Raises:
            RuntimeError: sizes or types do not fit.
        """
        rows = len(x_BI)
        read = _checked(x_BI, rows, self.inputs), *(_checked(s, rows, self.hidden) for s in states)
        written = [np.empty((rows, self.hidden), np.float32) for _ in states]
        walk = partial(self.walk, *read, self.weights, *written)
        over_rows(walk, rows, rows * self.elements)
        return tuple(map(torch.from_numpy, written))


def _checked(part: Tensor, rows: int, size: int) -> np.ndarray:
    """As compiled code reads it, which looks at nothing."""
    if part.shape != (rows, size) or part.dtype != torch.float32:
        raise RuntimeError(
            f"Expected float32 of size {(rows, size)}, got {part.dtype} of {tuple(part.shape)}"
        )
    found: np.ndarray = part.contiguous().numpy()
    return found


def _packed(weight_GK: Tensor) -> np.ndarray:
    rows, size = weight_GK.shape
    panels: np.ndarray = packed(flat(weight_GK), rows, size, size, 1)
    return panels


def _bias(bias_G: Tensor | None, width: int) -> np.ndarray:
    """As wide as the product."""
    found = np.zeros(width, np.float32)
    if bias_G is not None:
        found[: len(bias_G)] = flat(bias_G)
    return found
