"""How a polled scan is cut into programs; needs no Triton.

What fits was found by compiling ahead of time (Triton 3.9.0 for sm_80, sm_90 and sm_100): no
register spills. What is best is a model, in cycles of a processor, that no GPU has confirmed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lm_research.kernels.fused.spread.plan import GATES, Cell, Direction, Processors

UNITS = 16
"""Units of a program (``exchange.UNITS``)."""
SLICES: dict[tuple[Cell, Direction], dict[tuple[int, int], int]] = {
    ("rnn", "forward"): {
        (8, 4): 16, (8, 8): 16, (16, 4): 16, (16, 8): 16, (32, 4): 16, (32, 8): 16,
    },
    ("rnn", "backward"): {
        (8, 4): 16, (8, 8): 16, (16, 4): 16, (16, 8): 16, (32, 4): 12, (32, 8): 16,
    },
    ("lstm", "forward"): {(8, 4): 8, (8, 8): 8, (16, 4): 8, (16, 8): 8, (32, 8): 4},
    ("lstm", "backward"): {(8, 4): 4, (8, 8): 8, (16, 8): 4, (32, 8): 2},
    ("gru", "forward"): {
        (8, 4): 12, (8, 8): 8, (16, 4): 8, (16, 8): 8, (32, 4): 4, (32, 8): 6,
    },
    ("gru", "backward"): {(8, 4): 12, (8, 8): 8, (16, 4): 4, (16, 8): 8, (32, 8): 2},
}  # fmt: skip
"""Slices of 16 units that a warp can sum over without a spilled register, by (rows, warps)."""
ODD: dict[tuple[Cell, Direction], dict[tuple[int, int], int]] = {
    ("lstm", "forward"): {(16, 4): 4},
    ("lstm", "backward"): {(8, 8): 6},
    ("gru", "forward"): {(8, 4): 8},
}
"""The same where hidden or head size is no multiple of 16, if it is less."""


@dataclass(frozen=True)
class Plan:
    """One launch's cut.

    Attributes:
        rows: of a batch tile, a multiple of 8.
        warps: of a program; each sums its share of the products over k.
        groups: batch tiles x heads x directions that one launch serves.
    """

    rows: int
    warps: int
    groups: int

    def options(self) -> dict[str, int | bool]:
        """Triton's options for a launch."""
        registers = min(65_536 // (32 * self.warps), 255)
        options = {"num_warps": self.warps, "num_stages": 1, "maxnreg": registers}
        return {**options, "launch_cooperative_grid": True}

    def slices(self, head_size: int) -> int:
        """Programs of a group."""
        return -(-head_size // UNITS)

    def steps(self, head_size: int) -> int:
        """Slices that a warp sums over."""
        return -(-self.slices(head_size) // self.warps)

    def padded(self, head_size: int) -> int:
        """Units of a head in the exchange, to whole warps."""
        return self.steps(head_size) * self.warps * UNITS


def plan(
    cell: Cell,
    direction: Direction,
    batch: int,
    head_size: int,
    heads: int,
    processors: Processors,
    aligned: bool = True,
) -> Plan:
    """The cut that the model finds fastest.

    Args:
        heads: of all directions.
        aligned: whether hidden and head size are multiples of 16.

    Raises:
        RuntimeError: nothing fits; says why.
    """
    if reason := obstacle(cell, head_size, processors, aligned):
        raise RuntimeError(f"no polled scan: {reason}")
    fitting = _fitting(cell, direction, head_size, processors, aligned)
    return min(fitting, key=lambda made: _cycles(made, cell, direction, batch, head_size, heads))


def limits(cell: Cell, direction: Direction, aligned: bool) -> dict[tuple[int, int], int]:
    """:data:`SLICES` of a kernel."""
    less = {} if aligned else ODD.get((cell, direction), {})
    return {**SLICES[cell, direction], **less}


def obstacle(
    cell: Cell, head_size: int, processors: Processors, aligned: bool = True
) -> str | None:
    """Why no polled scan can serve such heads, or None."""
    if not processors.nvidia:
        return "polled scans are for NVIDIA's GPUs"
    ways: tuple[Direction, ...] = ("forward", "backward")
    if all(any(_fitting(cell, way, head_size, processors, aligned)) for way in ways):
        return None
    both = [limits(cell, way, aligned) for way in ways]
    most = min(max(warps * slices for (_, warps), slices in of.items()) for of in both) * UNITS
    if head_size > most:
        return f"{head_size} units a head spill registers: at most {most}"
    return f"{head_size} units a head do not fit {processors.count} processors"


def _fitting(
    cell: Cell, direction: Direction, head_size: int, processors: Processors, aligned: bool
) -> Iterator[Plan]:
    """Plans, each with as many groups as the processors hold at once."""
    for (rows, warps), most in limits(cell, direction, aligned).items():
        made = Plan(rows, warps, processors.count // -(-head_size // UNITS))
        shared = 2 * _sums(cell, direction) * warps * UNITS * rows * 4
        if made.groups and made.steps(head_size) <= most and shared <= processors.shared:
            yield made


def _sums(cell: Cell, direction: Direction) -> int:
    """Matrices that warps sum in shared memory, in float32, twice: steps take turns."""
    return GATES[cell] if direction == "forward" else 1


def _cycles(
    made: Plan, cell: Cell, direction: Direction, batch: int, head_size: int, heads: int
) -> float:
    """Of all launches' steps (all estimates): words there and back, cache to processor, products,
    the sum over warps, what is elementwise."""
    padded, exchanged = made.padded(head_size), GATES[cell] if direction == "backward" else 1
    step = 900 + exchanged * made.rows * padded * 2 / 40
    step += GATES[cell] * UNITS * padded * made.rows / 1300
    step += 2 * _sums(cell, direction) * made.warps * UNITS * made.rows * 4 / 128
    step += 250 * max(1, UNITS * made.rows // (32 * made.warps))
    groups = -(-batch // made.rows) * heads
    return -(-groups // made.groups) * step
