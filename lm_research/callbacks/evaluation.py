"""Evaluations on the validation split while training runs."""

from typing import Any

import pytorch_lightning as pl

from lm_research.callbacks.averaging import averaged, tell_averages
from lm_research.callbacks.metrics import MetricsLogger
from lm_research.callbacks.pause import pause
from lm_research.config.types import PositiveInt
from lm_research.data.document_batches import tokens_seen
from lm_research.data.module import TextDataModule
from lm_research.tasks.evaluation import evaluating
from lm_research.tasks.held_out import evaluate_held_out
from lm_research.tasks.plateau import Plateau, set_rates
from lm_research.tracking.recorder import Recorder


def as_numbers(group: str, scores: dict[str, float | None]) -> dict[str, float]:
    """Scores named ``group/score``; what is undefined becomes NaN (the recorder writes null)."""
    return {f"{group}/{k}": float("nan") if v is None else v for k, v in scores.items()}


def evenly(steps: int, times: int) -> set[int]:
    """``times`` steps spread evenly over 1..steps; the last is ``steps``."""
    return {max(round(steps * (k + 1) / times), 1) for k in range(times)}


def tell_schedule(trainer: pl.Trainer, module: Any, scores: dict[str, float | None]) -> None:
    """A schedule that goes by evaluations hears of one: the next step has its rate, if any."""
    if not isinstance(module.schedule, Plateau):
        return
    loss_nats = scores["loss_nats"]
    assert loss_nats is not None
    module.schedule.observe(loss_nats)
    for config in trainer.lr_scheduler_configs:
        set_rates(config.scheduler)
    end_if_over(trainer, module)


def end_if_over(trainer: pl.Trainer, module: Any) -> None:
    """No further step where the schedule has ended training."""
    if isinstance(module.schedule, Plateau) and module.schedule.over:
        trainer.should_stop = True


class Evaluation(pl.Callback):
    """``times`` evaluations, evenly spaced, the last at the end of training.

    With several processes each computes the same scores, so that none waits for another. A
    schedule that goes by them (:class:`Plateau`) may end training after one, and an average
    (:class:`~lm_research.callbacks.averaging.NonMonotonicAveraging`) begin.
    """

    def __init__(self, recorder: Recorder, data: TextDataModule, times: PositiveInt = 4) -> None:
        self.recorder, self.data, self.times = recorder, data, times

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the steps; a run that was cut where its schedule had ended it has none left."""
        self.steps = evenly(int(trainer.num_training_batches), self.times)
        end_if_over(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Evaluate if it is time; leave the scores on the module for the callbacks after this."""
        step = batch_idx + 1
        if step not in self.steps:
            return
        with pause(pl_module), averaged(trainer, pl_module), evaluating(pl_module):
            result = evaluate_held_out(pl_module, self.data)
        pl_module.last_evaluation = (step, result)
        tokens = tokens_seen(batch, step, trainer.world_size)
        clocks = [c.seconds for c in trainer.callbacks if isinstance(c, MetricsLogger)]  # type: ignore[attr-defined]
        seconds = clocks[0] if clocks else 0.0
        row = {**as_numbers("val", result.scores), **self.data.mixture_row(step)}
        self.recorder.metrics(step, tokens, seconds, row)
        tell_averages(trainer, result.scores["loss_nats"])
        tell_schedule(trainer, pl_module, result.scores)
