"""One side of the founding example in a process of its own, told by lines what to do.

Reads JSON lines from standard input and answers each with one: ``{"do": "losses", "steps": N}``
gives the losses of N steps (nats, each before its update), ``{"do": "time", "steps": N}`` the
seconds of N more, ``{"do": "validation", "steps": N}`` the mean loss of N batches that are not
trained on. The batches are the same for every side, random ids or text; the weights are those of
our own model, read from a file.

Shapes: B batch, T time, V vocabulary, E embedding, H hidden.
"""

import json
import os
import sys
import sysconfig
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BATCHES = 8
"""Different ones of random ids, taken in turn."""
TEXT_BATCHES = 1500
TEXT_BYTES = 8_000_000
VALIDATION_SEED = 1
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@dataclass(frozen=True)
class Shape:
    """A model and its batches; ``predict`` is ``every`` position or the ``last``.

    ``text``: batches are windows of Python's own library, its printable characters and the newline.
    """

    cell: str
    batch: int
    steps: int
    hidden: int
    embedding: int
    vocabulary: int
    layers: int = 1
    predict: str = "every"
    dtype: str = "float32"
    text: bool = False

    def batches(self) -> np.ndarray:
        """Ids, (batches, B, T + 1)."""
        if self.text:
            train_N, _ = _library()
            return self._windows(train_N, TEXT_BATCHES, 0)
        shape = BATCHES, self.batch, self.steps + 1
        return np.random.default_rng(0).integers(self.vocabulary, size=shape, dtype=np.int64)

    def validation(self, batches: int) -> np.ndarray:
        """Ids of text that is not trained on, (batches, B, T + 1)."""
        return self._windows(_library()[1], batches, VALIDATION_SEED)

    def _windows(self, ids_N: np.ndarray, batches: int, seed: int) -> np.ndarray:
        size = batches, self.batch, 1
        starts = np.random.default_rng(seed).integers(len(ids_N) - self.steps - 1, size=size)
        return ids_N[starts + np.arange(self.steps + 1)]

    def flops(self) -> float:
        """Of a training step's products: forward, and twice that backward."""
        gates, tokens = GATES[self.cell], self.batch * self.steps
        inputs = [self.embedding, *[self.hidden] * (self.layers - 1)]
        cells = sum(gates * self.hidden * (size + self.hidden) for size in inputs)
        scored = tokens if self.predict == "every" else self.batch
        return 6.0 * (tokens * cells + scored * self.hidden * self.vocabulary)


def _library() -> tuple[np.ndarray, np.ndarray]:
    """Ids of the files of Python's library, and of every twentieth of them apart."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    found = []
    for first in (0, 1):
        texts = (f.read_bytes() for n, f in enumerate(files) if (n % 20 == 0) == bool(first))
        ids = np.frombuffer(b"".join(texts)[:TEXT_BYTES], np.uint8).astype(np.int64)
        found.append(np.where(ids == ord("\n"), 95, np.clip(ids - 32, 0, 94)))
    return found[0], found[1]


class Worker(ABC):
    """A side's model and optimizer."""

    def __init__(self, shape: Shape, weights: dict[str, np.ndarray]) -> None:
        self.shape, self.data, self.number = shape, shape.batches(), 0

    def next(self) -> np.ndarray:
        """Ids (B, T + 1) of the next step."""
        self.number += 1
        return self.data[(self.number - 1) % len(self.data)]

    @abstractmethod
    def step(self) -> Any:
        """One update; the loss before it, not looked at."""

    @abstractmethod
    def loss_of(self, ids: np.ndarray) -> float:
        """Of a batch (B, T + 1), nats, evaluated in float32."""

    def validation(self, batches: int) -> float:
        """The mean loss of so many batches."""
        return float(np.mean([self.loss_of(ids) for ids in self.shape.validation(batches)]))

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
        calls: dict[str, Any] = {
            "losses": worker.losses,
            "time": worker.seconds,
            "validation": worker.validation,
        }
        print(json.dumps(calls[asked["do"]](asked["steps"])), file=answers, flush=True)


def _kind(side: str) -> type[Worker]:
    if side.startswith("keras-"):
        os.environ["KERAS_BACKEND"] = side.partition("-")[2]  # read when Keras is imported
        from lm_research.bench.founding_keras import KerasWorker

        return KerasWorker
    from lm_research.bench.founding_torch import SIDES

    return SIDES[side]


if __name__ == "__main__":
    main(sys.argv[1], Shape(**json.loads(sys.argv[2])), str(Path(sys.argv[3])))
