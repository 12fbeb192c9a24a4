"""The polled scans, for the compiler (``fused.ahead_of_time``)."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

from triton.experimental.gluon._runtime import GluonASTSource

from lm_research.kernels.fused.compiler import Kernel, Label, source_of
from lm_research.kernels.fused.polled import elman, gru, lstm
from lm_research.kernels.fused.polled.plan import UNITS, WAYS, Plan, Scan, obstacle, plan
from lm_research.kernels.fused.spread.ahead_of_time import BATCHES, COUNTS
from lm_research.kernels.fused.spread.plan import GATES, GROUPS, Cell, Processors
from lm_research.kernels.limits import SHARED

MODULES: dict[Cell, Any] = {"rnn": elman, "lstm": lstm, "gru": gru}


def polled(target: str, largest: bool) -> Iterator[Kernel]:
    """Every cut at its limit, of sizes that are multiples of 16 and of others; or the largest head
    of each cell as it is planned for few and for many rows. For NVIDIA's chips."""
    for cell, kind, way in product(GATES, GROUPS if target in COUNTS else (), WAYS):
        for aligned in (True,) if largest else (True, False):
            scan = Scan(cell, way, kind, 16, aligned)
            for made, head in _planned(scan, target) if largest else _limits(scan):
                form = f"polled {made.rows}x{made.warps}"
                label = Label(cell, form, way, kind, head - (not aligned), target, aligned)
                yield kernel_of(label, made)


def _planned(scan: Scan, target: str) -> list[tuple[Plan, int]]:
    """Of the largest head that some plan can serve, to a multiple of 128."""
    processors = Processors(COUNTS[target], SHARED[target])
    sizes = [replace(scan, head_size=size) for size in range(128, 4096, 128)]
    most = [sized for sized in sizes if obstacle(sized, processors) is None][-1]
    plans = {plan(most, batch, 1, processors) for batch in BATCHES}
    return [(made, most.head_size) for made in plans]


def _limits(scan: Scan) -> list[tuple[Plan, int]]:
    """Every cut, and the largest head that it may have."""
    return [
        (Plan(rows, warps, 1), slices * warps * UNITS)
        for (rows, warps), slices in scan.limits.items()
    ]


def kernel_of(label: Label, made: Plan) -> Kernel:
    """With lengths and resets, gates being saved."""
    function = getattr(MODULES[label.cell], f"{label.kernel}_kernel")  # type: ignore[index]
    constants = {
        "RELU": False,
        "X3": label.kind == "tf32x3",
        "ROWS": made.rows,
        "STEPS": made.steps(label.size),
    }
    wide = {"before_ptr"} if label.cell == "lstm" else set()
    source = source_of(function, label, constants, {"H", "D"}, wide, GluonASTSource)
    return Kernel(label, source, made.options())
