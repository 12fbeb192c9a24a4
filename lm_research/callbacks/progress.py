"""A line that says how far training is and how long it will take."""

import sys
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lm_research.config.types import PositiveInt


class ProgressBar(pl.Callback):
    """A rich bar on a terminal; nothing elsewhere (metrics.jsonl tells the rest)."""

    def __init__(self, every: PositiveInt = 10) -> None:
        self.every = every
        self.bar: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar."""
        if not (trainer.is_global_zero and sys.stderr.isatty()):
            return
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(
            *columns, TextColumn("{task.fields[score]}"), console=Console(stderr=True)
        )
        self.task = self.bar.add_task("training", total=int(trainer.num_training_batches), score="")
        self.bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move it now and then."""
        if self.bar is not None and (batch_idx + 1) % self.every == 0:
            _, result = getattr(pl_module, "last_evaluation", (None, None))
            shown = _shown(result.scores) if result else ""
            self.bar.update(self.task, completed=batch_idx + 1, score=shown)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close it."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Close it."""
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _shown(scores: dict[str, float | None]) -> str:
    """The score that people look at first."""
    for name, unit in (
        ("bits_per_byte", "bits/byte"),
        ("f1_macro", "macro F1"),
        ("loss_nats", "nats"),
    ):
        if (score := scores.get(name)) is not None:
            return f"{score:.3f} {unit}"
    return ""
