"""AdaGrad for GloVe in batches, by torch: for a GPU. The steps of ``glove_training.train``.

Shapes: C cells of a batch, R distinct rows among them, V vocabulary, D vector size, E = D + 2.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from lm_research.vectorizers.glove_training import Cells, batch_length, initial_table


def train_torch(
    counts_VV: sparse.csr_array,
    dim: int,
    *,
    x_max: float,
    alpha: float,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
    device: torch.device | str,
) -> tuple[np.ndarray, list[float]]:
    """As ``glove_training.train``, up to rounding, with everything on ``device``."""
    rng = np.random.default_rng(seed)
    cells = Cells(counts_VV, x_max, alpha)
    tables = [torch.tensor(t, device=device) for t in initial_table(counts_VV.shape[0], dim, rng)]
    squares = [torch.full_like(table, 1e-10) for table in tables]
    arrays = (cells.rows, cells.columns, cells.log, cells.weight)
    rows, columns, log, weight = (torch.tensor(a, device=device) for a in arrays)
    size, objectives = batch_length(len(cells), batch_size), []
    with deterministic():
        for _ in range(epochs):
            order = torch.from_numpy(rng.permutation(len(cells))).to(device)
            total = torch.zeros((), dtype=torch.float64, device=device)
            for at in order.split(size):
                ends = (rows[at].long(), columns[at].long())
                total += _step(tables, squares, ends, log[at], weight[at], learning_rate)
            objectives.append(float(total) / len(cells))
    return (tables[0] + tables[1])[:, :dim].cpu().numpy(), objectives


def _step(
    tables: list[Tensor],
    squares: list[Tensor],
    ends: tuple[Tensor, Tensor],
    log_C: Tensor,
    weight_C: Tensor,
    rate: float,
) -> Tensor:
    """One step of AdaGrad; the batch's share of J."""
    main_CE, context_CE = (table[end] for table, end in zip(tables, ends, strict=True))
    error_C = (main_CE * context_CE).sum(1) - log_C
    slope_C1 = (2 * weight_C * error_C)[:, None]
    ones = (main_CE.shape[1] - 1, main_CE.shape[1] - 2)  # they stay
    gradients = (slope_C1 * context_CE, slope_C1 * main_CE)
    for table, square, end, each_CE, one in zip(
        tables, squares, ends, gradients, ones, strict=True
    ):
        at_R, inverse_C = end.unique(return_inverse=True)
        sum_RE = each_CE.new_zeros(len(at_R), each_CE.shape[1]).index_add_(0, inverse_C, each_CE)
        sum_RE[:, one] = 0
        square[at_R] += sum_RE**2
        table[at_R] -= rate * sum_RE / square[at_R].sqrt()
    return (weight_C * error_C**2).sum()


@contextmanager
def deterministic() -> Iterator[None]:
    """Sums whose order is fixed, on a GPU too."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
