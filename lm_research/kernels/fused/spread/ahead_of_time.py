"""The spread scans as plans cut them, for the compiler (``fused.ahead_of_time``)."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import triton.language as tl

from lm_research.kernels.fused.compiler import Kernel, Label, source_of
from lm_research.kernels.fused.spread.kernels import elman, gru, lstm
from lm_research.kernels.fused.spread.plan import (
    GATES,
    GROUPS,
    LARGEST,
    Cell,
    Plan,
    Processors,
    obstacle,
    plan,
)
from lm_research.kernels.limits import SHARED

COUNTS = {"sm_80": 108, "sm_90": 132, "sm_100": 148}
"""Processors of an A100, an H100, a B200."""
MODULES: dict[Cell, Any] = {"rnn": elman, "lstm": lstm, "gru": gru}
SIZES = (256, 512, 768, 1000, 1024, 2048)
BATCHES = (1, 128)
STACKED_SIZES = (128, 256, 384, 512, 768, 1024)


def spread(target: str, largest: bool) -> Iterator[Kernel]:
    """Scans over several processors, of few and of many rows; or the largest heads of many."""
    for cell, kind in product(
        GATES, ("fp16", "bf16", "tf32x3", "tf32") if target in COUNTS else ()
    ):
        most = LARGEST[cell, GROUPS[kind]]
        sizes = [most] if largest else [size for size in SIZES if size <= most]
        for size, batch in product(sizes, BATCHES[-1:] if largest else BATCHES):
            processors = Processors(COUNTS[target], SHARED[target])
            if obstacle(cell, kind, size, processors) is None:
                yield from _both(
                    Label(cell, "spread", "", kind, size, target, size % 16 == 0), batch, 1
                )


def wavefront(target: str, largest: bool) -> Iterator[Kernel]:
    """Two layers at once, with dropout between them, of few and of many rows."""
    for cell, kind in product(GATES, ("fp16", "bf16") if target in COUNTS else ()):
        processors = Processors(COUNTS[target], SHARED[target])
        fit = [s for s in STACKED_SIZES if obstacle(cell, kind, s, processors, 2) is None]
        for size, batch in product(fit[-1:] if largest else fit, BATCHES):
            yield from _both(Label(cell, "wavefront", "", kind, size, target, True), batch, 2)


def _both(label: Label, batch: int, layers: int) -> Iterator[Kernel]:
    """Forward and backward of one head with lengths and resets, as planned for ``batch`` rows."""
    cell: Any = label.cell
    processors = Processors(COUNTS[label.target], SHARED[label.target])
    for direction in ("forward", "backward"):
        made = plan(cell, direction, label.kind, batch, label.size, 1, processors, layers)
        form = f"{label.form} {made.rows}x{made.units}"
        mine = replace(label, form=form, kernel=direction)
        yield Kernel(mine, _source(mine, made, layers), made.options())


def _source(label: Label, made: Plan, layers: int) -> Any:
    function = getattr(MODULES[label.cell], f"{label.kernel}_kernel")  # type: ignore[index]
    wide = {"carried_ptr"} | ({"before_ptr"} if label.cell == "lstm" else set())
    constants = _constants(function, made, label) | {"LAYERS": layers}
    if layers == 1:
        constants |= dict.fromkeys(("between_ptr", "bias_ptr", "feed_ptr", "fed_ptr"))
    return source_of(function, label, constants, {"H", "D"}, wide)


def _constants(function: Any, made: Plan, label: Label) -> dict[str, Any]:
    every: dict[str, Any] = {
        "dropout_ptr": None,
        "zoneout_h_ptr": None,
        "zoneout_c_ptr": None,
        "REVERSE": False,
        "SHARE_H": None,
        "SHARE_C": None,
        "RELU": False,
        "SYNC": True,
        "BLOCK_B": made.rows,
        "UNITS": made.units,
        "W": made.warps,
        "K": made.inner // made.warps,
        "CHUNKS": made.padded(label.size) // made.inner,
        "ACC": tl.float32,
        "PRECISION": label.kind if label.kind.startswith("tf32") else "ieee",
        "UPCAST": False,
    }
    if function is elman.forward_kernel:
        every["saved_ptr"] = None
    return every
