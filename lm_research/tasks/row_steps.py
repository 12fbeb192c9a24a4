"""One optimizer step on some rows of a table: numba's loops, or PyTorch's operators without it.

Shapes: V rows, D columns, U distinct rows, P pending rows, S steps. All floating tensors are of one
type, float32 or float64, on a CPU. Results of the two ways differ in last bits.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lm_research.vectorizers.compiled import has_numba


class AdamTables(NamedTuple):
    """Weights and moments, each V x D."""

    w: Tensor
    m: Tensor
    v: Tensor


class AdamSettings(NamedTuple):
    """``l2`` w joins the gradient (Adam's weight decay, not AdamW's)."""

    beta1: float
    beta2: float
    eps: float
    l2: float


class AdamStep(NamedTuple):
    """w = keep w - size m / (scale sqrt(v) + eps)."""

    keep: float
    size: float
    scale: float


def sgd(rows_U: Tensor, gradient_UD: Tensor, table_VD: Tensor, rate: float) -> None:
    """w -= rate g."""
    if not has_numba():
        table_VD.index_add_(0, rows_U, gradient_UD, alpha=-rate)
        return
    loops, number = _loops(), _number(table_VD)
    loops.sgd(*_arrays(rows_U, gradient_UD, table_VD), number(rate))


def adagrad(
    rows_U: Tensor,
    gradient_UD: Tensor,
    table_VD: Tensor,
    sum_VD: Tensor,
    rate: float,
    eps: float,
) -> None:
    """s += g g; w -= rate g / (sqrt(s) + eps)."""
    if not has_numba():
        sum_VD.index_add_(0, rows_U, gradient_UD * gradient_UD)
        denominator_UD = sum_VD.index_select(0, rows_U).sqrt_().add_(eps)
        table_VD.index_add_(0, rows_U, gradient_UD / denominator_UD, alpha=-rate)
        return
    loops, number = _loops(), _number(table_VD)
    given = _arrays(rows_U, gradient_UD, table_VD, sum_VD)
    loops.adagrad(*given, number(rate), number(eps))


def adadelta(
    rows_U: Tensor,
    gradient_UD: Tensor,
    table_VD: Tensor,
    square_VD: Tensor,
    delta_VD: Tensor,
    shrink_U1: Tensor,
    lr: float,
    rho: float,
    eps: float,
) -> None:
    """s and a times ``shrink_U1``; then s = rho s + (1 - rho) g g, x = g sqrt((a + eps)/(s + eps)),
    a = rho a + (1 - rho) x x, w -= lr x.
    """
    s_UD = square_VD.index_select(0, rows_U).mul_(shrink_U1 * rho)
    a_UD = delta_VD.index_select(0, rows_U).mul_(shrink_U1)
    s_UD.addcmul_(gradient_UD, gradient_UD, value=1 - rho)
    x_UD = (a_UD + eps).sqrt_().div_((s_UD + eps).sqrt_()).mul_(gradient_UD)
    a_UD.mul_(rho).addcmul_(x_UD, x_UD, value=1 - rho)
    square_VD.index_copy_(0, rows_U, s_UD)
    delta_VD.index_copy_(0, rows_U, a_UD)
    table_VD.index_add_(0, rows_U, x_UD, alpha=-lr)


def adam(
    rows_U: Tensor, gradient_UD: Tensor, tables: AdamTables, step: AdamStep, settings: AdamSettings
) -> None:
    """Adam's step on rows that have a gradient."""
    if not has_numba():
        held = [table.index_select(0, rows_U) for table in tables]
        _move(held, gradient_UD, step, settings)
        for table, own in zip(tables, held, strict=True):
            table.index_copy_(0, rows_U, own)
        return
    number = _number(tables.w)
    rows, gradient, *arrays = _arrays(rows_U, gradient_UD, *tables)
    _loops().adam(rows, gradient, arrays, list(map(number, step)), _settings(number, settings))


def pending(last_V: np.ndarray, now: int, ids_M: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows among ``ids_M`` (None: all) that are behind, and the steps that they are at.

    Their ``last_V`` (int64) becomes ``now``; rows where it is negative are left alone.
    """
    if not has_numba():
        rows = np.arange(len(last_V)) if ids_M is None else np.unique(ids_M.numpy())
        rows = rows[(last_V[rows] >= 0) & (last_V[rows] < now)]
        firsts = last_V[rows]
        last_V[rows] = now
        return rows, firsts
    ids = np.empty(0, np.int64) if ids_M is None else ids_M.contiguous().numpy()
    room = np.empty((2, len(last_V) if ids_M is None else len(ids)), np.int64)
    count = _loops().pending(ids, last_V, now, ids_M is None, room[0], room[1])
    return room[0, :count], room[1, :count]


def advance(
    rows_P: np.ndarray,
    firsts_P: np.ndarray,
    tables: AdamTables,
    steps_3S: np.ndarray,
    settings: AdamSettings,
) -> None:
    """Adam's steps without a gradient, from ``firsts_P`` (places in ``steps_3S``) to the last.

    Args:
        rows_P: distinct, int64.
        steps_3S: the numbers of :class:`AdamStep`, of the tables' type.
    """
    if not len(rows_P):
        return
    if not has_numba():
        _advance_by_torch(rows_P, firsts_P, tables, steps_3S, settings)
        return
    number = _number(tables.w)
    finfo = np.finfo(number)
    keep, size = steps_3S[0].min(), max(steps_3S[1].max(), finfo.tiny)  # a rate may be 0
    # A sixteenth of the type's epsilon, an eighth of half a last bit, of what is left of w.
    limit = finfo.eps / 16 * float(keep) ** _loops().CHUNK * settings.eps / float(size)
    limits = number(finfo.tiny), number(min(limit, 1.0)), bool(keep < 1)
    walks = _arrays(*tables), list(steps_3S), _settings(number, settings), limits
    _loops().advanced(rows_P, firsts_P, *walks)


def _advance_by_torch(
    rows_P: np.ndarray,
    firsts_P: np.ndarray,
    tables: AdamTables,
    steps_3S: np.ndarray,
    settings: AdamSettings,
) -> None:
    """Rows by their first step: those that take part in a step lie before the others."""
    order = np.argsort(firsts_P, kind="stable")
    rows, firsts = torch.from_numpy(rows_P[order]), firsts_P[order]
    held = [table.index_select(0, rows) for table in tables]
    for at in range(int(firsts[0]), steps_3S.shape[1]):
        count = int(np.searchsorted(firsts, at, side="right"))
        step = AdamStep(*map(float, steps_3S[:, at]))
        _move([own[:count] for own in held], None, step, settings)
    for table, own in zip(tables, held, strict=True):
        table.index_copy_(0, rows, own)


def _move(
    held: list[Tensor], gradient_UD: Tensor | None, step: AdamStep, settings: AdamSettings
) -> None:
    """In place. ``held``: rows of w, m and v."""
    w, m, v = held
    x = torch.zeros_like(w) if gradient_UD is None else gradient_UD
    x = x + settings.l2 * w
    m.mul_(settings.beta1).add_(x, alpha=1 - settings.beta1)
    v.mul_(settings.beta2).addcmul_(x, x, value=1 - settings.beta2)
    w.mul_(step.keep).addcdiv_(m, v.sqrt().mul_(step.scale).add_(settings.eps), value=-step.size)


def _loops() -> Any:
    from lm_research.kernels.fused.cpu import table_rows

    return table_rows


def _number(tensor: Tensor) -> Any:
    """numpy's type of the tensor's numbers."""
    return np.float64 if tensor.dtype == torch.float64 else np.float32


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    """What compiled code takes; tables, which are written, lie in order (see ``obstacle``)."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _settings(number: Any, settings: AdamSettings) -> list[Any]:
    b1, b2, eps, l2 = settings
    return list(map(number, (b1, 1 - b1, b2, 1 - b2, l2, eps)))
