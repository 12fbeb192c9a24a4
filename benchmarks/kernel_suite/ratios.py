"""Speed-ups from the figures: geometric means, and the goals that they are held against."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

from kernel_suite.paths import EVERY_STEP
from kernel_suite.points import CELLS, MODES, Point, head_grid, layer_grid
from kernel_suite.store import SAME, Row, Table

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


def speed_ups(
    table: Table, name: str, keep: Callable[[Point], bool], figure: str = "ms"
) -> dict[Point, float]:
    """How many times faster than torch.nn, at every point where both were timed.

    1 where dispatch takes torch.nn's path, and one call was timed for both.

    Args:
        figure: of a row: ``ms``, ``wall_ms`` or ``host_us``.
    """
    found = {}
    for point, rows in table.items():
        base, row = rows.get(BASELINE), rows.get(name)
        if not (base and row and base.measured and keep(point)):
            continue
        if row.status == SAME:
            found[point] = 1.0
        elif row.measured and getattr(row, figure) > 0 < getattr(base, figure):  # neither is NaN
            found[point] = getattr(base, figure) / getattr(row, figure)
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


@dataclass(frozen=True)
class Mean:
    """Times faster than torch.nn: geometric means with a cold L2, back to back, and of the host's
    time alone; None if not measured. ``least`` and ``points`` are of the first."""

    name: str
    cell: str
    mode: str
    cold: float
    least: float
    points: int
    wall: float | None = None
    host: float | None = None


def by_cell(table: Table) -> list[Mean]:
    """Of every contender, cell and mode that was timed beside torch.nn."""
    names = sorted({name for rows in table.values() for name in rows} - {BASELINE})
    kinds = product(names, CELLS, MODES)
    return [found for kind in kinds if (found := _of_cell(table, *kind))]


def _of_cell(table: Table, name: str, cell: str, mode: str) -> Mean | None:
    keep = _keep(cell, mode)
    found = speed_ups(table, name, keep)
    mean = geometric_mean(found.values())
    if mean is None:
        return None
    others = (speed_ups(table, name, keep, figure).values() for figure in ("wall_ms", "host_us"))
    return Mean(
        name, cell, mode, mean, min(found.values()), len(found), *map(geometric_mean, others)
    )


def _keep(cell: str, mode: str) -> Callable[[Point], bool]:
    return lambda point: of_layers(point) and (point.cell, point.mode) == (cell, mode)
