"""The GloVe objective (Pennington, Socher and Manning 2014), its gradient, and AdaGrad.

    J = sum over i, j with X_ij > 0 of f(X_ij) (w_i . w~_j + b_i + b~_j - ln X_ij)^2
    f(x) = min(1, (x / x_max)^alpha)

Shapes: C cells (pairs i, j) of a batch, R and S distinct i and j among them, V vocabulary, D
vector size, E = D + 2. Rows are kept as [w_i, b_i, 1] and [w~_j, 1, b~_j], whose product is all
of the model.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

_EPSILON = 1e-10
_STEPS = 64
"""Least number of steps in an epoch (or one for each cell)."""
_CACHED = 1024
"""Rows gathered at a time: they stay in the cache until they are multiplied."""


class Cells:
    """The cells of X: their rows and columns, ln X, and the weight f(X)."""

    def __init__(self, counts_VV: sparse.csr_array, x_max: float, alpha: float) -> None:
        coo = counts_VV.tocoo()
        self.rows, self.columns = coo.coords
        self.log = np.log(coo.data).astype(np.float32)
        self.weight = np.minimum(1, (coo.data / x_max) ** alpha).astype(np.float32)

    def __len__(self) -> int:
        return len(self.log)


class Table(NamedTuple):
    """The rows [w_i, b_i, 1] and [w~_j, 1, b~_j] of every token (V, E)."""

    main: np.ndarray
    context: np.ndarray


class Gradient(NamedTuple):
    """The value of some cells' terms in J, and the gradient in the rows that they touch.

    ``main`` (R, E) belongs to ``rows`` (R) of the table, ``context`` (S, E) to ``columns`` (S).
    """

    value: float
    rows: np.ndarray
    main: np.ndarray
    columns: np.ndarray
    context: np.ndarray


def initial_table(vocabulary_size: int, dim: int, rng: np.random.Generator) -> Table:
    """U(-0.5, 0.5) / D, and the ones."""
    shape = (2, vocabulary_size, dim + 2)
    main_VE, context_VE = (rng.random(shape, dtype=np.float32) - 0.5) / dim
    main_VE[:, -1] = context_VE[:, -2] = 1
    return Table(main_VE, context_VE)


def gradient(table: Table, cells: Cells, at_C: np.ndarray) -> Gradient:
    """The gradient of the chosen cells' share of J, as two sparse products."""
    rows_R, row_C = np.unique(cells.rows[at_C], return_inverse=True)
    columns_S, column_C = np.unique(cells.columns[at_C], return_inverse=True)
    main_RE, context_SE = table.main[rows_R], table.context[columns_S]
    weight_C = cells.weight[at_C]
    error_C = _products(main_RE, row_C, context_SE, column_C) - cells.log[at_C]
    slopes_RS = sparse.coo_array(
        (2 * weight_C * error_C, (row_C.astype(np.int32), column_C.astype(np.int32))),
        shape=(len(rows_R), len(columns_S)),
    ).tocsr()
    in_main_RE, in_context_SE = slopes_RS @ context_SE, slopes_RS.T @ main_RE
    in_main_RE[:, -1] = in_context_SE[:, -2] = 0  # the ones stay
    value = float(weight_C @ error_C**2)
    return Gradient(value, rows_R, in_main_RE, columns_S, in_context_SE)


def _products(
    main_RE: np.ndarray, row_C: np.ndarray, context_SE: np.ndarray, column_C: np.ndarray
) -> np.ndarray:
    """The product of each cell's two rows."""
    product_C = np.empty(len(row_C), dtype=np.float32)
    for start in range(0, len(row_C), _CACHED):
        part = slice(start, start + _CACHED)
        main, context = main_RE[row_C[part]], context_SE[column_C[part]]
        np.einsum("ce,ce->c", main, context, out=product_C[part])
    return product_C


def train(
    counts_VV: sparse.csr_array,
    dim: int,
    *,
    x_max: float,
    alpha: float,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
) -> tuple[np.ndarray, list[float]]:
    """Fit a table to X by AdaGrad (Duchi et al. 2011) over shuffled batches of cells.

    A coordinate moves by learning_rate g / sqrt(sum of its g^2 so far), with g summed over the
    batch: the scale of J does not matter. Batches hold ``batch_size`` cells, or fewer where an
    epoch would otherwise be less than 64 steps.

    Returns:
        The vectors w + w~ (V, D; float32), and J divided by the number of cells at each epoch,
        as met on the way.
    """
    rng = np.random.default_rng(seed)
    cells = Cells(counts_VV, x_max, alpha)
    table = initial_table(counts_VV.shape[0], dim, rng)
    squares = Table(*(np.full_like(part, _EPSILON) for part in table))
    size = batch_length(len(cells), batch_size)
    objectives = []
    for _ in range(epochs):
        order, total = rng.permutation(len(cells)), 0.0
        for start in range(0, len(cells), size):
            step = gradient(table, cells, order[start : start + size])
            _move(table.main, squares.main, step.rows, step.main, learning_rate)
            _move(
                table.context,
                squares.context,
                step.columns,
                step.context,
                learning_rate,
            )
            total += step.value
        objectives.append(total / len(cells))
    return table.main[:, :dim] + table.context[:, :dim], objectives


def batch_length(cells: int, batch_size: int) -> int:
    """Cells of a batch."""
    return max(1, min(batch_size, cells // _STEPS))


def _move(
    rows_VE: np.ndarray,
    squares_VE: np.ndarray,
    at_R: np.ndarray,
    gradient_RE: np.ndarray,
    learning_rate: float,
) -> None:
    """One step of AdaGrad on some rows."""
    for start in range(0, len(at_R), _CACHED):
        at, gradient = at_R[start : start + _CACHED], gradient_RE[start : start + _CACHED]
        squares = squares_VE[at] + gradient**2
        squares_VE[at] = squares
        rows_VE[at] -= learning_rate * gradient / np.sqrt(squares)
