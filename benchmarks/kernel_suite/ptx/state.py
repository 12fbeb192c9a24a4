"""Warps and blocks: what each has for itself."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kernel_suite.ptx.memory import Memory
from kernel_suite.ptx.order import Clock, meet

LANES = 32
UNSIGNED: dict[int, type[np.generic]] = {
    1: np.bool_,
    8: np.uint8,
    16: np.uint16,
    32: np.uint32,
    64: np.uint64,
}
UNWRITTEN: dict[int, np.ndarray] = {
    bits: np.full(LANES, True if bits == 1 else 2**bits - 1, t) for bits, t in UNSIGNED.items()
}
"""A register's poison: all bits set."""
SHARED_BASE = 1024
"""Where a block's shared memory begins; what is below belongs to the driver."""


class Block:
    """A thread block: its shared memory, its warps, and who waits at which barrier."""

    def __init__(self, index: tuple[int, int, int], shared: int, agents: range) -> None:
        self.index = index
        self.shared = Memory("shared", shared, SHARED_BASE, agents)
        self.warps: list[Warp] = []
        self.waiting: dict[int, list[Warp]] = defaultdict(list)

    def arrive(self, warp: "Warp", barrier: int, expected: int | None) -> None:
        """The last of ``expected`` warps (all, if None) lets those go on that wait."""
        waiting = self.waiting[barrier]
        waiting.append(warp)
        if len(waiting) == (expected or len(self.warps)):
            meet([each.clock for each in waiting])
            for each in self.waiting.pop(barrier):
                each.blocked = False


@dataclass(frozen=True)
class Launch:
    """What all warps of a launch share. A parameter's address is its place among them."""

    grid: tuple[int, int, int]
    threads: int
    parameters: dict[str, bytes]
    memory: Memory

    def parameter(self, address: int) -> bytes:
        """What lies at an address of the parameters' own space."""
        return list(self.parameters.values())[address]

    def address_of(self, name: str) -> int:
        """Of a parameter."""
        return list(self.parameters).index(name)


class Warp:
    """32 lanes with one program counter; a register is an array of 32, replaced and never changed.

    Args:
        launch: what all warps share.
        block: the warp's.
        number: of the warp in its block.
        clock: of its own.
        widths: of the registers, in bits; unwritten ones hold poison.
    """

    def __init__(
        self, launch: Launch, block: Block, number: int, clock: Clock, widths: list[int]
    ) -> None:
        self.launch, self.block, self.number, self.clock = launch, block, number, clock
        self.registers = [UNWRITTEN[width] for width in widths]
        self.place = 0
        self.blocked = self.ended = False
        self.copies: list[Callable[[], None]] = []  # asynchronous ones that no group has yet
        self.groups: list[list[Callable[[], None]]] = []
        self.special = _special(launch, block, number)

    def __str__(self) -> str:
        return f"block {self.block.index} warp {self.number} (agent {self.clock.agent})"


def _special(launch: Launch, block: Block, number: int) -> dict[str, np.ndarray]:
    lane = np.arange(LANES, dtype=np.uint32)
    values: dict[str, np.ndarray | int] = {
        "%tid.x": lane + number * LANES,
        "%tid.y": 0,
        "%tid.z": 0,
        "%ntid.x": launch.threads,
        "%laneid": lane,
        "%warpid": number,
    }
    for axis, at, size in zip("xyz", block.index, launch.grid, strict=True):
        values[f"%ctaid.{axis}"] = at
        values[f"%nctaid.{axis}"] = size
    return {name: np.broadcast_to(np.uint32(value), LANES) for name, value in values.items()}
