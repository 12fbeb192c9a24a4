"""The polled scans, for the compiler (``fused.ahead_of_time``)."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from triton.experimental.gluon._runtime import GluonASTSource

from lm_research.kernels.fused.compiler import Kernel, Label, source_of
from lm_research.kernels.fused.polled import elman, gru, lstm
from lm_research.kernels.fused.polled.plan import UNITS, Plan, limits, obstacle, plan
from lm_research.kernels.fused.spread.ahead_of_time import BATCHES, COUNTS
from lm_research.kernels.fused.spread.plan import GATES, Cell, Direction, Processors
from lm_research.kernels.limits import SHARED

MODULES: dict[Cell, Any] = {"rnn": elman, "lstm": lstm, "gru": gru}
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")


def polled(target: str, largest: bool) -> Iterator[Kernel]:
    """Every cut at its limit, of sizes that are multiples of 16 and of others; or the largest head
    of each cell as it is planned for few and for many rows. For NVIDIA's chips."""
    kinds = ("fp16", "bf16") if target in COUNTS else ()
    for cell, kind, direction in product(GATES, kinds, DIRECTIONS):
        for aligned in (True,) if largest else (True, False):
            cuts = _planned(cell, direction, target) if largest else None
            for made, head in cuts or _limits(cell, direction, aligned):
                form = f"polled {made.rows}x{made.warps}"
                label = Label(cell, form, direction, kind, head - (not aligned), target, aligned)
                yield kernel_of(label, made)


def _planned(cell: Cell, direction: Direction, target: str) -> list[tuple[Plan, int]]:
    """Of the largest head."""
    processors = Processors(COUNTS[target], SHARED[target])
    head = _largest(cell, processors)
    plans = {plan(cell, direction, batch, head, 1, processors) for batch in BATCHES}
    return [(made, head) for made in plans]


def _limits(cell: Cell, direction: Direction, aligned: bool) -> list[tuple[Plan, int]]:
    """Every cut, and the largest head that it may have."""
    return [
        (Plan(rows, warps, 1), slices * warps * UNITS)
        for (rows, warps), slices in limits(cell, direction, aligned).items()
    ]


def _largest(cell: Cell, processors: Processors) -> int:
    """Units of the largest head that some plan can serve, to a multiple of 128."""
    sizes = range(128, 4096, 128)
    return max(size for size in sizes if obstacle(cell, size, processors) is None)


def kernel_of(label: Label, made: Plan) -> Kernel:
    """With lengths and resets, gates being saved."""
    function = getattr(MODULES[label.cell], f"{label.kernel}_kernel")  # type: ignore[index]
    constants = {"RELU": False, "ROWS": made.rows, "STEPS": made.steps(label.size)}
    wide = {"before_ptr"} if label.cell == "lstm" else set()
    source = source_of(function, label, constants, {"H", "D"}, wide, GluonASTSource)
    return Kernel(label, source, made.options())
