"""How a polled scan is cut into programs; needs no Triton.

What fits was found by compiling ahead of time (Triton 3.9.0, the largest heads with 3.6.0 too, for
sm_80, sm_90 and sm_100): no register spills. What is best is a model, in cycles of a processor,
that no GPU has confirmed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lm_research.kernels.fused.spread.plan import GATES, GROUPS, Cell, Direction, Processors

UNITS = 16
"""Units of a program (``exchange.UNITS``)."""
Limits = dict[tuple[int, int], int]
"""Slices of 16 units that a warp can sum over without a spilled register, by (rows, warps)."""
SLICES: dict[tuple[Cell, Direction, str], Limits] = {
    ("rnn", "forward", "half"): {
        (8, 4): 16, (8, 8): 16, (16, 4): 16, (16, 8): 16, (32, 4): 16, (32, 8): 16,
    },
    ("rnn", "backward", "half"): {
        (8, 4): 16, (8, 8): 16, (16, 4): 16, (16, 8): 16, (32, 4): 12, (32, 8): 16,
    },
    ("lstm", "forward", "half"): {(8, 4): 8, (8, 8): 8, (16, 4): 6, (16, 8): 8, (32, 8): 4},
    ("lstm", "backward", "half"): {(8, 4): 4, (8, 8): 8, (16, 8): 4, (32, 8): 2},
    ("gru", "forward", "half"): {
        (8, 4): 12, (8, 8): 8, (16, 4): 8, (16, 8): 8, (32, 4): 3, (32, 8): 6,
    },
    ("gru", "backward", "half"): {(8, 4): 12, (8, 8): 8, (16, 4): 4, (16, 8): 8, (32, 8): 2},
    ("rnn", "forward", "tf32"): {(8, 4): 16, (8, 8): 16, (16, 8): 8, (32, 8): 6},
    ("rnn", "backward", "tf32"): {(8, 4): 16, (8, 8): 16, (16, 8): 8, (32, 8): 6},
    ("lstm", "forward", "tf32"): {(8, 4): 4, (8, 8): 4, (16, 8): 2},
    ("lstm", "backward", "tf32"): {(8, 4): 4, (8, 8): 4, (16, 8): 2},
    ("gru", "forward", "tf32"): {(8, 4): 6, (8, 8): 6, (16, 8): 4, (32, 8): 2},
    ("gru", "backward", "tf32"): {(8, 4): 6, (8, 8): 6, (16, 8): 3},
}  # fmt: skip
"""By cell, direction and type (``spread.plan.GROUPS``)."""
ONE_PRODUCT: dict[tuple[Cell, Direction], Limits] = {
    ("lstm", "backward"): {(8, 4): 3, (8, 8): 3},
    ("gru", "backward"): {(8, 4): 5, (8, 8): 5},
}
"""The same for float32 as one product of TF32 (it spills 8 bytes earlier), where it is less."""
ODD: dict[tuple[Cell, Direction, str], Limits] = {
    ("lstm", "forward", "half"): {(16, 4): 4},
    ("lstm", "backward", "half"): {(8, 8): 6},
    ("gru", "forward", "half"): {(8, 4): 8},
}
"""The same where hidden or head size is no multiple of 16, if it is less."""
WAYS: tuple[Direction, ...] = ("forward", "backward")


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


@dataclass(frozen=True)
class Scan:
    """What is to be cut.

    Attributes:
        cell: of the scan.
        direction: of its kernel.
        kind: type of the inputs, or for float32 how its products are taken (``limits.TYPES``).
        head_size: units of a head.
        aligned: whether hidden and head size are multiples of 16.
    """

    cell: Cell
    direction: Direction
    kind: str
    head_size: int
    aligned: bool = True

    @property
    def limits(self) -> Limits:
        """:data:`SLICES` of its kernel; empty if none is compiled for its type."""
        key = self.cell, self.direction, GROUPS.get(self.kind, "")
        one = ONE_PRODUCT.get(key[:2], {}) if self.kind == "tf32" else {}
        odd = {} if self.aligned else ODD.get(key, {})
        return {**SLICES.get(key, {}), **one, **odd}

    @property
    def matrices(self) -> int:
        """That warps sum in shared memory, in float32."""
        return GATES[self.cell] if self.direction == "forward" else 1

    @property
    def exchanged(self) -> int:
        """Numbers of a unit and row that a program posts in a step."""
        return 1 if self.direction == "forward" else GATES[self.cell]


def plan(scan: Scan, batch: int, heads: int, processors: Processors) -> Plan:
    """The cut that the model finds fastest.

    Args:
        scan: what is to be cut.
        batch: its rows.
        heads: of all directions.
        processors: what the GPU has.

    Raises:
        RuntimeError: nothing fits; says why.
    """
    if reason := obstacle(scan, processors):
        raise RuntimeError(f"no polled scan: {reason}")
    return min(_fitting(scan, processors), key=lambda made: _cycles(made, scan, batch, heads))


def obstacle(scan: Scan, processors: Processors) -> str | None:
    """Why no polled scan can serve such heads, or None; both directions are looked at."""
    both = [replace(scan, direction=way) for way in WAYS]
    if not processors.nvidia:
        return "polled scans are for NVIDIA's GPUs"
    if not all(one.limits for one in both):
        return f"{scan.kind} products take no tensor core"
    if all(any(_fitting(one, processors)) for one in both):
        return None
    each = [max(warps * slices for (_, warps), slices in one.limits.items()) for one in both]
    most = min(each) * UNITS
    if scan.head_size > most:
        return f"{scan.head_size} units a head spill registers: at most {most} in {scan.kind}"
    return f"{scan.head_size} units a head do not fit {processors.count} processors"


def _fitting(scan: Scan, processors: Processors) -> Iterator[Plan]:
    """Plans, each with as many groups as the processors hold at once."""
    for (rows, warps), most in scan.limits.items():
        made = Plan(rows, warps, processors.count // -(-scan.head_size // UNITS))
        shared = 2 * scan.matrices * warps * UNITS * rows * 4  # twice: steps take turns
        if made.groups and made.steps(scan.head_size) <= most and shared <= processors.shared:
            yield made


def _cycles(made: Plan, scan: Scan, batch: int, heads: int) -> float:
    """Of all launches' steps (all estimates): words there and back, cache to processor, products,
    the sum over warps, what is elementwise."""
    padded, gates = made.padded(scan.head_size), GATES[scan.cell]
    bytes_each = 2 if GROUPS[scan.kind] == "half" else 4
    products = {"tf32x3": 6, "tf32": 2}.get(scan.kind, 1)
    step = 900 + scan.exchanged * made.rows * padded * bytes_each / 40
    step += gates * UNITS * padded * made.rows * products / 1300
    step += 2 * scan.matrices * made.warps * UNITS * made.rows * 4 / 128
    step += 250 * max(1, UNITS * made.rows // (32 * made.warps))
    groups = -(-batch // made.rows) * heads
    return -(-groups // made.groups) * step
