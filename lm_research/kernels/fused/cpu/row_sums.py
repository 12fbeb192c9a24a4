"""Rows added up by number, on a CPU."""

from functools import partial

from torch import Tensor

from lm_research.kernels.fused.cpu.compiled import compiled, flat
from lm_research.kernels.fused.cpu.product import pointer
from lm_research.kernels.fused.cpu.threads import over_rows
from lm_research.kernels.fused.cpu.vectors import WIDTH, rowwise

COLUMNS = 2 * WIDTH
"""That a thread takes at least: of float32 and AVX-512, two of a cache's lines."""
_ADD = rowwise(("total", "row"), ("total",), lambda total, row: (total + row,))


@compiled
def _add(ids, rows, sums, width, first, end):
    start, stop = first * COLUMNS, min(end * COLUMNS, width)
    for number in range(ids.size):
        total = pointer(sums, ids[number] * width + start)
        _ADD((total, pointer(rows, number * width + start), total), stop - start)


def add_rows(ids_M: Tensor, rows_MG: Tensor, sums_VG: Tensor) -> None:
    """sums[ids[m]] += rows[m], in the order of m; threads share out the columns.

    Args:
        ids_M: int64, from 0 to V - 1.
        rows_MG: float32 or bfloat16, of any shape whose last size is G.
        sums_VG: float32, in one piece of memory.
    """
    width = sums_VG.shape[1]
    given = ids_M.contiguous().numpy(), flat(rows_MG), flat(sums_VG)
    over_rows(partial(_add, *given, width), -(-width // COLUMNS))
