"""Embedding, LSTM (or GRU, or RNN), Dense(softmax), Adam: the training step of a Keras tutorial.

Ours is the task that ``lm-research train experiment=keras_lstm`` builds; ``torch`` is bare PyTorch
as a tutorial has it; ``keras-tensorflow`` and ``keras-jax`` are Keras' ``fit``. Every side is a
process of its own, starts from the same weights and reads the same batches; the losses of the first
steps must agree. PyTorch's and Keras' Adam place epsilon differently, which the losses do not show.
Beside our bfloat16 every peer stands in bfloat16 and in float32.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lm_research.bench.case import Case, Plan
from lm_research.bench.founding_model import ours
from lm_research.bench.founding_torch import Ours
from lm_research.bench.founding_worker import Shape

SHAPES: dict[str, dict[str, Any]] = {
    "A": {"batch": 64, "steps": 64, "hidden": 128, "embedding": 64, "vocabulary": 100},
    "B": {"batch": 32, "steps": 35, "hidden": 200, "embedding": 200, "vocabulary": 10_000},
    "C": {"batch": 64, "steps": 128, "hidden": 512, "embedding": 256, "vocabulary": 100},
}
NEAR = {"float32": 1e-4, "bfloat16": 2e-2}
"""Largest relative difference of a loss."""
NEAR_ON_TEXT = 1e-3
"""There some characters are so rare that the place of Adam's epsilon shows."""
OTHER_ADAM = "keras-tensorflow"
"""Squares an embedding's repeated rows before it sums them: on text its losses part (3e-3) after
the first, and what they lead to is what is compared."""
COMPARED = 5
ROUND_FLOPS = 1e11
"""Of a round's steps together, so that what a call costs beside them does not count."""


def plans(quick: bool, peers: Sequence[str] = ()) -> Iterator[Plan]:
    """Shapes A, B, C by cell and type; the LSTM's with two layers and with one prediction, too."""
    kinds: list[dict[str, Any]] = [
        *({"cell": cell} for cell in ("lstm", "gru", "rnn")),
        {"cell": "lstm", "layers": 2},
        {"cell": "lstm", "predict": "last"},
    ]
    rows = [
        {"shape": shape, "dtype": dtype, **kind}
        for dtype in NEAR
        for kind in kinds
        for shape in SHAPES
    ]
    for row in rows[:1] if quick else rows:
        what = {**row, "layers": row.get("layers", 1), "predict": row.get("predict", "every")}
        yield Plan(what, partial(case, what, tuple(peers)))


def case(what: dict[str, Any], peers: tuple[str, ...]) -> Case:
    """A process a side."""
    sides = Sides(what, peers)
    shape = sides.shape
    steps = max(2, round(ROUND_FLOPS / shape.flops()))
    return Case(
        sides={n: partial(side.ask, "time", steps) for n, side in sides.processes.items()},
        equal=sides.equal,
        flops=shape.flops() * steps,
        extra={"tokens a round": shape.batch * shape.steps * steps},
        close=sides.close,
        work=lambda: Ours(shape, dict(np.load(sides.weights))).seconds(steps),
    )


class Sides:
    """Ours, bare PyTorch and the other peers, each a process that has the same weights.

    Args:
        what: the shape's letter, and what else :class:`Shape` is made of.
        peers: beside bare PyTorch. Where ``what`` is not float32, every peer stands in float32,
            too: some are no faster in another type.
    """

    def __init__(self, what: dict[str, Any], peers: Sequence[str]) -> None:
        self.shape = shape = Shape(
            **SHAPES[what["shape"]], **{k: v for k, v in what.items() if k != "shape"}
        )
        self._folder = tempfile.TemporaryDirectory()
        self.weights = Path(self._folder.name) / "weights.npz"
        np.savez(self.weights, **{k: v.numpy() for k, v in ours(shape).state_dict().items()})
        names = ("ours", "torch", *peers)
        self.processes = {name: Process(name, shape, self.weights) for name in names}
        if shape.dtype != "float32":
            full = replace(shape, dtype="float32")
            for name in names[1:]:
                self.processes[f"{name} float32"] = Process(name, full, self.weights)

    def equal(self) -> None:
        """Whether the first losses are the same."""
        near = NEAR[self.shape.dtype]
        near = max(near, NEAR_ON_TEXT) if self.shape.text else near
        _equal(self.processes, near, OTHER_ADAM if self.shape.text else None)

    def close(self) -> None:
        """End them."""
        for process in self.processes.values():
            process.close()
        self._folder.cleanup()


def backends() -> list[str]:
    """Keras' sides that are installed."""
    if find_spec("keras") is None:
        return []
    return [f"keras-{name}" for name in ("tensorflow", "jax") if find_spec(name) is not None]


class Process:
    """A side that computes elsewhere."""

    def __init__(self, side: str, shape: Shape, weights: Path) -> None:
        threads = str(torch.get_num_threads())
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "lm_research.bench.founding_worker",
                side,
                json.dumps(asdict(shape)),
                str(weights),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": threads, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        self.side = side

    def ask(self, do: str, steps: int) -> Any:
        """Its answer.

        Raises:
            RuntimeError: the process has ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, "steps": steps}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the side {self.side} ended with code {self.process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def _equal(sides: dict[str, Process], near: float, parting: str | None) -> None:
    """Every loss of every side; of the one that parts its first."""
    found = {name: np.array(side.ask("losses", COMPARED)) for name, side in sides.items()}
    for name, losses in found.items():
        steps = 1 if parting is not None and name.startswith(parting) else COMPARED
        apart = float(np.abs(losses[:steps] / found["ours"][:steps] - 1).max())
        if not apart <= near:
            raise AssertionError(
                f"losses of {name} are {apart:.1e} apart: {losses} {found['ours']}"
            )
