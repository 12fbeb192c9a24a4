"""Warps taking turns until all have ended."""

import random
from collections.abc import Callable

import numpy as np

from kernel_suite.ptx import arithmetic, control, matrix, movement
from kernel_suite.ptx.errors import DeadlockError, KernelError, UnsupportedError
from kernel_suite.ptx.operands import Step
from kernel_suite.ptx.order import Clock
from kernel_suite.ptx.parse import Instruction, Program
from kernel_suite.ptx.state import LANES, Block, Launch, Warp

FAMILIES = (arithmetic, movement, matrix, control)
TURN = 200
"""Instructions that a warp executes before the next one's turn."""


def step_of(instruction: Instruction) -> Step:
    """What an instruction does to a warp; raises UnsupportedError."""
    for family in FAMILIES:
        build: Callable[[Instruction], Step] | None = family.BUILD.get(instruction.name)
        if build:
            return build(instruction)
    raise UnsupportedError(f"{instruction.text} ({instruction.source})")


class Machine:
    """One launch of ``program``.

    Args:
        program: of :func:`~kernel_suite.ptx.parse.parse`.
        launch: grid, parameters, global memory.
        shared: bytes of a block's shared memory.
        seed: warps take turns in a random order of it, and turns of random lengths; None: in order.
        limit: instructions of all warps together, after which nobody is expected to end.
    """

    def __init__(
        self, program: Program, launch: Launch, shared: int, seed: int | None, limit: int
    ) -> None:
        self.program, self.limit = program, limit
        self.steps = [step_of(instruction) for instruction in program.instructions]
        self.random = None if seed is None else random.Random(seed)
        self.warps: list[Warp] = []
        each = launch.threads // LANES
        total = int(np.prod(launch.grid)) * each
        for z, y, x in np.ndindex(*reversed(launch.grid)):
            first = len(self.warps)
            block = Block((x, y, z), shared, range(first, first + each))
            for number in range(each):
                clock = Clock(first + number, total)
                block.warps.append(Warp(launch, block, number, clock, program.widths))
            self.warps += block.warps

    def run(self) -> int:
        """Until all have ended; returns how many instructions were executed."""
        executed = 0
        with np.errstate(all="ignore"):
            while going := [warp for warp in self.warps if not warp.ended]:
                ready = [warp for warp in going if not warp.blocked]
                if not ready or executed > self.limit:
                    raise DeadlockError(self._where(going))
                if self.random:
                    self.random.shuffle(ready)
                for warp in ready:
                    executed += self._turn(warp)
        return executed

    def _turn(self, warp: Warp) -> int:
        most = self.random.randint(1, TURN) if self.random else TURN
        steps = self.steps
        for done in range(most):
            if warp.blocked or warp.ended:
                return done
            place = warp.place
            warp.place += 1
            try:
                steps[place](warp)
            except KernelError as error:
                raise type(error)(f"{self._line(place)}, {warp}: {error}") from None
        return most

    def _line(self, place: int) -> str:
        instruction = self.program.instructions[place]
        return f"{instruction.text} ({instruction.source})"

    def _where(self, going: list[Warp]) -> str:
        lines = [f"{warp}: after {self._line(max(warp.place - 1, 0))}" for warp in going[:8]]
        return f"{len(going)} warps cannot end:\n" + "\n".join(lines)
