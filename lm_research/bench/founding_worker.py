"""One side of the founding example in a process of its own, told by lines what to do.

Reads JSON lines from standard input and answers each with one: ``{"do": "losses", "steps": N}``
gives the losses of N steps (nats, each before its update), ``{"do": "time", "steps": N}`` the
seconds of N more. The batches are the same for every side; the weights are those of our own model,
read from a file.

Shapes: B batch, T time, V vocabulary, E embedding, H hidden.
"""

import json
import os
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BATCHES = 8
"""Different ones, taken in turn."""
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@dataclass(frozen=True)
class Shape:
    """A model and its batches; ``predict`` is ``every`` position or the ``last``."""

    cell: str
    batch: int
    steps: int
    hidden: int
    embedding: int
    vocabulary: int
    layers: int = 1
    predict: str = "every"
    dtype: str = "float32"

    def batches(self) -> np.ndarray:
        """Ids, (batches, B, T + 1)."""
        shape = BATCHES, self.batch, self.steps + 1
        return np.random.default_rng(0).integers(self.vocabulary, size=shape, dtype=np.int64)

    def flops(self) -> float:
        """Of a training step's products: forward, and twice that backward."""
        gates, tokens = GATES[self.cell], self.batch * self.steps
        inputs = [self.embedding, *[self.hidden] * (self.layers - 1)]
        cells = sum(gates * self.hidden * (size + self.hidden) for size in inputs)
        scored = tokens if self.predict == "every" else self.batch
        return 6.0 * (tokens * cells + scored * self.hidden * self.vocabulary)


class Worker(ABC):
    """A side's model and optimizer."""

    def __init__(self, shape: Shape, weights: dict[str, np.ndarray]) -> None:
        self.shape, self.data, self.number = shape, shape.batches(), 0

    def next(self) -> np.ndarray:
        """Ids (B, T + 1) of the next step."""
        self.number += 1
        return self.data[(self.number - 1) % BATCHES]

    @abstractmethod
    def step(self) -> Any:
        """One update; the loss before it, not looked at."""

    def losses(self, steps: int) -> list[float]:
        """Of so many updates."""
        return [float(self.step()) for _ in range(steps)]

    def seconds(self, steps: int) -> float:
        """Of so many updates; the last loss is waited for."""
        began = time.perf_counter()
        for _ in range(steps):
            loss = self.step()
        float(loss)
        return time.perf_counter() - began


def main(side: str, shape: Shape, weights: str) -> None:
    """Until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    worker = _kind(side)(shape, dict(np.load(weights)))
    for line in sys.stdin:
        asked = json.loads(line)
        call = worker.losses if asked["do"] == "losses" else worker.seconds
        print(json.dumps(call(asked["steps"])), file=answers, flush=True)


def _kind(side: str) -> type[Worker]:
    if side.startswith("keras-"):
        os.environ["KERAS_BACKEND"] = side.partition("-")[2]  # read when Keras is imported
        from lm_research.bench.founding_keras import KerasWorker

        return KerasWorker
    from lm_research.bench.founding_torch import SIDES

    return SIDES[side]


if __name__ == "__main__":
    main(sys.argv[1], Shape(**json.loads(sys.argv[2])), str(Path(sys.argv[3])))
