"""Tables of which a step reads a few rows, and whose gradient then holds those rows alone.

A table is dense to everyone until an optimizer that can use sparse gradients takes it
(``tasks/sparse_optimizers.py``). Such an optimizer may also put off what is due to rows that
nobody reads; every read goes through this file and is told to it first.

Shapes: V rows, P columns, M ids, U distinct ones, B bags. Ids are int64.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lm_research.kernels import TableRows
from lm_research.kernels.tracing import is_traced
from lm_research.vectorizers.compiled import has_numba

_NAME = "_row_reads"


class RowReads:
    """What the owner of a table is told.

    Attributes:
        sparse: whether gradients are to be sparse.
        before: called with the ids (M) of rows that are about to be read, or with None before all
            of the table is; None: nothing is ever put off.
    """

    def __init__(self) -> None:
        self.sparse = False
        self.before: Callable[[Tensor | None], None] | None = None


def row_table(weight_VP: Tensor) -> nn.Parameter:
    """A parameter whose rows are read by :func:`read`, :func:`read_bags` and nothing else."""
    table = nn.Parameter(weight_VP)
    setattr(table, _NAME, RowReads())
    return table


def row_reads(parameter: Tensor) -> RowReads | None:
    """Of a :func:`row_table`; None of any other tensor, and of copies."""
    found: RowReads | None = getattr(parameter, _NAME, None)
    return found


def read_whole(parameter: Tensor) -> None:
    """From now on it is a parameter as any other: an output layer shares it, say."""
    if row_reads(parameter) is not None:
        delattr(parameter, _NAME)


def bring_up_to_date(module: nn.Module) -> None:
    """Do now what is put off in the module's tables: before they are read past this file."""
    for parameter in module.parameters():
        reads = row_reads(parameter)
        if reads is not None and reads.before is not None:
            reads.before(None)


def is_sparse(table_VP: Tensor) -> bool:
    """Whether reads give sparse gradients; then ids must be those of tokens, with no padding."""
    reads = row_reads(table_VP)
    return reads is not None and reads.sparse


def unread_rows(ids_BT: Tensor, table_VP: Tensor) -> TableRows | None:
    """What :func:`read` would look up, where nothing has to be told of it; elsewhere None."""
    reads = row_reads(table_VP)
    told = reads is not None and (reads.sparse or reads.before is not None)
    return None if told or is_traced() else TableRows(table_VP, ids_BT)


def read(ids: Tensor, table_VP: Tensor) -> Tensor:
    """The rows (..., P) of ids (...), none negative."""
    if not is_sparse(table_VP):
        return F.embedding(ids, table_VP)
    rows_MP: Tensor = _read(table_VP, ids.flatten(), None, None)
    return rows_MP.view(*ids.shape, table_VP.shape[1])


def read_bags(ids_M: Tensor, table_VP: Tensor, offsets: Tensor, weights_M: Tensor | None) -> Tensor:
    """x_BP, the (weighted) sums of the rows of ids_M[offsets[b] : offsets[b + 1]].

    ``offsets`` has B + 1 numbers.
    """
    if not is_sparse(table_VP):
        return _bags(table_VP, ids_M, weights_M, offsets)
    sums_BP: Tensor = _read(table_VP, ids_M, weights_M, offsets)
    return sums_BP


def _read(table_VP: Tensor, ids_M: Tensor, weights_M: Tensor | None, offsets: Tensor | None) -> Any:
    reads = row_reads(table_VP)
    if reads is not None and reads.before is not None:
        reads.before(ids_M)
    return _Read.apply(table_VP, ids_M, weights_M, offsets)


def _bags(table_VP: Tensor, ids_M: Tensor, weights_M: Tensor | None, offsets: Tensor) -> Tensor:
    return F.embedding_bag(
        ids_M,
        table_VP,
        offsets,
        mode="sum",
        per_sample_weights=weights_M,
        include_last_offset=True,
    )


class _Read(torch.autograd.Function):
    """Rows, or sums of them; the gradient is sparse and coalesced.

    PyTorch's own sparse gradient is a row for each id, repeats included, that has to be sorted and
    added up again.
    """

    @staticmethod
    def forward(ctx: Any, table_VP: Tensor, ids_M: Any, weights_M: Any, offsets: Any) -> Tensor:
        ctx.size = table_VP.shape
        ctx.save_for_backward(ids_M, weights_M, offsets)
        if offsets is None:
            return table_VP.index_select(0, ids_M)
        return _bags(table_VP, ids_M, weights_M, offsets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BP: Tensor) -> Any:
        ids_M, weights_M, offsets = ctx.saved_tensors
        bag_M = torch.arange(len(gradient_BP))
        if offsets is not None:
            bag_M = bag_M.repeat_interleave(offsets.diff())
        return sum_of_rows(ids_M, gradient_BP, ctx.size, bag_M, weights_M), None, None, None


def sum_of_rows(
    ids_M: Tensor,
    gradient_BP: Tensor,
    size: torch.Size,
    bag_M: Tensor,
    weights_M: Tensor | None = None,
) -> Tensor:
    """A sparse V x P matrix, coalesced: row v is the sum of weight_m gradient[bag_m] over its m.

    Sums are taken in the order of m, whatever the number of threads. numba's loop reads each
    gradient where it is; without it they are gathered first.
    """
    sorted_M, order_M = ids_M.sort(stable=True)
    rows_U, counts_U = sorted_M.unique_consecutive(return_counts=True)
    given = order_M, counts_U, bag_M, weights_M, gradient_BP
    sums_UP = _summed(*given) if has_numba() else _summed_by_torch(*given)
    return torch.sparse_coo_tensor(
        rows_U[None], sums_UP, size, is_coalesced=True, check_invariants=False
    )


def _summed(
    order_M: Tensor, counts_U: Tensor, bag_M: Tensor, weights_M: Tensor | None, gradient_BP: Tensor
) -> Tensor:
    from lm_research.kernels.fused.cpu import table_rows

    gradient_BP = gradient_BP.contiguous()
    weights = gradient_BP.new_empty(0) if weights_M is None else weights_M.contiguous()
    sums_UP = gradient_BP.new_empty(len(counts_U), gradient_BP.shape[1])
    starts_U1 = F.pad(counts_U.cumsum(0), (1, 0))
    given = order_M, starts_U1, bag_M, weights, gradient_BP, sums_UP
    table_rows.summed(*(tensor.numpy() for tensor in given))
    return sums_UP


def _summed_by_torch(
    order_M: Tensor, counts_U: Tensor, bag_M: Tensor, weights_M: Tensor | None, gradient_BP: Tensor
) -> Tensor:
    rows_MP = gradient_BP.index_select(0, bag_M[order_M])
    if weights_M is not None:
        rows_MP = rows_MP * weights_M[order_M, None]
    at_M = torch.arange(len(counts_U)).repeat_interleave(counts_U)
    return gradient_BP.new_zeros(len(counts_U), gradient_BP.shape[1]).index_add_(0, at_M, rows_MP)


def rows_of(gradient_VP: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct ids_U and values_UP of a sparse gradient; repeats are added up."""
    ids_M, values_MP = gradient_VP._indices()[0], gradient_VP._values()
    if not gradient_VP.is_coalesced():
        places_M = torch.arange(len(ids_M))
        gradient_VP = sum_of_rows(ids_M, values_MP, gradient_VP.shape, places_M)
        ids_M, values_MP = gradient_VP._indices()[0], gradient_VP._values()
    return ids_M, values_MP
