"""Averages of the weights over training steps, which are evaluated, sampled and handed on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from lm_research.config.types import DropProbability, NonNegativeInt, PositiveInt
from lm_research.vectorizers.tables import bring_up_to_date


class Averaging(WeightAveraging):
    """Lightning's averaging, for evaluations that are not Lightning's.

    After optimizer step n > ``start`` the average is a_n = decay a_{n-1} + (1 - decay) w_n, or
    with ``decay`` null the plain mean of w_{start + 1} ... w_n; up to ``start`` it is w_n itself.
    Buffers are what was fitted before training, so they are copied, never averaged.

    A checkpoint's ``state_dict`` is the average, which ``evaluate`` and ``generate`` load; training
    goes on from its ``current_model_state``. When training ends the module holds the average.

    Args:
        decay: of the exponential average; null: equal weights (Izmailov et al. 2018).
        start: optimizer steps before averaging begins.
    """

    def __init__(self, decay: DropProbability | None = 0.999, start: NonNegativeInt = 0) -> None:
        average = get_swa_multi_avg_fn() if decay is None else get_ema_multi_avg_fn(decay)
        super().__init__(use_buffers=False, multi_avg_fn=average)
        self.start = start

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make the average, on the device that the weights are about to move to."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any
    ) -> None:
        """Average; up to ``start`` anew at every step, so that the average is the weights."""
        assert self._average_model is not None
        bring_up_to_date(pl_module)
        step = trainer.global_step
        if self._latest_update_step < step and self.begins_anew(step):
            self._average_model.n_averaged.zero_()
        super().on_train_batch_end(trainer, pl_module, *rest)

    def begins_anew(self, step: int) -> bool:
        """Whether the average after optimizer step ``step`` is that step's weights alone."""
        return step <= self.start + 1


class NonMonotonicAveraging(Averaging):
    """NT-ASGD: the plain mean of the weights since validation has stopped to improve.

    Merity, Keskar and Socher (2017, https://arxiv.org/abs/1708.02182, algorithm 1). After an
    evaluation (``callbacks.evaluation``) with loss L_t, averaging begins if more than ``checks``
    others came before it and L_t > min(L_1 ... L_{t - checks - 1}): it is worse than the best loss
    before the last ``checks`` ones, as in the authors' code. The first weights of the average are
    those just evaluated. Until then the newest weights are evaluated, from then on the average;
    the optimizer and its rate stay as they are.

    What has been seen is part of a checkpoint, so that a cut run begins at the same step.

    Args:
        checks: evaluations without a gain before averaging begins; the paper's n.
    """

    def __init__(self, checks: PositiveInt = 5) -> None:
        super().__init__(decay=None)
        self.checks = checks
        self.losses: list[float] = []
        self.begun = False

    def begins_anew(self, step: int) -> bool:
        """Until averaging has begun."""
        return not self.begun

    def observe(self, loss_nats: float) -> None:
        """Take in the loss of an evaluation, which may be the one that begins the average."""
        before = self.losses[: -self.checks]
        self.begun = self.begun or bool(before and loss_nats > min(before))
        self.losses.append(loss_nats)

    def state_dict(self) -> dict[str, Any]:
        """The losses so far, and whether averaging has begun."""
        return {**super().state_dict(), "losses": list(self.losses), "begun": self.begun}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up."""
        super().load_state_dict(state_dict)
        self.losses, self.begun = list(state_dict["losses"]), state_dict["begun"]


def tell_averages(trainer: pl.Trainer, loss_nats: float | None) -> None:
    """Averages that begin by evaluations hear of one."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    for one in callbacks:
        if isinstance(one, NonMonotonicAveraging):
            assert loss_nats is not None
            one.observe(loss_nats)


@contextmanager
def averaged(trainer: pl.Trainer, module: pl.LightningModule) -> Iterator[None]:
    """In the block ``module`` has its averaged weights, if the run averages any."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    averages = [one for one in callbacks if isinstance(one, Averaging)]
    for one in averages:
        one.on_validation_epoch_start(trainer, module)
    try:
        yield
    finally:
        for one in averages:
            one.on_validation_epoch_end(trainer, module)
