"""A step's products with U, which lies in registers, and the sum over warps.

Each warp has a share of k: it multiplies what it has polled, and nobody else reads that. The sums
of all warps meet in shared memory, behind the one barrier of a step; steps take turns with two
stages.

Shapes: W warps; 16 units that a program owns; rows of its batch tile, a multiple of 8.
"""

from typing import Any

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2
from triton.runtime.jit import constexpr_function

from lm_research.kernels.fused.polled.exchange import TILE, UNITS, operand
from lm_research.kernels.fused.registers.tile import barrier

PLACES: dict[int, list[list[int]]] = {
    1: [[0, 0, 1], [0, 0, 2], [0, 0, 4], [0, 1, 0], [0, 2, 0]],
    2: [[0, 0, 0, 1], [0, 0, 1], [0, 0, 2], [0, 0, 4], [0, 1, 0], [0, 2, 0]],
    4: [[0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 1, 0], [0, 0, 2], [0, 0, 4], [0, 0, 1], [0, 2, 0]],
}
"""By how many sums lie side by side: what each bit of an address is for (warp, unit, row, sum). No
two lanes meet in a bank, neither as the tensor core's write nor as :func:`owned`'s read."""


@constexpr_function
def staging(warps: int, rows: int, sums: int) -> Any:
    """The layout of shared memory for (W, 16, rows) sums, of which ``sums`` lie side by side."""
    rest = [[0, 4, 0], [0, 8, 0], *_doubled(2, TILE.value, rows), *_doubled(0, 1, warps)]
    return gl.SharedLinearLayout(_filled([*PLACES[sums], *rest], sums))


@constexpr_function
def owned(warps: int, rows: int, sums: int) -> Any:
    """The layout of all warps' sums as they are added: a thread has those of one unit and row, or
    of a few if there are not enough threads. Warps that are left over have what others have."""
    lanes = [[0, 1, 0], [0, 0, 2], [0, 0, 4], [0, 0, 1], [0, 2, 0]]
    across = [[0, 4, 0], [0, 8, 0], *_doubled(2, TILE.value, rows)]
    held = warps.bit_length() - 1
    spare = [[0, 0, 0]] * max(held - len(across), 0)
    beside = PLACES[sums][: sums.bit_length() - 1]
    registers = [*beside, *across[held:], *_doubled(0, 1, warps)]
    return gl.DistributedLinearLayout(
        _filled(registers, sums),
        _filled(lanes, sums),
        _filled(across[:held] + spare, sums),
        [],
        [warps, UNITS.value, rows, *[2] * len(beside)],
    )


@constexpr_function
def tiled(warps: int, rows: int) -> Any:
    """The layout of what is elementwise, (16, rows)."""
    return gl.SliceLayout(0, owned(warps, rows, 1))


@constexpr_function
def _doubled(axis: int, least: int, most: int) -> list[list[int]]:
    """Bases along one of three axes, from ``least`` to ``most``."""
    sizes = [least << i for i in range((most // least).bit_length() - 1)]
    return [[size if axis == at else 0 for at in range(3)] for size in sizes]


@constexpr_function
def _filled(bases: list[list[int]], sums: int) -> list[list[int]]:
    """Bases as long as there are axes."""
    rank = 3 + sums.bit_length() - 1
    return [basis + [0] * (rank - len(basis)) for basis in bases]


@gluon.jit
def stage(ROWS: gl.constexpr, SUMS: gl.constexpr):
    """Shared memory for all warps' sums, of which SUMS (1, 2 or 4) lie side by side."""
    W: gl.constexpr = gl.num_warps()
    SHAPE: gl.constexpr = [W, UNITS, ROWS, 2, 2][: 3 + SUMS // 2]
    return gl.allocate_shared_memory(gl.float32, SHAPE, staging(W, ROWS, SUMS))


@constexpr_function
def reading(warps: int, turned: bool, type: Any) -> Any:
    """The layout that 16 x 16 weights a warp are loaded in: 16 bytes a lane, along rows of U."""
    each = 128 // type.primitive_bitwidth
    across = UNITS.value // each
    if turned:
        return gl.BlockedLayout([1, each, 1], [1, across, 32 // across], [warps, 1, 1], [1, 2, 0])
    return gl.BlockedLayout([1, 1, each], [1, 32 // across, across], [warps, 1, 1], [2, 1, 0])


@gluon.jit
def resident(u_ptr, stride, D, first, last, TURNED: gl.constexpr, STEPS: gl.constexpr):
    """Weights of gates from ``first`` to ``last`` from this warp's share of k to the program's own
    units, loaded once: of each gate, of each 16 k, a left operand (W, 16, 16).

    Args:
        stride: from gate to gate.
        TURNED: the program owns columns of U, and not rows.
    """
    W: gl.constexpr = gl.num_warps()
    TYPE: gl.constexpr = u_ptr.dtype.element_ty
    READ: gl.constexpr = reading(W, TURNED, TYPE)
    warp = gl.arange(0, W, gl.SliceLayout(1, gl.SliceLayout(2, READ)))[:, None, None]
    m = gl.arange(0, UNITS, gl.SliceLayout(0, gl.SliceLayout(2, READ)))[None, :, None]
    inner = gl.arange(0, UNITS, gl.SliceLayout(0, gl.SliceLayout(1, READ)))[None, None, :]
    own = gl.program_id(0) * UNITS + m
    u = ()
    for gate in gl.static_range(first, last):
        parts = ()
        for step in gl.static_range(STEPS):
            k = (warp * STEPS + step) * UNITS + inner
            at = k * D + own if TURNED else own * D + k
            x = gl.load(u_ptr + gate * stride + at, mask=(own < D) & (k < D), other=0.0)
            parts += (gl.convert_layout(x, operand(0, W, TYPE)),)  # type: ignore[assignment]
        u += (parts,)  # type: ignore[assignment]
    barrier()  # else the loop's first step has one more, each time, lest it overwrite what is read
    return u


@gluon.jit
def high(x):
    """float32's upper 19 bits, all that TF32 has. Told to be impure: U's would be made once and for
    all, in registers that are not there."""
    TEXT: gl.constexpr = "and.b32 $0, $1, 0xFFFFE000;"
    return gl.inline_asm_elementwise(TEXT, "=f,f", [x], dtype=gl.float32, is_pure=False, pack=1)


@gluon.jit
def summed(u, words, gate: gl.constexpr, tile: gl.constexpr, TILES: gl.constexpr, X3: gl.constexpr):
    """A gate's U times its words, of one tile.

    Args:
        X3: whether float32's products are three of TF32 each, that is, as good as float32's.
    """
    ACC: gl.constexpr = u[0].type.layout.parent
    total = gl.zeros([gl.num_warps(), UNITS, TILE], gl.float32, ACC)
    for step in gl.static_range(len(u)):
        word = words[(gate * len(u) + step) * TILES + tile]
        if X3:
            upper = high(u[step])
            above = high(word)
            total = mma_v2(u[step] - upper, above, total, input_precision="tf32")
            total = mma_v2(upper, word - above, total, input_precision="tf32")
            total = mma_v2(upper, above, total, input_precision="tf32")
        else:
            total = mma_v2(u[step], word, total, input_precision="tf32")
    return total


@gluon.jit
def multiply(u, words, stage, TILES: gl.constexpr, X3: gl.constexpr):
    """Each gate's U times the same words, into the gates' stage."""
    for tile in gl.static_range(TILES):
        totals = ()
        for gate in gl.static_range(len(u)):
            total = summed(u[gate], words, 0, tile, TILES, X3)
            totals += (total,)  # type: ignore[assignment]
        stage.slice(tile * TILE, TILE, 2).store(beside(totals))


@gluon.jit
def contract(u, words, stage, TILES: gl.constexpr, X3: gl.constexpr):
    """Each gate's U times its own words, summed, into the stage."""
    for tile in gl.static_range(TILES):
        # each gate its own sum: shorter chains of products
        total = summed(u[0], words, 0, tile, TILES, X3)
        for gate in gl.static_range(1, len(u)):
            total += summed(u[gate], words, gate, tile, TILES, X3)
        stage.slice(tile * TILE, TILE, 2).store(total)


@gluon.jit
def beside(x):
    """One, two or four tensors as one."""
    whole = x[0]
    if len(x) == 2:
        whole = gl.join(x[0], x[1])
    if len(x) == 4:
        whole = gl.join(gl.join(x[0], x[1]), gl.join(x[2], x[3]))
    return whole


@gluon.jit
def added(stage):
    """(16, rows): the sum over warps of what they have put there."""
    return gl.sum(stage.load(owned(stage.shape[0], stage.shape[2], 1)), 0)


@gluon.jit
def both_added(stage):
    """The same of two that lie side by side."""
    TILED: gl.constexpr = tiled(stage.shape[0], stage.shape[2])
    a, b = gl.split(gl.sum(stage.load(owned(stage.shape[0], stage.shape[2], 2)), 0))
    return gl.convert_layout(a, TILED, True), gl.convert_layout(b, TILED, True)


@gluon.jit
def four_added(stage):
    """The same of four."""
    TILED: gl.constexpr = tiled(stage.shape[0], stage.shape[2])
    left, right = gl.split(gl.sum(stage.load(owned(stage.shape[0], stage.shape[2], 4)), 0))
    a, b = gl.split(left)
    c, d = gl.split(right)
    a = gl.convert_layout(a, TILED, True)
    b = gl.convert_layout(b, TILED, True)
    c = gl.convert_layout(c, TILED, True)
    d = gl.convert_layout(d, TILED, True)
    return a, b, c, d
