"""How W&B shows a run's numbers: over which axis, and which of their values sums a run up."""

from collections.abc import Mapping
from typing import Any

from lm_research.analysis.metric import Metric

AXES = ("step", "tokens", "seconds")
"""What a curve can be drawn over."""

_SCORED = "val/"


def define(run: Any, x_axis: str) -> None:
    """Declare axes, and of the training loss the lowest beside the last.

    Validation scores have their last value in the summary, under their own names, which sweeps and
    tables go by; their best is in :class:`Best`, since one name cannot hold both.
    """
    for axis in AXES:
        run.define_metric(axis)
    run.define_metric("*", step_metric=x_axis)
    run.define_metric("train/loss_nats", step_metric=x_axis, summary="min,last")
    run.define_metric("perf/*", step_metric="seconds")


class Best:
    """The best value of each validation score so far, by the score's direction."""

    def __init__(self) -> None:
        self._best: dict[str, float] = {}

    def see(self, row: Mapping[str, Any]) -> None:
        """Take a row of metrics.jsonl."""
        for name, value in row.items():
            if name.startswith(_SCORED) and Metric.has_direction(name) and value == value:
                best = self._best.setdefault(name, value)
                if Metric.named(name).gain(value, best) > 0:
                    self._best[name] = value

    def summary(self) -> dict[str, float]:
        """Each as ``best/NAME``."""
        return {f"best/{name}": value for name, value in self._best.items()}
