"""Where a scan's numbers lie in a program, in Gluon's layouts, and what the cells share.

An accumulator has 16 rows, the batch tile, and BLOCK_D columns, the units of a head: products of
``mma.sync`` with 8 columns a warp. Every gate has one, so a thread owns all gates of its units, and
whatever is elementwise stays in its registers.
"""

from typing import Any

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.runtime.jit import constexpr_function

from lm_research.kernels.fused import arithmetic

sigmoid = gluon.jit(arithmetic.sigmoid.fn)
tanh = gluon.jit(arithmetic.tanh.fn)


@constexpr_function
def accumulator(warps: int) -> Any:
    """The layout of sums, and of all that is elementwise."""
    return gl.NVMMADistributedLayout(version=[2, 0], warps_per_cta=[1, warps], instr_shape=[16, 8])


@constexpr_function
def operand(index: int, parent: Any, type: Any) -> Any:
    """The layout of the left (0) or right (1) matrix of a product summed in ``parent``."""
    return gl.DotOperandLayout(index, parent, 32 // type.primitive_bitwidth)


@constexpr_function
def staging(columns: int, type: Any) -> Any:
    """Shared memory of 16 rows, all rows of 16 bytes first, then those of the next 16 bytes.

    So no two rows meet in a bank, and addresses differ by constants, which cost no registers.
    """
    vector = (128 // type.primitive_bitwidth).bit_length() - 1
    bits = [[0, 1 << i] for i in range(columns.bit_length() - 1)]
    rows = [[1, 0], [2, 0], [4, 0], [8, 0]]
    return gl.SharedLinearLayout(bits[:vector] + rows + bits[vector:])


@gluon.jit
def place(B, T, H, D, DIRECTIONS: gl.constexpr, BLOCK_D: gl.constexpr, SUM: gl.constexpr):
    """This program's rows, which of them there are, its columns, and the mask of its tile.

    Also its direction (0 or 1) and its head's first unit.
    """
    local = gl.arange(0, 16, gl.SliceLayout(1, SUM))
    columns = gl.arange(0, BLOCK_D, gl.SliceLayout(0, SUM))
    here = gl.program_id(0) * 16 + local < B
    inside = here[:, None] & (columns < D)[None, :]
    heads = H // D
    direction = gl.program_id(1) // heads if DIRECTIONS == 2 else 0
    unit = (gl.program_id(1) - direction * heads) * D
    return local, here, columns, inside, direction, unit


@gluon.jit
def order(T, direction, REVERSE: gl.constexpr, DIRECTIONS: gl.constexpr):
    """The time step that a scan begins with, and what it goes on by."""
    if DIRECTIONS == 2:
        return direction * (T - 1), 1 - 2 * direction
    elif REVERSE:
        return T - 1, -1
    else:
        return 0, 1


@gluon.jit
def offsets(local, columns, stride):
    """Of a tile within its program's rows; unsigned, which costs no register for a sign."""
    return (local[:, None] * stride + columns[None, :]).to(gl.uint32)


@gluon.jit
def matrix(pointer, D, TURNED: gl.constexpr, BLOCK_D: gl.constexpr, RIGHT: gl.constexpr):
    """(D, D) of a gate, or its transpose, as a right operand in registers."""
    k = gl.arange(0, BLOCK_D, gl.SliceLayout(1, RIGHT))[:, None]
    n = gl.arange(0, BLOCK_D, gl.SliceLayout(0, RIGHT))[None, :]
    at = n * D + k if TURNED else k * D + n
    return gl.load(pointer + at, mask=(k < D) & (n < D), other=0.0)
