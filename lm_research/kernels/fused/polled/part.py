"""Which part of a scan a program has: units of a head of its own, of one batch tile.

Shapes: B batch, T time, H hidden size of a direction, D head size, R directions.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from lm_research.kernels.fused.polled.exchange import TILE, UNITS
from lm_research.kernels.fused.polled.products import tiled

NUMBERS = ["B", "T", "R", "group", "reverse"]
"""Kernel arguments that no kernel is compiled anew for."""


@gluon.jit
def part_of(B, H, D, R, group, ROWS: gl.constexpr):
    """(batch tile, head of all directions, its direction, units as a column, rows as a line)."""
    TILED: gl.constexpr = tiled(gl.num_warps(), ROWS)
    group += gl.program_id(1)
    heads = R * H // D
    head = group % heads
    own = gl.program_id(0) * UNITS + gl.arange(0, UNITS, gl.SliceLayout(1, TILED))
    local = gl.arange(0, ROWS, gl.SliceLayout(0, TILED))
    return group // heads, head, head * D // H, own[:, None], local[None, :]


@gluon.jit
def course(T, second, reverse, BACKWARD: gl.constexpr):
    """A walk's first time step, and what it goes on by."""
    against = (second | reverse) ^ BACKWARD
    return against * (T - 1), 1 - 2 * against


@gluon.jit
def shared_with(exchange_ptr, B, H, D, R, group, SIZE: gl.constexpr, ROWS: gl.constexpr):
    """Where this group's words begin in the first slot, and how far slots are apart.

    Args:
        SIZE: numbers that a group exchanges in a step.
    """
    groups = gl.cdiv(B, ROWS) * (R * H // D)
    return exchange_ptr + (group + gl.program_id(1)) * SIZE, groups * SIZE


@gluon.jit
def word_of(own, local, ROWS: gl.constexpr, BITS: gl.constexpr):
    """Where units and rows lie in a gate's words: as lanes of a warp take a right operand."""
    unit = own % UNITS
    if BITS == 16:
        lane = local % TILE * 4 + unit % 8 // 2
        within = local // TILE * 4 + unit // 8 * 2 + unit % 2
    else:
        lane = local % TILE * 4 + unit % 4
        within = local // TILE * 4 + unit // 4
    return own // UNITS * (UNITS * ROWS) + lane * (ROWS // 2) + within


@gluon.jit
def kept(reset_ptr, at, here):
    """Which rows are not cleared before the step that ``at`` is of."""
    return gl.load(reset_ptr + at, mask=here, other=0) == 0


@gluon.jit
def read(pointer, H, at, inside, COUNT: gl.constexpr):
    """A tile of each of COUNT gates, which lie H apart."""
    found = ()
    for gate in gl.static_range(COUNT):
        x = gl.load(pointer + gate * H + at, mask=inside, other=0.0)
        found += (x,)  # type: ignore[assignment]
    return found


@gluon.jit
def write(pointer, H, at, inside, values):
    """A tile of each gate."""
    for gate in gl.static_range(len(values)):
        gl.store(pointer + gate * H + at, values[gate].to(pointer.dtype.element_ty), mask=inside)
