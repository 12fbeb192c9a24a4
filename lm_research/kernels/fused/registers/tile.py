"""Where a scan's numbers lie in a program, in Gluon's layouts, and what the cells share.

An accumulator has 16 rows, the batch tile, and BLOCK_D columns, the units of a head: products of
``mma.sync`` with 8 columns a warp. Every gate has one, so a thread owns all gates of its units, and
whatever is elementwise stays in its registers.
"""

from typing import Any

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.runtime.jit import constexpr_function

barrier = gl.barrier if hasattr(gl, "barrier") else gl.thread_barrier  # its name until Triton 3.7


@constexpr_function
def accumulator(warps: int) -> Any:
    """The layout of sums, and of all that is elementwise."""
    return gl.NVMMADistributedLayout(version=[2, 0], warps_per_cta=[1, warps], instr_shape=[16, 8])


@constexpr_function
def operand(index: int, parent: Any, type: Any) -> Any:
    """The layout of the left (0) or right (1) matrix of a product summed in ``parent``."""
    return gl.DotOperandLayout(index, parent, 32 // type.primitive_bitwidth)


@constexpr_function
def staging(rows: int, columns: int, type: Any) -> Any:
    """Shared memory: of all rows their first 16 bytes, then of all rows the next 16 bytes.

    So no two rows meet in a bank, and addresses differ by constants, which cost no registers.
    """
    vector = (128 // type.primitive_bitwidth).bit_length() - 1
    across = [[0, 1 << i] for i in range(columns.bit_length() - 1)]
    down = [[1 << i, 0] for i in range(rows.bit_length() - 1)]
    return gl.SharedLinearLayout(across[:vector] + down + across[vector:])


@constexpr_function
def rowwise(warps: int) -> Any:
    """Rows as they lie in global memory, pairs of numbers a thread."""
    return gl.BlockedLayout([1, 2], [4, 8], [warps, 1], [1, 0])


@gluon.jit
def exp2(x):
    """2^x, within two units in the last place; 0 and infinity where it is beyond float32."""
    TEXT: gl.constexpr = "ex2.approx.ftz.f32 $0, $1;"
    return gl.inline_asm_elementwise(TEXT, "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1)


@gluon.jit
def reciprocal(x):
    """1 / x of an x that is 1 or more, within one unit in the last place."""
    TEXT: gl.constexpr = "rcp.approx.ftz.f32 $0, $1;"
    return gl.inline_asm_elementwise(TEXT, "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1)


@gluon.jit
def sigmoid(x):
    """1 / (1 + exp(-x)): four instructions, since every step waits for them."""
    return reciprocal(1.0 + exp2(x * -1.4426950408889634))


@gluon.jit
def tanh(x, TYPE: gl.constexpr):
    """1 - 2 / (1 + exp(2 x)), where that does not cancel; near 0 its Taylor series, up to x^7.

    The next term is 6e-8 of x at the border. For bfloat16 it is one instruction, which is off by
    5e-4 of the result at most, where bfloat16 itself is by 4e-3.
    """
    TEXT: gl.constexpr = "tanh.approx.f32 $0, $1;"
    if gl.bfloat16 == TYPE:
        value = gl.inline_asm_elementwise(TEXT, "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1)
    else:
        s = x * x
        p = s * (-0.33333333333333 + s * (0.13333333333333 + s * -0.05396825396825))
        far = 1.0 - 2.0 * reciprocal(1.0 + exp2(x * 2.8853900817779268))
        value = gl.where(s < 0.04, x + x * p, far)
    return value


@gluon.jit
def place(B, D, BLOCK_D: gl.constexpr, SUM: gl.constexpr):
    """This program's rows, which of them there are, its columns, and the mask of its tile."""
    local = gl.arange(0, 16, gl.SliceLayout(1, SUM))
    columns = gl.arange(0, BLOCK_D, gl.SliceLayout(0, SUM))
    here = gl.program_id(0) * 16 + local < B
    return local, here, columns, here[:, None] & (columns < D)[None, :]


@gluon.jit
def direction(H, D, T, reverse):
    """Whether the program is of a second direction; its first time step and what it goes on by."""
    second = (gl.program_id(1) >= H // D).to(gl.int32)
    against = second | reverse
    return second, against * (T - 1), 1 - 2 * against


@gluon.jit
def offsets(local, columns, stride):
    """Of a tile within its program's rows; unsigned, which costs no register for a sign."""
    return (local[:, None] * stride + columns[None, :]).to(gl.uint32)


@gluon.jit
def matrix(pointer, D, TURNED: gl.constexpr, BLOCK_D: gl.constexpr, RIGHT: gl.constexpr):
    """(D, D) of a gate, or its transpose, as a right operand in registers.

    By way of shared memory, for the moment: read one by one, its numbers would lie in a register
    each, and not in pairs.
    """
    ROWS: gl.constexpr = rowwise(gl.num_warps())
    TYPE: gl.constexpr = pointer.dtype.element_ty
    rows = gl.arange(0, BLOCK_D, gl.SliceLayout(1, ROWS))[:, None]
    columns = gl.arange(0, BLOCK_D, gl.SliceLayout(0, ROWS))[None, :]
    within = (rows < D) & (columns < D)
    u = gl.load(pointer + rows * D + columns, mask=within, other=0.0)
    LAYOUT: gl.constexpr = staging(BLOCK_D, BLOCK_D, TYPE)
    stage = gl.allocate_shared_memory(TYPE, [BLOCK_D, BLOCK_D], LAYOUT, u)
    right = stage.permute([1, 0]).load(RIGHT) if TURNED else stage.load(RIGHT)
    barrier()  # else the compiler has the loop's first step wait, each time, lest it overwrite it
    return right


@gluon.jit
def four(at, H, wide, inside):
    """A tile of each of four gates."""
    a = gl.load(at + wide, mask=inside, other=0.0)
    b = gl.load(at + H + wide, mask=inside, other=0.0)
    c = gl.load(at + 2 * H + wide, mask=inside, other=0.0)
    d = gl.load(at + 3 * H + wide, mask=inside, other=0.0)
    return a, b, c, d


@gluon.jit
def kept(reset_ptr, past, here):
    """Which rows are not cleared before the step that ``reset_ptr`` points at, as a column."""
    return (gl.load(reset_ptr + past, mask=here, other=0) == 0)[:, None]


@gluon.jit
def cleared(x, goes_on):
    """Rows of x that do not go on are 0."""
    return gl.where(goes_on, x, gl.full_like(x, 0.0))


@gluon.jit
def write_state(pointer, x, stage, B, D):
    """The program's rows of a state after the last step, by way of shared memory.

    Other threads write it than hold it, whose offsets then need not be kept from step to step. Nor
    than read U in ``matrix``: the compiler would keep that one's mask over all steps, and spill it.
    """
    ROWS: gl.constexpr = gl.BlockedLayout([1, 2], [1, 32], [gl.num_warps(), 1], [1, 0])
    local = gl.arange(0, 16, gl.SliceLayout(1, ROWS))[:, None]
    columns = gl.arange(0, stage.shape[1], gl.SliceLayout(0, ROWS))[None, :]
    rows = gl.program_id(0).to(gl.int64) * 16 + local
    at = rows * (gl.num_programs(1) * D) + gl.program_id(1) * D + columns
    stage.store(x.to(stage.dtype))
    gl.store(pointer + at, stage.load(ROWS), mask=(rows < B) & (columns < D))
