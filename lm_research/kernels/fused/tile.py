"""What a program of a scan works on: a tile of rows, and the units of one head in one direction.

Directions lie beside each other as heads do, so the second axis of the grid counts both; a tensor's
last size W = R x H is the number of its programs times D.

Shapes: B batch, T time, H hidden size of a direction, D head size, R directions.
"""

import triton
import triton.language as tl


@triton.jit
def tile(B, D, BLOCK_B: tl.constexpr, BLOCK_D: tl.constexpr):
    """(rows within the tile, rows of the batch, columns of the head, units of W, what is real)."""
    local = tl.arange(0, BLOCK_B)
    rows = tl.program_id(0) * BLOCK_B + local
    columns = tl.arange(0, BLOCK_D)
    units = tl.program_id(1) * D + columns
    return local, rows, columns, units, (rows < B)[:, None] & (columns < D)[None, :]


@triton.jit
def direction(H, D, reverse):
    """(0 or 1: which of two directions, whether it is walked against time)."""
    second = (tl.program_id(1) >= H // D).to(tl.int32)
    return second, second != reverse


@triton.jit
def matrix(ptr, units, columns, D):
    """A head's matrix whose rows are ``units`` of the weight."""
    real = (columns < D)[:, None] & (columns < D)[None, :]
    return tl.load(ptr + units[:, None] * D + columns[None, :], mask=real, other=0.0)


@triton.jit
def kept(reset_ptr, now, local, rows, B, T):
    """Rows whose state is not cleared at a step, as a column; ``now`` is where the tile's is."""
    return (tl.load(reset_ptr + now + local * T, mask=rows < B, other=0) == 0)[:, None]


@triton.jit
def zoned(before, after, mask_ptr, SHARE: tl.constexpr, place, inside):
    """``after``, but ``before`` where the mask is, or a share of it everywhere."""
    if mask_ptr is not None:
        stays = tl.load(mask_ptr + place, mask=inside, other=0) != 0
        after = tl.where(stays, before, after)
    if SHARE is not None:
        after += SHARE * (before - after)
    return after


@triton.jit
def parted(gradient, mask_ptr, SHARE: tl.constexpr, place, inside):
    """A gradient's two shares, as :func:`zoned` has them: of ``before``, of ``after``."""
    if SHARE is not None:
        before = SHARE * gradient
    else:
        stays = tl.load(mask_ptr + place, mask=inside, other=0) != 0
        before = tl.where(stays, gradient, 0.0)
    return before, gradient - before
