"""How programs hand each other what a step has made, without a counter.

A word (two numbers of 16 bits) of the exchange is either data or :data:`ABSENT`, bits that no
conversion from float32 makes. Who waits for a word looks until it is there; 32 bits are written and
read whole, so nothing need order one word by another. (So exchange NVIDIA's sparse persistent RNNs,
Zhu et al. 2018, arXiv:1804.10223.)

The exchange is a ring of :data:`SLOTS` slots, one a step, all absent at first. In step s a program
polls what all have made in step s - 1, posts its own in the slot of s, and withdraws its words of
step s - 2: as all have posted step s - 1, they have read s - 2. The next to look at those words
does so in step s + SLOTS - 1, and must not find the old ones. Stores to two addresses may be seen
in any order, so each thread has a fence every :data:`FENCE` steps: what it withdraws in step s
comes before all that it posts from step s + FENCE on; whoever has polled that and has passed a
fence of its own, in step s + 2 FENCE - 1 at the latest, finds the words absent.

Where the words of a step lie: a slice (16 units, a program's own) after the other, in a slice what
lane 0 of a warp takes of the right operand of ``mma.sync.m16n8k16``, what lane 1 takes and so on;
of each tile of 8 rows two words.

Shapes: W warps, each with its own share of the sum over k.
"""

from typing import Any

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.runtime.jit import constexpr_function

ABSENT = -1
"""Two NaNs of bits that PTX's cvt does not make: its are 0x7FFF."""
SLOTS, FENCE = gl.constexpr(16), gl.constexpr(4)
UNITS, TILE = gl.constexpr(16), gl.constexpr(8)
"""Units of a slice, and rows of a tile: k and columns of a right operand."""
SLICE = 2 * UNITS.value * TILE.value
"""Bytes of a slice of one tile."""
LOOKS, HASTY = 1 << 22, 64
"""Looks at an absent word, of about a microsecond each, before a program gives up; and before it
begins to ask whether another one has."""


@constexpr_function
def operand(index: int, warps: int) -> Any:
    """The layout of a left (0) or right (1) operand, 16 k of each warp: (W, 16, 16), (W, 16, 8)."""
    parent = gl.NVMMADistributedLayout(
        version=[2, 0], warps_per_cta=[warps, 1, 1], instr_shape=[1, 16, 8]
    )
    return gl.DotOperandLayout(index, parent, 2)


@constexpr_function
def poll_text(gates: int, steps: int, tiles: int, warps: int) -> str:
    """PTX: load all words that a warp sums over, again until none is absent.

    All lanes go round together, since tensor cores take what they load. Operands: all words, of a
    gate those of each 16 k, of these those of each tile; two of no use; the pointer to the first
    slice four times; that to the flag of who has given up four times.
    """
    count = gates * steps * tiles * 2
    width = min(2 * tiles, 4)
    loads = [
        f"ld.relaxed.gpu.global.v{width}.b32 {{{_names(first, width)}}},"
        f" [at + {_place(first, steps, tiles, warps)}];"
        for first in range(0, count, width)
    ]
    looks = [f"setp.eq.or.b32 absent, ${word}, {ABSENT}, absent;" for word in range(count)]
    return "\n".join(
        [
            "{",
            ".reg .pred absent;",
            ".reg .b32 lane;",
            ".reg .b32 looks;",
            ".reg .b64 at;",
            "mov.u32 looks, %tid.x;",
            "and.b32 lane, looks, 31;",
            "shr.u32 looks, looks, 5;",
            f"mad.wide.u32 at, looks, {steps * SLICE * tiles}, ${count + 2};",
            f"mad.wide.u32 at, lane, {8 * tiles}, at;",
            "mov.u32 looks, 0;",
            "again:",
            *loads,
            "setp.ne.u32 absent, looks, looks;",
            *looks,
            "vote.sync.any.pred absent, absent, -1;",
            "@!absent bra done;",
            "add.u32 looks, looks, 1;",
            f"setp.lt.u32 absent, looks, {HASTY};",
            "@absent bra again;",
            f"ld.relaxed.sys.global.b32 lane, [${count + 6}];",
            "setp.ne.u32 absent, lane, 0;",
            "vote.sync.any.pred absent, absent, -1;",
            "@absent bra done;",
            f"setp.lt.u32 absent, looks, {LOOKS};",
            "@absent bra again;",
            "mov.u32 lane, 1;",
            f"st.relaxed.sys.global.b32 [${count + 6}], lane;",
            "done:",
            "}",
        ]
    )


@constexpr_function
def _names(first: int, count: int) -> str:
    return ", ".join(f"${word}" for word in range(first, first + count))


@constexpr_function
def _place(word: int, steps: int, tiles: int, warps: int) -> int:
    """Bytes from a lane's first word to ``word``; gates lie as far apart as all warps' slices."""
    piece, within = divmod(word, 2 * tiles)
    gate, step = divmod(piece, steps)
    return (gate * warps * steps + step) * SLICE * tiles + 4 * within


@constexpr_function
def poll_constraints(count: int) -> str:
    """Of :func:`poll_text`'s operands; outputs are written before the last look at the others."""
    return ",".join(["=&r"] * count + ["r"] * 2 + ["l"] * 8)


@constexpr_function
def post_text(rows: int) -> str:
    """PTX: a word of two units, of which a lane has one and its neighbour the other, to ``$2``."""
    return "\n".join(
        [
            "{",
            ".reg .pred mine;",
            ".reg .b32 word;",
            "shfl.sync.bfly.b32 word, $1, 1, 31, -1;",
            "prmt.b32 word, $1, word, 0x5410;",
            *_mine(rows),
            "@mine st.relaxed.gpu.global.b32 [$2], word;",
            "mov.b32 $0, word;",
            "}",
        ]
    )


@constexpr_function
def withdraw_text(rows: int) -> str:
    """PTX: the word at ``$1`` is absent."""
    return "\n".join(
        [
            "{",
            ".reg .pred mine;",
            f"mov.b32 $0, {ABSENT};",
            *_mine(rows),
            "@mine st.relaxed.gpu.global.b32 [$1], $0;",
            "}",
        ]
    )


@constexpr_function
def _mine(rows: int) -> list[str]:
    """Whether it is this thread that stores: the even one of two, of the first warps that have
    the tile (``products.owned``)."""
    return [
        ".reg .b32 thread;",
        "mov.u32 thread, %tid.x;",
        f"setp.lt.u32 mine, thread, {UNITS.value * rows};",
        "and.b32 thread, thread, 1;",
        "setp.eq.and.b32 mine, thread, 0, mine;",
    ]


@gluon.jit
def poll(source_ptr, failed_ptr, GATES: gl.constexpr, STEPS: gl.constexpr, TILES: gl.constexpr):
    """What this warp sums over, as right operands: of a gate those of each 16 k, of these those of
    each tile. Who has waited in vain says so at ``failed_ptr`` and has NaNs."""
    W: gl.constexpr = gl.num_warps()
    COUNT: gl.constexpr = GATES * STEPS * TILES
    like = gl.zeros([W, UNITS, TILE], gl.int16, operand(1, W))  # gives the layout
    return gl.inline_asm_elementwise(
        poll_text(GATES, STEPS, TILES, W),
        poll_constraints(2 * COUNT),
        [like, source_ptr, failed_ptr],
        dtype=(source_ptr.dtype.element_ty,) * COUNT,
        is_pure=False,
        pack=4,
    )


@gluon.jit
def post(at, x):
    """x (16, rows) to its words, whose pointers are ``at``."""
    bits = x.to(at.dtype.element_ty).to(gl.int16, bitcast=True).to(gl.int32)
    gl.inline_asm_elementwise(
        post_text(x.shape[1]), "=r,r,l", [bits, at], dtype=gl.int32, is_pure=False, pack=1
    )


@gluon.jit
def withdraw(at):
    """The words at ``at`` are absent."""
    gl.inline_asm_elementwise(
        withdraw_text(at.shape[1]), "=r,l", [at], dtype=gl.int32, is_pure=False, pack=1
    )


@gluon.jit
def fence(step):
    """What this thread has stored comes before what it will store, for all who fence, too."""
    gl.inline_asm_elementwise(
        "fence.acq_rel.gpu; mov.b32 $0, $1;", "=r,r", [step], dtype=gl.int32, is_pure=False, pack=1
    )


@gluon.jit
def slot_of(step):
    """Of a step, from -1 on."""
    return (step + SLOTS) % SLOTS
