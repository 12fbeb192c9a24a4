"""How programs hand each other what a step has made, without a counter.

A word of the exchange (two numbers of 16 bits, or a float32) is either data or :data:`ABSENT`,
bits of a NaN that are never posted. Who waits for a word looks until it is there; 32
bits are written and read whole, so nothing need order one word by another. (So exchange NVIDIA's
sparse persistent RNNs, Zhu et al. 2018, arXiv:1804.10223.)

The exchange is a ring of :data:`SLOTS` slots, one a step, all absent at first. In step s a program
polls what all have made in step s - 1, posts its own in the slot of s, and withdraws its words of
step s - 2: as all have posted step s - 1, they have read s - 2. The next to look at those words
does so in step s + SLOTS - 1, and must not find the old ones. Stores to two addresses may be seen
in any order, so each thread has a fence every :data:`FENCE` steps: what it withdraws in step s
comes before all that it posts from step s + FENCE on; whoever has polled that and has passed a
fence of its own, in step s + 2 FENCE - 1 at the latest, finds the words absent.

Where the words of a step lie: a slice (16 units, a program's own) after the other, in a slice what
lane 0 of a warp takes of the right operand of ``mma.sync`` (``m16n8k16``, or of TF32 two times
``m16n8k8``), what lane 1 takes and so on; of each tile of 8 rows two words, of float32 four.

Shapes: W warps, each with its own share of the sum over k.
"""

from typing import Any

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.runtime.jit import constexpr_function

ABSENT = -1
"""All bits; NaN, or two. PTX's own NaNs are 0x7FFFFFFF and 0x7FFF."""
SLOTS, FENCE = gl.constexpr(16), gl.constexpr(4)
UNITS, TILE = gl.constexpr(16), gl.constexpr(8)
"""Units of a slice, and rows of a tile: k and columns of a right operand."""
LANES = 32
LOOKS, HASTY = 1 << 22, 64
"""Looks at an absent word, of about a microsecond each, before a program gives up; and before it
begins to ask whether another one has."""


@constexpr_function
def operand(index: int, warps: int, type: Any) -> Any:
    """The layout of a left (0) or right (1) operand, 16 k of each warp: (W, 16, 16), (W, 16, 8)."""
    parent = gl.NVMMADistributedLayout(
        version=[2, 0], warps_per_cta=[warps, 1, 1], instr_shape=[1, 16, 8]
    )
    return gl.DotOperandLayout(index, parent, 32 // type.primitive_bitwidth)


@constexpr_function
def words_of(type: Any) -> int:
    """Of a lane, of a slice of one tile."""
    return UNITS.value * TILE.value // LANES * type.primitive_bitwidth // 32


@constexpr_function
def poll_text(gates: int, steps: int, tiles: int, warps: int, words: int) -> str:
    """PTX: load all words that a warp sums over, again until none is absent.

    All lanes go round together, since tensor cores take what they load. Operands: all words, of a
    gate those of each 16 k, of these those of each tile; two of no use; the pointer to the first
    slice four times; that to the flag of who has given up four times.
    """
    held = words * tiles  # by a lane of a slice
    count, width = gates * steps * held, min(held, 4)
    loads = [
        f"ld.relaxed.gpu.global.v{width}.b32 {{{_names(first, width)}}},"
        f" [at + {_place(first, held, steps, warps)}];"
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
            f"mad.wide.u32 at, looks, {steps * LANES * 4 * held}, ${count + 2};",
            f"mad.wide.u32 at, lane, {4 * held}, at;",
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
def _place(word: int, held: int, steps: int, warps: int) -> int:
    """Bytes from a lane's first word to ``word``; gates lie as far apart as all warps' slices."""
    piece, within = divmod(word, held)
    gate, step = divmod(piece, steps)
    return 4 * ((gate * warps * steps + step) * LANES * held + within)


@constexpr_function
def poll_constraints(count: int, type: Any) -> str:
    """Of :func:`poll_text`'s operands; outputs are written before the last look at the others."""
    word = "=&f" if type.primitive_bitwidth == 32 else "=&r"
    return ",".join([word] * count + ["r"] * 2 + ["l"] * 8)


@constexpr_function
def post_text(rows: int, bits: int) -> str:
    """PTX: a word to ``$2``; of two units of 16 bits a lane has one and its neighbour the other."""
    both = [
        "shfl.sync.bfly.b32 word, $1, 1, 31, -1;",
        "prmt.b32 word, $1, word, 0x5410;",
    ]
    return "\n".join(
        [
            "{",
            ".reg .pred mine;",
            ".reg .b32 word;",
            *(both if bits == 16 else ["mov.b32 word, $1;"]),
            "min.u32 word, word, 0xFFFFFFFE;",  # whoever is given such NaNs has other ones
            *_mine(rows, bits),
            "@mine st.relaxed.gpu.global.b32 [$2], word;",
            "mov.b32 $0, word;",
            "}",
        ]
    )


@constexpr_function
def withdraw_text(rows: int, bits: int) -> str:
    """PTX: the word at ``$1`` is absent."""
    return "\n".join(
        [
            "{",
            ".reg .pred mine;",
            f"mov.b32 $0, {ABSENT};",
            *_mine(rows, bits),
            "@mine st.relaxed.gpu.global.b32 [$1], $0;",
            "}",
        ]
    )


@constexpr_function
def _mine(rows: int, bits: int) -> list[str]:
    """Whether it is this thread that stores: of the first warps that have the tile
    (``products.owned``), and of two with half a word each the even one."""
    even = ["and.b32 thread, thread, 1;", "setp.eq.and.b32 mine, thread, 0, mine;"]
    return [
        ".reg .b32 thread;",
        "mov.u32 thread, %tid.x;",
        f"setp.lt.u32 mine, thread, {UNITS.value * rows};",
        *(even if bits == 16 else []),
    ]


@gluon.jit
def poll(source_ptr, failed_ptr, GATES: gl.constexpr, STEPS: gl.constexpr, TILES: gl.constexpr):
    """What this warp sums over, as right operands: of a gate those of each 16 k, of these those of
    each tile. Who has waited in vain says so at ``failed_ptr`` and has NaNs."""
    W: gl.constexpr = gl.num_warps()
    TYPE: gl.constexpr = source_ptr.dtype.element_ty
    WORDS: gl.constexpr = words_of(TYPE)
    COUNT: gl.constexpr = GATES * STEPS * TILES
    like = gl.zeros([W, UNITS, TILE], gl.int16, operand(1, W, TYPE))  # gives the layout
    return gl.inline_asm_elementwise(
        poll_text(GATES, STEPS, TILES, W, WORDS),
        poll_constraints(COUNT * WORDS, TYPE),
        [like, source_ptr, failed_ptr],
        dtype=(source_ptr.dtype.element_ty,) * COUNT,
        is_pure=False,
        pack=4,
    )


@gluon.jit
def post(at, x):
    """x (16, rows) to its words, whose pointers are ``at``."""
    BITS: gl.constexpr = at.dtype.element_ty.primitive_bitwidth
    value = x.to(at.dtype.element_ty)
    if BITS == 16:
        bits = value.to(gl.int16, bitcast=True).to(gl.int32)
    else:
        bits = value.to(gl.int32, bitcast=True)
    gl.inline_asm_elementwise(
        post_text(x.shape[1], BITS), "=r,r,l", [bits, at], dtype=gl.int32, is_pure=False, pack=1
    )


@gluon.jit
def withdraw(at):
    """The words at ``at`` are absent."""
    TEXT: gl.constexpr = withdraw_text(at.shape[1], at.dtype.element_ty.primitive_bitwidth)
    gl.inline_asm_elementwise(TEXT, "=r,l", [at], dtype=gl.int32, is_pure=False, pack=1)


@gluon.jit
def fence(step):
    """What this thread has stored comes before what it will store, for all who fence, too."""
    gl.inline_asm_elementwise(
        "fence.acq_rel.gpu; mov.b32 $0, $1;", "=r,r", [step], dtype=gl.int32, is_pure=False, pack=1
    )


@gluon.jit
def slot_of(step):
    """Of a step, from -2 on."""
    return (step + SLOTS) % SLOTS
