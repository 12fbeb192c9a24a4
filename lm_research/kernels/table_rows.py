"""Inputs that are rows of a small table: a product with W of each row, not of each step.

A step's vector is often one of a few: those of an alphabet's characters, of the 256 bytes. Then

    W x_t + b = (E W^T + b)[i_t]        for x_t = E[i_t],

one product over the table's V rows in place of one over B x T steps, and two more like it in the
gradient, which for each row is first summed over the steps that read it.

Shapes: B batch, T time, I input size, V rows of the table, G gates x hidden size.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from lm_research.kernels.checks import autocast
from lm_research.kernels.direct import direct
from lm_research.kernels.operators import empty_as

FEWEST_STEPS_A_ROW = {"rnn": 2, "gru": 2, "lstm": 8}
"""By cell. An LSTM's scan is no faster than PyTorch's but for the products saved."""


class TableRows(NamedTuple):
    """x_BTI = table_VI[ids_BT], not looked up yet; ids (int64) are from 0 to V - 1."""

    table_VI: Tensor
    ids_BT: Tensor

    @property
    def shape(self) -> torch.Size:
        """Of x_BTI."""
        return torch.Size((*self.ids_BT.shape, self.table_VI.shape[1]))

    @property
    def dtype(self) -> torch.dtype:
        """Of x_BTI."""
        return self.table_VI.dtype

    @property
    def device(self) -> torch.device:
        """Of x_BTI."""
        return self.table_VI.device

    def vectors(self) -> Tensor:
        """x_BTI."""
        return F.embedding(self.ids_BT, self.table_VI)

    def stand_in(self) -> Tensor:
        """Of x_BTI's size, type and device, without its memory."""
        return self.table_VI.new_zeros(1).expand(self.shape)

    def transpose(self, one: int, other: int) -> "TableRows":
        """Time and batch exchanged, as of x_BTI."""
        return TableRows(self.table_VI, self.ids_BT.transpose(one, other))

    def are_few(self, cell: str) -> bool:
        """Whether the table is so much shorter than the steps that going by its rows pays."""
        fewest = FEWEST_STEPS_A_ROW.get(cell)
        return fewest is not None and len(self.table_VI) * fewest <= self.ids_BT.numel()


Inputs = Tensor | TableRows
"""Of a layer: vectors, or where they are to be found."""


def input_gates(x: Inputs, weight_GI: Tensor, bias_G: Tensor | None) -> Tensor:
    """W x + b of all steps, (B, T, G)."""
    if isinstance(x, Tensor):
        return F.linear(x, weight_GI, bias_G)
    kind = x.dtype
    own: AbstractContextManager[Any] = nullcontext()
    if autocast(x.table_VI):  # so few rows cost nothing in the weights' own type
        kind, own = torch.get_autocast_dtype("cpu"), torch.autocast("cpu", enabled=False)
    with own:
        gates_VG = F.linear(x.table_VI, weight_GI, bias_G)
    found: Tensor = _directly(gates_VG, x.ids_BT, kind)
    return found


def _look_up(table_VG: Tensor, ids_BT: Tensor, kind: torch.dtype) -> Tensor:
    """Rows (B, T, G) of a table, as another type."""
    return table_VG.to(kind).index_select(0, ids_BT.flatten()).view(*ids_BT.shape, -1)


look_up = custom_op(
    "lm_research::look_up",
    _look_up,
    mutates_args=(),
    schema="(Tensor table, Tensor ids, ScalarType kind) -> Tensor",
)


@look_up.register_fake
def _(table, ids, kind):  # type: ignore[no-untyped-def]
    return table.new_empty((*ids.shape, table.shape[1]), dtype=kind)


def _row_sums(gradient_BTG: Tensor, ids_BT: Tensor, table_VG: Tensor) -> Tensor:
    """(V, G) in the table's type: for each of its rows the sum over the steps that read it.

    Taken in the order of the steps, whatever the number of threads.
    """
    kinds = (torch.float32, torch.bfloat16)  # that compiled code adds up
    if table_VG.dtype != kinds[0] or gradient_BTG.dtype not in kinds or not table_VG.is_cpu:
        rows_MG = gradient_BTG.flatten(0, 1).to(table_VG.dtype)
        return torch.zeros_like(table_VG).index_add_(0, ids_BT.flatten(), rows_MG)
    from lm_research.kernels.fused.cpu import row_sums

    sums_VG = empty_as(table_VG).zero_()
    row_sums.add_rows(ids_BT.flatten(), gradient_BTG, sums_VG)
    return sums_VG


look_up_backward = custom_op(
    "lm_research::look_up_backward",
    _row_sums,
    mutates_args=(),
    schema="(Tensor gradient, Tensor ids, Tensor table) -> Tensor",
)


@look_up_backward.register_fake
def _(gradient, ids, table):  # type: ignore[no-untyped-def]
    return empty_as(table)


def _context(ctx: Any, inputs: Any, output: Any) -> None:
    table, ids, ctx.kind = inputs
    ctx.save_for_backward(ids, table)


def _gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    ids, table = ctx.saved_tensors
    return _sums_directly(gradient, ids, table), None, None


look_up.register_autograd(_gradient, setup_context=_context)


def _gradient_of_sums(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    (ids,) = ctx.saved_tensors
    return look_up(gradient, ids, ctx.kind), None, None


def _context_of_sums(ctx: Any, inputs: Any, output: Any) -> None:
    gradient, ids, _ = inputs
    ctx.kind = gradient.dtype
    ctx.save_for_backward(ids)


look_up_backward.register_autograd(_gradient_of_sums, setup_context=_context_of_sums)

_directly = direct(look_up, _look_up, _context, _gradient)
_sums_directly = direct(look_up_backward, _row_sums, _context_of_sums, _gradient_of_sums)
