"""Checkpoints that are whole or not there, with everything that a continuation needs."""

import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from lm_research.callbacks.pause import pause
from lm_research.config.types import PositiveInt
from lm_research.tracking.recorder import Recorder


class Checkpoint(pl.Callback):
    """``checkpoints/last.ckpt`` and ``checkpoints/best.ckpt`` in the run folder.

    It comes last among the callbacks, so that the rows of its own step are in the records already.
    Beside what Lightning keeps (weights, optimizer, scheduler, position of the loader) a checkpoint
    holds the carried state (the task's hook) and the random generators, which are restored when
    training starts, after everything else has drawn from them.

    Args:
        every: steps between checkpoints; null: after every evaluation.
        monitor: score that makes a checkpoint the best one, lower is better; where it is
            undefined, ``val/loss_nats`` decides.
    """

    def __init__(
        self,
        recorder: Recorder,
        every: PositiveInt | None = None,
        monitor: str = "val/bits_per_byte",
    ) -> None:
        self.recorder = recorder
        self.folder = Path(recorder.folder.path) / "checkpoints"
        self.step = 0
        self.every, self.monitor = every, monitor
        self.best = float("inf")
        self.generators: dict[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After a resume: the generators as they were."""
        if self.generators is not None:
            _restore_generators(self.generators)
            self.generators = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time."""
        step = self.step = batch_idx + 1
        evaluated, result = getattr(pl_module, "last_evaluation", (None, None))
        due = step % self.every == 0 if self.every else evaluated == step
        better = evaluated == step and result is not None and self._better(result.scores)
        if due or better or step == trainer.num_training_batches:
            with pause(pl_module):
                self._save(trainer, better)

    def _better(self, scores: dict[str, float | None]) -> bool:
        score = scores.get(self.monitor.removeprefix("val/"))
        score = scores["loss_nats"] if score is None else score
        if score is None or not score < self.best:
            return False
        self.best = score
        return True

    def _save(self, trainer: pl.Trainer, better: bool) -> None:
        part = self.folder / "last.ckpt.part"
        trainer.save_checkpoint(part)  # every process takes part
        if not trainer.is_global_zero:
            return
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, self.folder / "last.ckpt")
        if better:
            shutil.copyfile(self.folder / "last.ckpt", self.folder / "best.ckpt.part")
            os.replace(self.folder / "best.ckpt.part", self.folder / "best.ckpt")

    def state_dict(self) -> dict[str, Any]:
        """Best score so far, the random generators, and how far the records went."""
        return {
            "best": self.best,
            "generators": _generators(),
            "step": self.step,
            "records": self.recorder.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep them until training starts."""
        self.best, self.generators = state_dict["best"], state_dict["generators"]


def take_up(checkpoint: Path, recorder: Recorder) -> None:
    """Before training continues from ``checkpoint``: take back the rows written after it."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    states = saved["callbacks"].values()
    state = next(s for s in states if isinstance(s, dict) and "records" in s)
    recorder.rewind(state["step"], state["records"])


def _generators() -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, words, spare = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [kind, torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, gauss],
        "python": [version, list(words), spare],
    }


def _restore_generators(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, words, spare = state["python"]
    random.setstate((version, tuple(words), spare))
