"""The loops of ``glove_blocks.py``, in the Python that numba compiles (its shapes hold here,
too)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lm_research.vectorizers.compiled import compiled

_ROW, _COLUMN, _LOG, _WEIGHT = range(4)


def count(
    indptr: np.ndarray, indices: np.ndarray, part_V: np.ndarray, parts: int, counts: np.ndarray
) -> None:
    """Add to ``counts[1 + b]`` the cells of block b."""
    for row in range(len(indptr) - 1):
        first = part_V[row] * parts + 1
        for at in range(indptr[row], indptr[row + 1]):
            counts[first + part_V[indices[at]]] += 1


def place(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    part_V: np.ndarray,
    parts: int,
    free: np.ndarray,
    cells: np.ndarray,
    numbers: np.ndarray,
    x_max: float,
    alpha: float,
) -> None:
    """Write each cell of X to the next free place of its block."""
    for row in range(len(indptr) - 1):
        for at in range(indptr[row], indptr[row + 1]):
            block = part_V[row] * parts + part_V[indices[at]]
            to = free[block]
            free[block] = to + 1
            cells[to, _ROW] = row
            cells[to, _COLUMN] = indices[at]
            numbers[to, _LOG] = np.log(data[at])
            numbers[to, _WEIGHT] = min(1.0, (data[at] / x_max) ** alpha)


def shuffle(cells: np.ndarray, start: int, stop: int, salt: np.uint64) -> None:
    """Fisher and Yates' shuffle of a block, by SplitMix64 (Steele et al. 2014) from salt and
    start."""
    state = salt ^ (np.uint64(start) * np.uint64(0x9E3779B97F4A7C15))
    for last in range(stop - 1, start, -1):
        state += np.uint64(0x9E3779B97F4A7C15)
        bits = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = (bits ^ (bits >> np.uint64(31))) >> np.uint64(32)
        other = start + np.int64((bits * np.uint64(last - start + 1)) >> np.uint64(32))
        for field in range(4):
            cells[last, field], cells[other, field] = cells[other, field], cells[last, field]


def multiply(w: np.ndarray, w_: np.ndarray) -> np.float32:
    """The product of two vectors."""
    product = np.float32(0)
    for d in range(len(w)):
        product += w[d] * w_[d]
    return product


def move(
    w: np.ndarray, s: np.ndarray, w_: np.ndarray, s_: np.ndarray, slope: float, rate: float
) -> None:
    """AdaGrad's step on a main vector w and a context vector w_ with their sums of squares."""
    for d in range(len(w)):
        main, context = w[d], w_[d]
        in_main, in_context = slope * context, slope * main
        squares, squares_ = s[d] + in_main * in_main, s_[d] + in_context * in_context
        s[d], s_[d] = squares, squares_
        w[d] = main - rate * in_main / np.sqrt(squares)
        w_[d] = context - rate * in_context / np.sqrt(squares_)


def compiled_run() -> Callable[..., Any]:
    """The loop over blocks, with what it calls compiled into it."""
    shuffled = compiled(shuffle)
    multiplied, moved = compiled(multiply, fastmath=True), compiled(move, fastmath=True)

    def run(
        chosen: np.ndarray,
        starts: np.ndarray,
        cells: np.ndarray,
        numbers: np.ndarray,
        main: np.ndarray,
        context: np.ndarray,
        rate: float,
        salt: np.uint64,
        values: np.ndarray,
    ) -> None:
        """Shuffle and take the chosen blocks; ``values[b]`` is block b's share of J."""
        width = main.shape[1] // 2
        dim = width - 1
        for block in chosen:
            start, stop, total = starts[block], starts[block + 1], 0.0
            shuffled(cells, start, stop, salt)
            for at in range(start, stop):
                a, z = main[cells[at, 0]], context[cells[at, 1]]
                w, s, w_, s_ = a[:dim], a[width:-1], z[:dim], z[width:-1]
                error = multiplied(w, w_) + a[dim] + z[dim] - numbers[at, 2]
                slope = np.float32(2) * numbers[at, 3] * error
                total += numbers[at, 3] * error * error
                moved(w, s, w_, s_, slope, rate)
                for row in (a, z):  # the biases
                    row[-1] += slope * slope
                    row[dim] -= rate * slope / np.sqrt(row[-1])
            values[block] = total

    return compiled(run)
