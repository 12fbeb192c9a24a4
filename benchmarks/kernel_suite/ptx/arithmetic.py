"""Instructions on registers alone, lane by lane.

Exact but for: ``fma.f32`` is rounded twice (float64, then float32: wrong in the last bit about once
in 2^29); :mod:`.approximate` has what PTX calls so.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kernel_suite.ptx.approximate import APPROXIMATE
from kernel_suite.ptx.errors import UnsupportedError
from kernel_suite.ptx.operands import TYPES, Step, guard_of, reader, writer
from kernel_suite.ptx.parse import Instruction, Vector
from kernel_suite.ptx.state import Warp

WIDER = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}
FLOATS = ("f16", "f32", "f64")
PAIRS = {"s16x2": np.int16, "u16x2": np.uint16}  # two integers in a register
COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}
COMBINE = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}
PARTS = {*TYPES, "tf32", *COMPARE, *(f"{name}u" for name in COMPARE), "num", "nan", *COMBINE}
PARTS |= {"rn", "rna", "rni", "rzi", "ftz", "approx", "full", "NaN", "lo", "hi", "wide"}
PARTS |= {"to", "global", *PAIRS}
"""Of an opcode, after its name; any other is refused."""


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """float32 of bfloat16's bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """bfloat16's bits of float32, rounded to nearest, ties to even."""
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), np.uint32(0x7FFF), rounded).astype(np.uint16)


def to_tf32(values: np.ndarray) -> np.ndarray:
    """float32 rounded to 10 bits of mantissa, ties away from zero."""
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(values), rounded, bits).view(np.float32)


def compute(
    instruction: Instruction, function: Callable, sources: list[str], result: str | None = None
) -> Step:
    """``function`` of all operands but the first, read as ``sources``, into the first."""
    if not PARTS.issuperset(instruction.opcode[1:]):
        raise UnsupportedError(instruction.text)
    first, *rest = instruction.operands
    write = writer(first, guard_of(instruction))
    readers = [reader(operand, kind) for operand, kind in zip(rest, sources, strict=True)]
    dtype = None if result is None else TYPES[result]

    def finish(warp: Warp, values: np.ndarray) -> None:
        write(warp, values if dtype is None or values.dtype == dtype else values.astype(dtype))

    if len(readers) == 1:
        (a,) = readers
        return lambda warp: finish(warp, function(a(warp)))
    if len(readers) == 2:
        a, b = readers
        return lambda warp: finish(warp, function(a(warp), b(warp)))
    return lambda warp: finish(warp, function(*(read(warp) for read in readers)))


def in_float32(function: Callable) -> Callable:
    """``function`` on bfloat16's bits."""
    return lambda *given: to_bfloat16(function(*map(from_bfloat16, given)))


def on_halves(function: Callable, half: type) -> Callable:
    """``function`` on both halves of 32 bits, each for itself."""

    def both(*given: np.ndarray) -> np.ndarray:
        halves = (np.ascontiguousarray(x).view(half) for x in given)
        return function(*halves).astype(half).view(np.uint32)

    return both


def same_type(function: Callable, count: int) -> Callable[[Instruction], Step]:
    """An instruction whose operands and result are of its last part's type."""

    def build(instruction: Instruction) -> Step:
        kind = instruction.kind
        if kind in PAIRS:
            return compute(instruction, on_halves(function, PAIRS[kind]), ["u32"] * count, "u32")
        if kind.endswith("x2"):
            raise UnsupportedError(instruction.text)
        done = in_float32(function) if kind == "bf16" else function
        return compute(instruction, done, [kind] * count, kind)

    return build


def multiply(instruction: Instruction) -> Step:
    """mul, and mad and fma with a third operand: floats, or integers' lo, hi or wide."""
    kind = instruction.kind
    added = len(instruction.operands) == 4
    if kind in FLOATS or kind == "bf16":
        return _multiply_floats(instruction, added)
    if instruction.has("wide"):
        wide = TYPES[WIDER[kind]]
        product = lambda a, b: a.astype(wide) * b.astype(wide)  # noqa: E731
        sources, result = [kind, kind, WIDER[kind]], WIDER[kind]
    elif instruction.has("lo"):
        product = lambda a, b: a * b  # noqa: E731
        sources, result = [kind] * 3, kind
    elif instruction.has("hi") and kind in WIDER:
        wide, bits = TYPES[WIDER[kind]], int(kind[1:])
        product = lambda a, b: (a.astype(wide) * b.astype(wide)) >> bits  # noqa: E731
        sources, result = [kind] * 3, kind
    else:
        raise UnsupportedError(instruction.text)
    if added:
        return compute(
            instruction, lambda a, b, c: product(a, b).astype(c.dtype) + c, sources, result
        )
    return compute(instruction, product, sources[:2], result)


def _multiply_floats(instruction: Instruction, added: bool) -> Step:
    kind = instruction.kind
    if kind == "f64" and added:
        raise UnsupportedError(f"{instruction.text}: no exact float64 fma")

    def fused(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        exact = a.astype(np.float64) * b.astype(np.float64)
        return (exact + c).astype(a.dtype)

    function: Callable = fused if added else (lambda a, b: a * b)
    done = in_float32(function) if kind == "bf16" else function
    return compute(instruction, done, [kind] * (3 if added else 2), kind)


def comparison(name: str, floating: bool) -> Callable:
    """PTX's comparison: ``ltu`` holds also of NaN, ``lt`` and even ``ne`` do not."""
    if name == "num":
        return lambda a, b: ~(np.isnan(a) | np.isnan(b))
    if name == "nan":
        return lambda a, b: np.isnan(a) | np.isnan(b)
    if name not in COMPARE:
        ordered = COMPARE[name[:-1]]
        return lambda a, b: ordered(a, b) | np.isnan(a) | np.isnan(b)
    if name == "ne" and floating:
        return lambda a, b: (a < b) | (a > b)
    return COMPARE[name]


def _compare_halves(instruction: Instruction) -> Step:
    """setp.f16x2 p|q, a, b, and of bf16x2: p of the low halves, q of the high ones."""
    names = [part for part in instruction.opcode[1:-1] if part != "ftz"]
    if len(names) != 1 or not isinstance(instruction.operands[0], Vector):
        raise UnsupportedError(instruction.text)
    test = comparison(names[0], floating=True)
    guard = guard_of(instruction)
    low, high = [writer(part, guard) for part in instruction.operands[0].parts]
    a, b = [reader(operand, "u32") for operand in instruction.operands[1:]]

    def halves(pairs: np.ndarray) -> np.ndarray:
        if instruction.kind == "f16x2":
            return np.ascontiguousarray(pairs).view(np.float16).reshape(-1, 2)
        return from_bfloat16(np.ascontiguousarray(pairs).view(np.uint16)).reshape(-1, 2)

    def step(warp: Warp) -> None:
        x, y = halves(a(warp)), halves(b(warp))
        low(warp, test(x[:, 0], y[:, 0]))
        high(warp, test(x[:, 1], y[:, 1]))

    return step


def compare(instruction: Instruction) -> Step:
    """setp, with a predicate joined to the result where there is one; of pairs two predicates."""
    if instruction.kind in ("f16x2", "bf16x2"):
        return _compare_halves(instruction)
    parts, kind = [p for p in instruction.opcode[1:-1] if p != "ftz"], instruction.kind
    test = comparison(parts[0], kind in FLOATS or kind == "bf16")
    function = test
    if kind == "bf16":
        function = lambda a, b: test(from_bfloat16(a), from_bfloat16(b))  # noqa: E731
    if len(parts) == 1:
        return compute(instruction, function, [kind] * 2, "pred")
    join = COMBINE[parts[1]]
    return compute(
        instruction, lambda a, b, p: join(function(a, b), p), [kind, kind, "pred"], "pred"
    )


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Integers' quotients are cut off towards zero."""
    return a / b if a.dtype.kind == "f" else (a - np.fmod(a, b)) // b


def shift(function: Callable) -> Callable[[Instruction], Step]:
    """Shifts, by at most the width: numpy leaves further ones undefined."""

    def build(instruction: Instruction) -> Step:
        kind = instruction.kind
        width = np.dtype(TYPES[kind]).itemsize * 8

        def shifted(a: np.ndarray, by: np.ndarray) -> np.ndarray:
            inside = function(a, np.minimum(by, width - 1).astype(a.dtype))
            sign = a >> a.dtype.type(width - 1) if a.dtype.kind == "i" else a.dtype.type(0)
            return np.where(by < width, inside, sign)

        return compute(instruction, shifted, [kind, "u32"], kind)

    return build


def extract(instruction: Instruction) -> Step:
    """bfe: a field of bits, extended by its own sign if the type has one."""
    kind = instruction.kind
    if kind not in ("u32", "s32"):
        raise UnsupportedError(instruction.text)

    def field(a: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
        start, length = start.astype(np.int64) & 255, length.astype(np.int64) & 255
        start, length = np.minimum(start, 32), np.minimum(length, 32)
        value = (a.astype(np.int64) >> start) & ((1 << length) - 1)  # a's sign goes on above it
        if kind == "s32":
            top = (a.astype(np.int64) >> np.minimum(start + length - 1, 31)) & 1
            value = np.where((top == 1) & (length > 0), value - (1 << length), value)
        return value

    return compute(instruction, field, [kind, "u32", "u32"], kind)


def convert(instruction: Instruction) -> Step:
    """cvt between integers, between floats, and from one to the other."""
    *modifiers, target, source = instruction.opcode[1:]
    if target in ("f16x2", "bf16x2"):
        narrow = to_bfloat16 if target == "bf16x2" else lambda a: a.astype(np.float16)
        return compute(
            instruction,
            lambda high, low: (
                (narrow(high).view(np.uint16).astype(np.uint32) << 16) | narrow(low).view(np.uint16)
            ),
            ["f32", "f32"],
        )
    if target == "tf32":
        if "rna" not in modifiers:
            raise UnsupportedError(instruction.text)
        return compute(instruction, to_tf32, ["f32"])
    if target == "bf16":
        if source != "f32" or "rn" not in modifiers:
            raise UnsupportedError(instruction.text)
        return compute(instruction, to_bfloat16, ["f32"])
    if source == "bf16":
        if target != "f32":
            raise UnsupportedError(instruction.text)
        return compute(instruction, from_bfloat16, ["bf16"])
    if source in FLOATS and target not in FLOATS:
        rounded = np.trunc if "rzi" in modifiers else np.rint
        if not {"rzi", "rni"} & set(modifiers):
            raise UnsupportedError(instruction.text)
        limits = np.iinfo(np.dtype(TYPES[target]))
        return compute(
            instruction,
            lambda a: np.clip(np.nan_to_num(rounded(a)), limits.min, limits.max),
            [source],
            target,
        )
    return compute(instruction, lambda a: a, [source], target)


def move(instruction: Instruction) -> Step:
    """mov: copy, pack a vector into a register, or unpack a register into one."""
    first, second = instruction.operands
    guard, kind = guard_of(instruction), instruction.kind
    if isinstance(second, Vector):
        part = f"b{np.dtype(TYPES[kind]).itemsize * 8 // len(second.parts)}"
        readers = [reader(operand, part) for operand in second.parts]
        write, dtype = writer(first, guard), TYPES[kind]
        return lambda warp: write(
            warp, np.stack([read(warp) for read in readers], 1).view(dtype)[:, 0]
        )
    if isinstance(first, Vector):
        part = f"b{np.dtype(TYPES[kind]).itemsize * 8 // len(first.parts)}"
        writers = [writer(operand, guard) for operand in first.parts]
        read = reader(second, kind)

        def unpack(warp: Warp) -> None:
            values: np.ndarray = read(warp)[:, None].view(TYPES[part])
            for column, write in enumerate(writers):
                write(warp, values[:, column].copy())

        return unpack
    return compute(instruction, lambda a: a, [kind])


def select(instruction: Instruction) -> Step:
    """selp."""
    kind = "b16" if instruction.kind == "bf16" else instruction.kind
    return compute(instruction, lambda a, b, p: np.where(p, a, b), [kind, kind, "pred"], kind)


def logic(instruction: Instruction) -> Step:
    """lop3: any function of three bits, as a table."""
    *sources, table = instruction.operands[1:]
    truth = table.value  # type: ignore[union-attr]

    def looked_up(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        result = np.zeros_like(a)
        for case in range(8):
            if truth >> case & 1:
                terms = [x if case >> bit & 1 else ~x for x, bit in ((a, 2), (b, 1), (c, 0))]
                result |= terms[0] & terms[1] & terms[2]
        return result

    short = replace(instruction, operands=[instruction.operands[0], *sources])
    return compute(short, looked_up, ["b32"] * 3)


def permute(instruction: Instruction) -> Step:
    """prmt: four of eight bytes."""
    if instruction.kind != "b32":
        raise UnsupportedError(instruction.text)

    def picked(a: np.ndarray, b: np.ndarray, choice: np.ndarray) -> np.ndarray:
        pool = np.stack([a, b], 1).view(np.uint8)
        which = (choice[:, None] >> np.arange(0, 16, 4, dtype=np.uint32)) & 15
        found = np.take_along_axis(pool, (which & 7).astype(np.int64), 1)
        sign = np.where(found >> 7, 0xFF, 0).astype(np.uint8)
        return np.where(which & 8, sign, found).view(np.uint32)[:, 0]

    return compute(instruction, picked, ["b32"] * 3)


def least_or_most(plain: Callable, with_nan: Callable) -> Callable[[Instruction], Step]:
    """min and max, which pass by NaN unless told otherwise."""

    def build(instruction: Instruction) -> Step:
        return same_type(with_nan if instruction.has("NaN") else plain, 2)(instruction)

    return build


def floats_only(function: Callable, count: int) -> Callable[[Instruction], Step]:
    """As :func:`same_type`; integers are refused."""

    def build(instruction: Instruction) -> Step:
        if instruction.kind not in FLOATS:
            raise UnsupportedError(instruction.text)
        return same_type(function, count)(instruction)

    return build


BUILD: dict[str, Callable[[Instruction], Step]] = {
    "add": same_type(np.add, 2),
    "sub": same_type(np.subtract, 2),
    "mul": multiply,
    "mad": multiply,
    "fma": multiply,
    "div": same_type(divide, 2),
    "rem": same_type(np.fmod, 2),
    "neg": same_type(np.negative, 1),
    "abs": same_type(np.abs, 1),
    "min": least_or_most(np.fmin, np.minimum),
    "max": least_or_most(np.fmax, np.maximum),
    "and": same_type(np.bitwise_and, 2),
    "or": same_type(np.bitwise_or, 2),
    "xor": same_type(np.bitwise_xor, 2),
    "not": same_type(np.bitwise_not, 1),
    "shl": shift(np.left_shift),
    "shr": shift(np.right_shift),
    "bfe": extract,
    "popc": same_type(np.bitwise_count, 1),
    **{name: floats_only(function, 1) for name, function in APPROXIMATE.items()},
    "setp": compare,
    "selp": select,
    "cvt": convert,
    "mov": move,
    "cvta": lambda instruction: compute(instruction, lambda a: a, [instruction.kind]),
    "lop3": logic,
    "prmt": permute,
}
