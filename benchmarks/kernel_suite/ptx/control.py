"""Branches, barriers and the end."""

from collections.abc import Callable

import numpy as np

from kernel_suite.ptx.errors import DivergenceError, UnsupportedError
from kernel_suite.ptx.operands import Step, guard_of
from kernel_suite.ptx.parse import Immediate, Instruction
from kernel_suite.ptx.state import LANES, Warp


def taken(instruction: Instruction) -> Callable[[Warp], bool]:
    """Whether the warp does it; raises DivergenceError if only some lanes do."""
    guard = guard_of(instruction)
    if guard is None:
        return lambda warp: True

    def decide(warp: Warp) -> bool:
        held = int(np.count_nonzero(guard(warp)))
        if held not in (0, LANES):
            raise DivergenceError(f"{held} of 32 lanes")
        return held > 0

    return decide


def branch(instruction: Instruction) -> Step:
    """bra: to an instruction's place."""
    does, target = taken(instruction), instruction.operands[0]
    assert isinstance(target, Immediate)

    def step(warp: Warp) -> None:
        if does(warp):
            warp.place = target.value

    return step


def end(instruction: Instruction) -> Step:
    """ret and exit."""
    does = taken(instruction)

    def step(warp: Warp) -> None:
        if does(warp):
            warp.ended = True

    return step


def barrier(instruction: Instruction) -> Step:
    """bar.sync and barrier.sync of a block's warps, or of as many threads as are named."""
    if not instruction.has("sync", "warp") or instruction.guard:
        raise UnsupportedError(instruction.text)
    if instruction.has("warp"):
        return lambda warp: None  # a warp's lanes are never apart
    if not all(isinstance(operand, Immediate) for operand in instruction.operands):
        raise UnsupportedError(instruction.text)
    number, *count = (operand.value for operand in instruction.operands)  # type: ignore[union-attr]
    expected = count[0] // LANES if count else None

    def step(warp: Warp) -> None:
        warp.blocked = True
        warp.block.arrive(warp, number, expected)

    return step


BUILD: dict[str, Callable[[Instruction], Step]] = {
    "bra": branch,
    "ret": end,
    "exit": end,
    "bar": barrier,
    "barrier": barrier,
}
