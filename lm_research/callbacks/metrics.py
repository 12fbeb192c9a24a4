"""Rows of training metrics, by hand and seldom: logging every step outweighs a small model."""

import math
import statistics
import time
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from lm_research.callbacks.pause import paused_seconds
from lm_research.config.types import PositiveInt
from lm_research.data.document_batches import tokens_seen
from lm_research.tasks.evaluation import DivergenceError
from lm_research.tracking.recorder import Recorder

COUNTED = 10
"""One step in so many counts its right predictions, and each that ends a row. To count costs up to
11 % of a step of 2 ms, and a tenth of that cannot be measured."""


class MetricsLogger(pl.Callback):
    """Every ``every`` steps, one row: mean loss since the last row, learning rate, tokens a second.

    And the share of right predictions in training, where the task counts them
    (``task.train_accuracy``): of one step in ten since the last row and of the row's own, each
    made before its step's update. Its clock stands still while others evaluate, sample or save.

    Raises:
        DivergenceError: the mean loss of a row is NaN or infinite.
    """

    def __init__(self, recorder: Recorder, every: PositiveInt = 50) -> None:
        self.recorder, self.every = recorder, every
        self.seconds_before = 0.0
        self.loss_sum: Tensor | None = None
        self.hits_2: Tensor | None = None
        self.batches = 0
        self.speeds: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and note what serves the model's layers."""
        module: Any = pl_module
        self.module = module
        self.recorder.summary(module.model.backend(pl_module.device, _dtype(trainer)))
        self.started = time.perf_counter() - paused_seconds(pl_module)
        self.row_seconds = self.seconds

    @property
    def seconds(self) -> float:
        """Training time so far, earlier sessions of the run included."""
        now = time.perf_counter() - paused_seconds(self.module)
        return self.seconds_before + now - self.started

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Ask for this step's hits, or not."""
        if self.module.train_accuracy:
            done = batch_idx + 1
            self.module.counts_hits = done % COUNTED == 0 or self._ends_a_row(trainer, done)

    def _ends_a_row(self, trainer: pl.Trainer, done: int) -> bool:
        return done % self.every == 0 or done == trainer.num_training_batches

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Add up loss and hits on the device; read them only when a row is due."""
        loss = outputs["loss"]
        self.loss_sum = loss if self.loss_sum is None else self.loss_sum + loss
        if (hits_2 := self.module.hits_2) is not None:
            self.hits_2 = hits_2 if self.hits_2 is None else self.hits_2 + hits_2
            self.module.hits_2 = None
        self.batches += 1
        done = batch_idx + 1
        if self._ends_a_row(trainer, done):
            self._row(trainer, batch, done)

    def _row(self, trainer: pl.Trainer, batch: Any, done: int) -> None:
        assert self.loss_sum is not None
        # Every process comes here at the same step: the row is of the whole batch, not of a share.
        loss = float(trainer.strategy.reduce(self.loss_sum.detach(), reduce_op="mean"))
        loss /= self.batches
        tokens = tokens_seen(batch, done, trainer.world_size)
        now = self.seconds
        speed = self.batches * tokens / done / max(now - self.row_seconds, 1e-9)
        self.speeds.append(speed)
        values = {
            "train/loss_nats": loss,
            "train/learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "perf/tokens_per_s": speed,
            **self._accuracy(trainer),
        }
        self.recorder.metrics(done, tokens, now, values)
        self.loss_sum, self.hits_2, self.batches, self.row_seconds = None, None, 0, now
        if not math.isfinite(loss):
            raise DivergenceError(
                f"train/loss_nats is {loss} at step {done}: "
                "lower optimizer.lr, or set trainer.gradient_clip"
            )

    def _accuracy(self, trainer: pl.Trainer) -> dict[str, float]:
        """Over the predictions of all processes; nothing where none was made."""
        if self.hits_2 is None:
            return {}
        right, count = trainer.strategy.reduce(self.hits_2, reduce_op="sum").tolist()
        return {"train/accuracy": right / count} if count else {}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The median speed of all rows, which one slow moment does not move."""
        if self.speeds:
            speed = statistics.median(self.speeds)
            self.recorder.summary({"perf/tokens_per_s": speed, "perf/train_s": self.seconds})

    def state_dict(self) -> dict[str, Any]:
        """The part of a row that is under way, and the clock."""
        loss = None if self.loss_sum is None else self.loss_sum.detach().clone()
        speeds = list(self.speeds)
        return {
            "seconds": self.seconds,
            "loss_sum": loss,
            "hits": None if self.hits_2 is None else self.hits_2.clone(),
            "batches": self.batches,
            "speeds": speeds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up."""
        self.seconds_before, self.batches = state_dict["seconds"], state_dict["batches"]
        self.speeds = list(state_dict["speeds"])
        loss = state_dict["loss_sum"]
        self.loss_sum = loss if loss is None else torch.as_tensor(loss)
        hits = state_dict.get("hits")  # none in a checkpoint of before they were counted
        self.hits_2 = hits if hits is None else torch.as_tensor(hits)


def _dtype(trainer: pl.Trainer) -> torch.dtype:
    """The type that activations have: the trainer's precision, autocast or not."""
    precision = str(trainer.precision)
    for name, dtype in (("bf16", torch.bfloat16), ("16", torch.float16), ("64", torch.float64)):
        if precision.startswith(name):
            return dtype
    return torch.float32
