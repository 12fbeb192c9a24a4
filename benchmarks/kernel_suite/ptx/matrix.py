"""Tensor cores: mma.sync and the loads and stores of its 8 x 8 tiles (PTX ISA, 9.7.14).

Lane l holds of a tile row l / 4 and, of what is 32 bits wide, column l % 4: a float32 or TF32, or
two 16-bit values beside each other. A, B and C are made of such tiles, a register each.
"""

from collections.abc import Callable

import numpy as np

from kernel_suite.ptx.arithmetic import from_bfloat16
from kernel_suite.ptx.errors import UnsupportedError
from kernel_suite.ptx.operands import Step, address, reader, writer
from kernel_suite.ptx.parse import Instruction, Vector
from kernel_suite.ptx.state import LANES, Warp

LANE = np.arange(LANES)
ROW, COLUMN = LANE // 4, LANE % 4
Values = Callable[[np.ndarray], np.ndarray]


def tf32(words: np.ndarray) -> np.ndarray:
    """What a tensor core takes of 32 bits: the low 13 are dropped."""
    return (words & np.uint32(0xFFFFE000)).view(np.float32)


def halves(words: np.ndarray) -> np.ndarray:
    """Two float16 a word."""
    return words.view(np.float16)


def bfloats(words: np.ndarray) -> np.ndarray:
    """Two bfloat16 a word."""
    return from_bfloat16(words.view(np.uint16))


OPERANDS: dict[tuple[str, str], tuple[Values, int]] = {
    ("m16n8k16", "bf16"): (bfloats, 16),
    ("m16n8k16", "f16"): (halves, 16),
    ("m16n8k8", "bf16"): (bfloats, 8),
    ("m16n8k8", "f16"): (halves, 8),
    ("m16n8k8", "tf32"): (tf32, 8),
    ("m16n8k4", "tf32"): (tf32, 4),
}
"""How a register's word is read, and K."""


def tile(words: np.ndarray, values: Values) -> np.ndarray:
    """(8, 4 or 8): the rows that 32 lanes' words make."""
    return values(words.reshape(8, 4))


def product(a: list[np.ndarray], b: list[np.ndarray], values: Values) -> np.ndarray:
    """(16, 8) float64: A B of their registers; B is held by its columns, as if transposed."""
    above = np.concatenate([tile(words, values) for words in a[0::2]], 1)
    below = np.concatenate([tile(words, values) for words in a[1::2]], 1)
    turned = np.concatenate([tile(words, values) for words in b], 1)
    return np.concatenate([above, below]).astype(np.float64) @ turned.astype(np.float64).T


def multiply(instruction: Instruction) -> Step:
    """mma.sync.aligned with float32 sums: D = A B + C."""
    shape, kind = instruction.opcode[3], instruction.opcode[7]
    expected = ("mma", "sync", "aligned", shape, "row", "col", "f32", kind, kind, "f32")
    if instruction.opcode != expected or (shape, kind) not in OPERANDS or instruction.guard:
        raise UnsupportedError(instruction.text)
    values, _ = OPERANDS[shape, kind]
    d, a, b, c = (operand.parts for operand in instruction.operands)  # type: ignore[union-attr]
    writers = [writer(part, None) for part in d]
    a, b = ([reader(part, "b32") for part in parts] for parts in (a, b))
    c = [reader(part, "f32") for part in c]

    def step(warp: Warp) -> None:
        total = product([read(warp) for read in a], [read(warp) for read in b], values)
        added = np.stack([read(warp) for read in c])  # (4, lanes): two rows, two columns each
        for number, write in enumerate(writers):
            row, column = ROW + 8 * (number // 2), 2 * COLUMN + number % 2
            write(warp, (total[row, column] + added[number]).astype(np.float32))

    return step


def tiles_of(instruction: Instruction) -> int:
    """How many tiles ``.x1``, ``.x2`` or ``.x4`` are."""
    if instruction.guard or not instruction.has("m8n8") or instruction.kind != "b16":
        raise UnsupportedError(instruction.text)
    return int(next(part for part in instruction.opcode if part in ("x1", "x2", "x4"))[1])


def words_to_tile(words: np.ndarray, transposed: bool) -> np.ndarray:
    """uint16 (8, 8) of 32 lanes' words."""
    values = words.view(np.uint16).reshape(8, 8)
    return values.T if transposed else values


def tile_to_words(values: np.ndarray, transposed: bool) -> np.ndarray:
    """32 lanes' words of uint16 (8, 8)."""
    values = values.T if transposed else values
    return np.ascontiguousarray(values).reshape(LANES, 2).view(np.uint32)[:, 0]


def load(instruction: Instruction) -> Step:
    """ldmatrix: lanes 8 i to 8 i + 7 give the addresses of tile i's rows."""
    count, transposed = tiles_of(instruction), instruction.has("trans")
    target, source = instruction.operands
    assert isinstance(target, Vector)
    where, writers = address(source), [writer(part, None) for part in target.parts]

    def step(warp: Warp) -> None:
        rows = warp.block.shared.load(warp.clock, where(warp)[: 8 * count], 16)
        tiles = rows.view(np.uint16).reshape(count, 8, 8)
        for values, write in zip(tiles, writers, strict=True):
            write(warp, tile_to_words(values, transposed))

    return step


def store(instruction: Instruction) -> Step:
    """stmatrix: the inverse of ldmatrix."""
    count, transposed = tiles_of(instruction), instruction.has("trans")
    target, source = instruction.operands
    assert isinstance(source, Vector)
    where, readers = address(target), [reader(part, "b32") for part in source.parts]

    def step(warp: Warp) -> None:
        tiles = [words_to_tile(read(warp), transposed) for read in readers]
        rows = np.ascontiguousarray(np.concatenate(tiles)).view(np.uint8)
        warp.block.shared.store(warp.clock, where(warp)[: 8 * count], rows)

    return step


def transpose(instruction: Instruction) -> Step:
    """movmatrix: a tile transposed between lanes."""
    if instruction.opcode[1:] != ("sync", "aligned", "m8n8", "trans", "b16") or instruction.guard:
        raise UnsupportedError(instruction.text)
    target, source = instruction.operands
    write, read = writer(target, None), reader(source, "b32")
    return lambda warp: write(warp, tile_to_words(words_to_tile(read(warp), False), True))


BUILD: dict[str, Callable[[Instruction], Step]] = {
    "mma": multiply,
    "ldmatrix": load,
    "stmatrix": store,
    "movmatrix": transpose,
}
