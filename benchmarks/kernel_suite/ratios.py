"""Speed-ups from the figures: geometric means, and the goals that they are held against."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kernel_suite.paths import EVERY_STEP
from kernel_suite.points import CELLS, MODES, Point, head_grid, layer_grid
from kernel_suite.store import Row, Table

BASELINE = "nn"
FUSED_NAMES = {
    "single": "fused",
    "registers": "fused-registers",
    "spread": "fused-spread",
    "polled": "fused-polled",
    "wavefront": "fused-wavefront",
}
"""Contenders that are one form of the fused kernels (``dispatch.FORMS``), whatever auto takes."""
OURS = ("ours", *FUSED_NAMES.values())
FLASHRNN = "flashrnn"


@dataclass(frozen=True)
class Goal:
    """``found`` is None where nothing was measured; ``points`` of ``of`` were."""

    name: str
    wanted: float
    found: float | None
    points: int
    of: int

    @property
    def verdict(self) -> str:
        if self.found is None:
            return "not measured"
        return "met" if self.found >= self.wanted else "missed"


def geometric_mean(values: Iterable[float]) -> float | None:
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else None


def speed_ups(table: Table, name: str, keep: Callable[[Point], bool]) -> dict[Point, float]:
    """How many times faster than torch.nn, at every point where both were timed."""
    found = {}
    for point, rows in table.items():
        base, row = rows.get(BASELINE), rows.get(name)
        if base and row and base.measured and row.measured and keep(point):
            found[point] = base.ms / row.ms
    return found


def of_layers(point: Point) -> bool:
    """Of the grid against torch.nn (one head, W x included)."""
    return point.heads == 1 and point.accounting == "layer"


def every_step(table: Table) -> Callable[[Point], bool]:
    """Where cuDNN launches every step, by its own kernels."""
    return lambda p: of_layers(p) and table[p].get(BASELINE, Row("", "")).path == EVERY_STEP


def above_flashrnn(table: Table, name: str) -> dict[Point, float]:
    """How many times faster than FlashRNN's best backend, on its own grid."""
    found, grid = {}, set(head_grid())
    for point, rows in table.items():
        theirs = [r.ms for n, r in rows.items() if n.startswith(FLASHRNN) and r.measured]
        row = rows.get(name)
        if point in grid and theirs and row and row.measured:
            found[point] = min(theirs) / row.ms
    return found


def goals(table: Table, name: str = "ours") -> list[Goal]:
    """Those set for an H100, of what a user gets by default."""
    size = len(layer_grid()) // len(MODES)
    modes = {m: speed_ups(table, name, lambda p, m=m: of_layers(p) and p.mode == m) for m in MODES}
    stepped = speed_ups(table, name, every_step(table))
    everywhere = [ratio for found in modes.values() for ratio in found.values()]
    known = sum(map(every_step(table), table))
    flash = above_flashrnn(table, name)
    return [
        _mean("forward against torch.nn, geometric mean", 2.0, modes["forward"], size),
        _mean("with backward against torch.nn, geometric mean", 1.5, modes["both"], size),
        _mean("where cuDNN launches every step, geometric mean", 4.0, stepped, known),
        # 2 % are granted to the dispatch where it hands over to torch.nn
        Goal("slowest point against torch.nn", 0.98, min(everywhere, default=None),
             len(everywhere), 2 * size),
        _mean("FlashRNN's own grid, geometric mean", 3.0, flash, len(head_grid())),
    ]  # fmt: skip


def _mean(name: str, wanted: float, found: dict[Point, float], of: int) -> Goal:
    return Goal(name, wanted, geometric_mean(found.values()), len(found), of)


def by_cell(table: Table) -> list[tuple[str, str, str, float, float, int]]:
    """(contender, cell, mode, geometric mean, least, points) against torch.nn."""
    names = sorted({name for rows in table.values() for name in rows} - {BASELINE})
    rows = []
    for name in names:
        for cell in CELLS:
            for mode in MODES:
                found = speed_ups(table, name, _keep(cell, mode))
                mean = geometric_mean(found.values())
                if mean is not None:
                    rows.append((name, cell, mode, mean, min(found.values()), len(found)))
    return rows


def _keep(cell: str, mode: str) -> Callable[[Point], bool]:
    return lambda point: of_layers(point) and (point.cell, point.mode) == (cell, mode)
