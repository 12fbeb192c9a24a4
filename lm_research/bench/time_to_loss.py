"""The founding example trained on real text until a validation loss is reached.

All sides of :mod:`.founding_example` begin with the same weights, read the same batches (Python's
own library, character by character) and evaluate the same ones; the steps that each needs are
counted, and its seconds for as many are those of its own pace, taken in turns with the others.
Evaluations are not timed.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from math import inf
from typing import Any

from lm_research.bench.case import Case, Plan
from lm_research.bench.founding_example import COMPARED, NEAR, Process, Sides, backends

__all__ = ["backends", "plans"]

TARGET = {"A": 1.9}
"""Nats a character: a few hundred steps."""
ROUND = 25
"""Steps between two evaluations."""
MOST = 1500
VALIDATION = 8
"""Batches of an evaluation."""


def plans(quick: bool, peers: Sequence[str] = ()) -> Iterator[Plan]:
    """Shape A by cell and type."""
    cells = ["lstm"] if quick else ["lstm", "gru"]
    for dtype in list(NEAR)[:1] if quick else NEAR:
        for cell in cells:
            what = {"shape": "A", "dtype": dtype, "cell": cell, "layers": 1, "predict": "every"}
            yield Plan(what, partial(case, what, tuple(peers)))


def case(what: dict[str, Any], peers: tuple[str, ...]) -> Case:
    """The sides of the founding example, each on its way to the loss."""
    target = TARGET[what["shape"]]
    sides = Sides({**what, "text": True}, peers)
    runs = {name: _Run(process, target) for name, process in sides.processes.items()}
    return Case(
        sides={name: run.round for name, run in runs.items()},
        equal=sides.equal,
        extra={"target": target},
        close=sides.close,
        done=lambda: all(run.steps is not None for run in runs.values()),
        scale=lambda: {name: run.rounds() for name, run in runs.items()},
    )


class _Run:
    """One side, from round to round."""

    def __init__(self, process: Process, target: float) -> None:
        self.process, self.target = process, target
        self.taken, self.last = COMPARED, inf
        self.steps: float | None = None

    def round(self) -> float:
        """Seconds of the next steps; then the loss is looked at."""
        seconds: float = self.process.ask("time", ROUND)
        self.taken += ROUND
        if self.steps is None:
            self._look()
        return seconds

    def _look(self) -> None:
        loss = self.process.ask("validation", VALIDATION)
        if loss <= self.target:
            share = (self.last - self.target) / (self.last - loss) if self.last < inf else 1.0
            self.steps = self.taken - ROUND * (1 - share)
        elif self.taken > MOST:
            raise RuntimeError(
                f"{self.process.side} has not reached {self.target} nats in {self.taken} steps"
            )
        self.last = loss

    def rounds(self) -> float:
        """Until the loss was reached, between two evaluations by a line."""
        assert self.steps is not None
        return self.steps / ROUND
