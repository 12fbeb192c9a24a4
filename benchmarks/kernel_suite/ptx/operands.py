"""Operands as functions of a warp: how a register is read as a type, and written."""

from collections.abc import Callable

import numpy as np

from kernel_suite.ptx.errors import UnsupportedError
from kernel_suite.ptx.parse import (
    Address,
    Immediate,
    Instruction,
    Operand,
    Register,
    Special,
    Symbol,
)
from kernel_suite.ptx.state import LANES, SHARED_BASE, UNSIGNED, Warp

Reader = Callable[[Warp], np.ndarray]
Writer = Callable[[Warp, np.ndarray], None]
Step = Callable[[Warp], None]

TYPES: dict[str, type[np.generic]] = {
    "pred": np.bool_, "b8": np.uint8, "u8": np.uint8, "s8": np.int8, "b16": np.uint16,
    "u16": np.uint16, "s16": np.int16, "b32": np.uint32, "u32": np.uint32, "s32": np.int32,
    "b64": np.uint64, "u64": np.uint64, "s64": np.int64, "f16": np.float16, "f32": np.float32,
    "f64": np.float64, "bf16": np.uint16, "f16x2": np.uint32, "bf16x2": np.uint32,
}  # fmt: skip
"""Of PTX; bfloat16 is unknown to numpy and stays bits."""


def size_of(kind: str) -> int:
    """Bytes of a type."""
    return np.dtype(TYPES[kind]).itemsize


def reader(operand: Operand, kind: str) -> Reader:
    """The operand's 32 values as ``kind``; a wider register's low bits."""
    dtype = TYPES[kind]
    if isinstance(operand, Register):
        index, bits = operand.index, np.dtype(dtype).itemsize * 8
        if kind == "pred" or operand.width == bits:
            return lambda warp: warp.registers[index].view(dtype)
        narrow = UNSIGNED[bits]
        return lambda warp: warp.registers[index].astype(narrow).view(dtype)
    if isinstance(operand, Special):
        name = operand.name
        return lambda warp: warp.special[name].astype(dtype)
    if isinstance(operand, Symbol) and operand.name == "global_smem":
        operand = Immediate(SHARED_BASE)
    if isinstance(operand, Symbol):  # a parameter: its address, that the code may choose among some
        return lambda warp: np.full(LANES, warp.launch.address_of(operand.name), dtype)
    if isinstance(operand, Immediate):
        return _constant(operand.value, np.dtype(dtype))
    raise UnsupportedError(f"operand {operand}")


def _constant(value: int, dtype: np.dtype) -> Reader:
    if dtype == np.bool_:
        values = np.full(LANES, bool(value))
    else:
        bits = dtype.itemsize * 8
        values = np.full(LANES, value & (2**bits - 1), UNSIGNED[bits]).view(dtype)
    values.setflags(write=False)
    return lambda warp: values


def writer(operand: Operand, guard: Reader | None) -> Writer:
    """Into a register, where the guard holds; a narrow value is extended by its own sign."""
    if isinstance(operand, Symbol) and operand.name == "_":
        return lambda warp, values: None
    if not isinstance(operand, Register):
        raise UnsupportedError(f"{operand} as a destination")
    index, dtype = operand.index, np.dtype(UNSIGNED[operand.width])

    def write(warp: Warp, values: np.ndarray) -> None:
        if values.dtype != dtype:
            if values.dtype.itemsize != dtype.itemsize:
                signed = values.dtype.kind == "i"
                values = values.astype(f"i{dtype.itemsize}" if signed else dtype)
            values = values.view(dtype)
        if guard is not None:
            values = np.where(guard(warp), values, warp.registers[index])
        warp.registers[index] = values

    return write


def guard_of(instruction: Instruction) -> Reader | None:
    """Which lanes an instruction is for; None is all."""
    if instruction.guard is None:
        return None
    index = instruction.guard.index
    if instruction.negated:
        return lambda warp: ~warp.registers[index]
    return lambda warp: warp.registers[index]


def address(operand: Operand) -> Reader:
    """int64 addresses of ``[base + offset]``."""
    assert isinstance(operand, Address)
    wide = isinstance(operand.base, Register) and operand.base.width == 64
    base, offset = reader(operand.base, "u64" if wide else "u32"), operand.offset
    return lambda warp: base(warp).astype(np.int64) + offset
