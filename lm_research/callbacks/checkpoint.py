"""Checkpoints that are whole or not there, with everything that a continuation needs."""

import logging
import random
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist

from lm_research.callbacks.divergence import FOLDER, keep_batch
from lm_research.callbacks.pause import pause
from lm_research.callbacks.processes import in_any_process
from lm_research.callbacks.stop_signals import StopSignals
from lm_research.config.types import PositiveInt
from lm_research.tasks.evaluation import DivergenceError
from lm_research.tracking.checkpoint_store import (
    FORMAT,
    CheckpointError,
    CheckpointStore,
    require_format,
)
from lm_research.tracking.errors import RunFolderError, write_error
from lm_research.tracking.recorder import Recorder
from lm_research.tracking.run_identity import config_hash, difference_table
from lm_research.vectorizers.tables import bring_up_to_date

_log = logging.getLogger(__name__)
HIGHER_IS_BETTER = ("accuracy", "precision_", "recall_", "f1_", "roc_auc")
"""Beginnings of the names of such scores."""


class Checkpoint(pl.Callback):
    """The newest and the best checkpoints in the run folder, and one where a signal asks to stop.

    It comes last among the callbacks, so that the rows of its own step are in the records already.
    Beside what Lightning keeps (weights, optimizer, scheduler, position of the loader) a checkpoint
    holds the carried state (the task's hook), the random generators, which are restored when
    training starts, after everything else has drawn from them, and of a data-parallel run all
    that each process has for itself.

    Args:
        every: steps between checkpoints; null: after every evaluation.
        monitor: score that makes a checkpoint the best one, the lower the better (of accuracy,
            precision, recall and F1 the higher); where there is none, ``val/loss_nats`` decides.
        keep_last: how many of the newest checkpoints stay; two, so that a damaged one can be done
            without.
        keep_best: how many of the best ones stay.
        on_error: when one cannot be written (a full disk): ``continue`` training without it, the
            older ones whole, or ``stop``. Without the last one a run always stops, as failed.
    """

    def __init__(
        self,
        recorder: Recorder,
        signals: StopSignals,
        every: PositiveInt | None = None,
        monitor: str = "val/bits_per_byte",
        keep_last: PositiveInt = 2,
        keep_best: PositiveInt = 1,
        on_error: Literal["continue", "stop"] = "continue",
    ) -> None:
        self.recorder, self.signals = recorder, signals
        self.store = CheckpointStore(recorder.folder.checkpoints, keep_last, keep_best)
        self.every, self.monitor, self.on_error = every, monitor, on_error
        self.step, self.due = 0, False
        self.score: float | None = None
        self.held = ExitStack()
        self.generators: dict[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After a resume: the generators as they were. Signals wait for the end of a step now."""
        if self.generators is not None:
            restore_generators(self.generators)
            self.generators = None
        if trainer.is_global_zero:
            self.store.clean()
        self.signals.install()  # Lightning has set its own
        self.held.enter_context(self.signals.hold())

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Training is over, however it ended: signals no longer wait."""
        self.held.close()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time, or when a signal or a deadline asks to stop."""
        step = self.step = batch_idx + 1
        evaluated, result = getattr(pl_module, "last_evaluation", (None, None))
        if evaluated == step and result is not None:
            self.score = self._score(result.scores)
        last = step == trainer.num_training_batches or trainer.should_stop
        self.due = self.due or last or self._is_time(step, evaluated == step)
        if step % trainer.accumulate_grad_batches and not last:
            return  # gradients that are being added up are in no checkpoint
        stop = in_any_process(trainer, self.signals.requested)
        if self.due or stop:
            bring_up_to_date(pl_module)
            if in_any_process(trainer, not _finite(pl_module)):
                self._refuse(trainer, outputs, batch)
            with pause(pl_module):
                self._save(trainer, pl_module)
            self.due, self.score = False, None
        if stop:
            raise self.signals.stopped()

    def _is_time(self, step: int, evaluated: bool) -> bool:
        return evaluated or (self.every is not None and step % self.every == 0)

    def _score(self, scores: dict[str, float | None]) -> float | None:
        name = self.monitor.removeprefix("val/")
        score = scores.get(name)
        if score is None:
            return scores["loss_nats"]
        return -score if name.startswith(HIGHER_IS_BETTER) else score

    def _refuse(self, trainer: pl.Trainer, outputs: Any, batch: Any) -> None:
        """Keep the batch, and end the attempt with no checkpoint of this step."""
        if trainer.is_global_zero:
            folder = self.recorder.folder.path / FOLDER
            keep_batch(folder, self.step, float(outputs["loss"]), batch)
        raise DivergenceError(
            f"weights are not finite after step {self.step}, though the loss was: no checkpoint is "
            "written; lower optimizer.lr, or set trainer.gradient_clip; debug=replay with the same "
            "output shows where it came from"
        )

    def _save(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        files: Any = trainer.strategy.checkpoint_io
        trainer.save_checkpoint(self.store.part(self.step))  # every process takes part
        if not trainer.is_global_zero:
            return
        try:
            files.raise_error()
            self.store.commit(self.step, self.score, interim=not self.due)
        except (OSError, RunFolderError) as error:
            self.store.discard(self.step)
            told = str(
                write_error(self.store.folder, error) if isinstance(error, OSError) else error
            )
            # Without its last checkpoint a run would be done, and its weights nowhere.
            last = self.step == trainer.num_training_batches or trainer.should_stop
            if self.on_error == "stop" or last:
                raise RunFolderError(told) from error
            _log.error("no checkpoint of step %d, the older ones are whole: %s", self.step, told)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say what run this is, and keep what every process has for itself."""
        config = self.recorder.folder.config if trainer.is_global_zero else None
        checkpoint["lm_research"] = {"format": FORMAT, "config": config}
        if trainer.world_size > 1:
            own = {"callbacks": checkpoint["callbacks"]}
            pl_module.on_save_checkpoint(own)  # Lightning asks the module after the callbacks
            every: list[Any] = [None] * trainer.world_size
            dist.all_gather_object(every, own)
            checkpoint["processes"] = every

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Take this process's own part, before callbacks are given theirs."""
        every = checkpoint.get("processes")
        if every is None:
            return
        own = every[trainer.global_rank]
        checkpoint["callbacks"] = own["callbacks"]
        pl_module.on_load_checkpoint(own)

    def state_dict(self) -> dict[str, Any]:
        """The random generators, and how far the records went."""
        return {
            "generators": _generators(),
            "step": self.step,
            "records": self.recorder.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep them until training starts."""
        self.generators = state_dict["generators"]


def _finite(module: torch.nn.Module) -> bool:
    """Whether every weight is a finite number."""
    sums = [p.detach().sum(dtype=torch.float64) for p in module.parameters()]
    return not sums or bool(torch.stack(sums).isfinite().all())


def newest_whole(store: CheckpointStore, owner: bool) -> tuple[Path, dict[str, Any]] | None:
    """File and content of the newest checkpoint that is whole.

    Args:
        owner: whether this process owns the folder; it tells of damaged ones, and sets them aside.

    Raises:
        CheckpointError: there are checkpoints and none is whole, or it is of a later version.
    """
    damaged = []
    for entry, fault in list(store.whole()):
        path = store.folder / entry.file
        if fault is None:
            try:
                saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except Exception as error:  # the library raises whatever a damaged file leads it to
                fault = next(iter(str(error).splitlines()), type(error).__name__)
            else:
                require_format(saved, path)
                return path, saved
        damaged.append(entry.file)
        if owner:
            store.forget(entry)
            _log.error("%s: damaged (%s); it is set aside as *.damaged", path, fault)
    if damaged:
        raise CheckpointError(
            f"{store.folder}: every checkpoint is damaged ({', '.join(damaged)}, set aside as "
            "*.damaged). Run the same command again to start anew, or give another output=FOLDER."
        )
    return None


def take_up(saved: dict[str, Any], recorder: Recorder, processes: int) -> None:
    """Before training continues from ``saved``: check it, and take back the rows written after it.

    Raises:
        CheckpointError: it is of another run, or of other processes.
    """
    try:
        callbacks = [s for s in saved["callbacks"].values() if isinstance(s, dict)]
        state = next(s for s in callbacks if "records" in s)
        step, records = int(state["step"]), dict(state["records"])
        stored, before = dict(saved["lm_research"]["config"]), len(saved.get("processes", [None]))
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise CheckpointError(
            f"{recorder.folder.checkpoints}: not what this version writes "
            f"({type(error).__name__}: {error}). Give another output=FOLDER."
        ) from error
    now = recorder.folder.config
    if config_hash(stored) != config_hash(now):
        raise CheckpointError(
            f"{recorder.folder.checkpoints}: of another run. What differs (there -> now):\n"
            f"{difference_table(stored, now)}\nGive another output=FOLDER."
        )
    if before != processes:
        raise CheckpointError(
            f"{recorder.folder.path}: was cut with {before} processes; it continues exactly with "
            f"as many alone, not with trainer.devices={processes}"
        )
    recorder.rewind(step, records)


def _generators() -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, words, spare = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [kind, torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, gauss],
        "python": [version, list(words), spare],
    }


def restore_generators(state: dict[str, Any]) -> None:
    """Set the random generators to what a checkpoint holds."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, words, spare = state["python"]
    random.setstate((version, tuple(words), spare))
