"""Training that goes wrong: noticed at its step, its batch kept, then stopped or taken back."""

import logging
import math
import statistics
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch

from lm_research.callbacks.processes import in_any_process
from lm_research.config.types import PositiveFloat, PositiveInt, Probability
from lm_research.tasks.evaluation import DivergenceError
from lm_research.tasks.plateau import set_rates
from lm_research.tracking.json_files import read_json, write_json
from lm_research.tracking.recorder import Recorder

_log = logging.getLogger(__name__)

FOLDER = "divergence"
"""In the run folder: batches that training broke at, and how often it went back."""
LEAST = 10
"""Losses that a spike is judged by, at least."""


class Divergence(pl.Callback):
    """Looks at the loss, and ends the attempt at a step where it is no number, huge, or leaps.

    The step's batch is kept as ``divergence/step-N.pt``; ``debug=replay`` repeats the step under a
    magnifying glass. No checkpoint is written of such a step: this callback comes before them.

    Args:
        every: steps between looks; on a GPU each one waits for it.
        ceiling: a loss above so many nats has diverged, finite or not. A uniform guess costs ln V,
            and a badly scaled start some tens of nats; no model that learns comes near a thousand.
        spike: a loss so many nats above the median of the last ``window`` looks counts, too; null:
            only what is not a number, or above ``ceiling``, does.
        window: looks that a spike is judged by.
        policy: ``stop``, or ``rollback``: continue from the last checkpoint, with the learning
            rate times ``factor`` from there on.
        factor: see ``policy``.
        rollbacks: how many there may be in a run.

    Raises:
        DivergenceError: at the end of that step.
    """

    def __init__(
        self,
        recorder: Recorder,
        every: PositiveInt = 1,
        ceiling: PositiveFloat = 1000.0,
        spike: float | None = None,
        window: PositiveInt = 100,
        policy: Literal["stop", "rollback"] = "stop",
        factor: Probability = 0.5,
        rollbacks: PositiveInt = 3,
    ) -> None:
        self.folder = Path(recorder.folder.path) / FOLDER
        self.every, self.ceiling, self.spike = every, ceiling, spike
        self.losses: deque[float] = deque(maxlen=window)
        self.rate = factor ** len(taken_back(recorder.folder.path))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After a rollback: the lower rate, from the very next step on."""
        for config in trainer.lr_scheduler_configs if self.rate != 1 else []:
            lower(config.scheduler, self.rate)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look, and keep the batch where something is wrong."""
        step = batch_idx + 1
        if step % self.every and step != trainer.num_training_batches:
            return
        loss = float(outputs["loss"])
        fault = self._fault(loss)
        if not in_any_process(trainer, fault is not None):
            self.losses.append(loss)
            return
        if trainer.is_global_zero:
            keep_batch(self.folder, step, loss, batch)
        raise DivergenceError(
            f"{fault or 'another process diverged'} at step {step}: lower optimizer.lr, set "
            "trainer.gradient_clip, or callbacks.divergence.policy=rollback; debug=replay with the "
            "same output shows where it came from"
        )

    def _fault(self, loss: float) -> str | None:
        if not math.isfinite(loss):
            return f"train/loss_nats is {loss}"
        if loss > self.ceiling:
            return f"train/loss_nats is {loss:.4g}, above callbacks.divergence.ceiling"
        if self.spike is None or len(self.losses) < LEAST:
            return None
        usual = statistics.median(self.losses)
        if loss <= usual + self.spike:
            return None
        return f"train/loss_nats leaps from about {usual:.4g} to {loss:.4g}"

    def state_dict(self) -> dict[str, Any]:
        """The losses that spikes are judged by."""
        return {"losses": list(self.losses)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up."""
        self.losses.extend(state_dict["losses"])


def keep_batch(folder: Path, step: int, loss: float, batch: Any) -> None:
    """Leave the batch of a step that went wrong in ``folder``, for ``debug=replay``."""
    folder.mkdir(exist_ok=True)
    parts = {k: v.cpu() if torch.is_tensor(v) else v for k, v in batch._asdict().items()}
    kept = {**parts, "step": step, "loss": loss}
    torch.save(kept, folder / f"step-{step:08}.pt")


def lower(scheduler: Any, rate: float) -> None:
    """Multiply what a ``LambdaLR`` gives by ``rate``, now and later; once, however often asked."""
    groups = scheduler.optimizer.param_groups
    scheduler.base_lrs = [rate * group["initial_lr"] for group in groups]
    set_rates(scheduler)


def taken_back(run: Path) -> list[dict[str, Any]]:
    """The rollbacks of a run so far: what went wrong in each."""
    file = run / FOLDER / "rollbacks.json"
    found: list[dict[str, Any]] = read_json(file)["rollbacks"] if file.exists() else []
    return found


def take_back(error: DivergenceError, recorder: Recorder, options: Mapping[str, Any]) -> bool:
    """Note a rollback, if ``options`` (the callback's) allow for one more."""
    so_far = taken_back(recorder.folder.path)
    if options.get("policy") != "rollback" or len(so_far) >= options["rollbacks"]:
        return False
    folder = recorder.folder.path / FOLDER
    folder.mkdir(exist_ok=True)
    write_json(folder / "rollbacks.json", {"rollbacks": [*so_far, {"error": str(error)}]})
    recorder.summary({"train/rollbacks": len(so_far) + 1})
    _log.warning("%s; going back to the last checkpoint with a lower rate", error)
    return True
