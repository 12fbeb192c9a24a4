"""How a spread scan is cut into programs."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Cell = Literal["rnn", "lstm", "gru"]
GATES: dict[Cell, int] = {"rnn": 1, "lstm": 4, "gru": 3}


@dataclass(frozen=True)
class Plan:
    """One launch's cut.

    Attributes:
        rows: of a batch tile.
        units: that a program owns.
        warps: of a program; each sums its share of the products over k.
        inner: units whose products are summed at once by all warps.
        groups: batch tiles x heads x directions that one launch serves.
        persistent: whether a launch walks all steps, or one.
    """

    rows: int
    units: int
    warps: int
    inner: int
    groups: int
    persistent: bool

    def options(self) -> dict[str, int | bool]:
        """Triton's options for a launch."""
        registers = min(65_536 // (32 * self.warps), 255)
        options = {"num_warps": self.warps, "num_stages": 1, "maxnreg": registers}
        return {**options, "launch_cooperative_grid": self.persistent}


def plan_for(cell, direction, gates, head_size, heads, precision) -> Plan:
    return Plan(16, 16, 4, 256, 8, False)
