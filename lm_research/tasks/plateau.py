"""A learning rate that falls when held-out text gains too little."""

from typing import Any

from lm_research.config.types import NonNegativeFloat, NonNegativeInt, PositiveInt, Probability
from lm_research.tasks.schedules import Schedule


class Plateau(Schedule):
    """Constant until the validation loss gains too little; from then on it falls by a factor.

    After each evaluation (``callbacks.evaluation``) its loss L, nats a token, is compared with
    those of the ``compared`` before it. There is too little gain when their greatest is below
    (1 + min_gain) L; never while fewer have been. The defaults are
    rnnlm's (Mikolov et al. 2010, https://www.isca-archive.org/interspeech_2010/mikolov10_interspeech.html,
    and its code): the first time the rate is halved, and after every further evaluation; the second
    time training ends. rnnlm also goes back to the weights before an evaluation that was worse,
    which this does not.

    What has been seen is part of a checkpoint (``LambdaLR`` keeps the attributes), so that a run
    which was cut goes on with the same rates.

    Args:
        factor: on the rate at each fall.
        min_gain: share of L; 0: any loss that is lower is a gain.
        keep_falling: after the first fall the rate falls at every evaluation; false: only where
            the gain is too little.
        stop: training ends where the gain is too little again; false: it takes its whole budget.
        compared: evaluations of which the worst has to be beaten.
        warmup_steps: the linear way up at the beginning.
    """

    def __init__(
        self,
        steps: int,
        factor: Probability = 0.5,
        min_gain: NonNegativeFloat = 0.003,
        keep_falling: bool = True,
        stop: bool = True,
        compared: PositiveInt = 1,
        warmup_steps: NonNegativeInt = 0,
    ) -> None:
        super().__init__(steps, warmup_steps)
        self.factor, self.min_gain = factor, min_gain
        self.keep_falling, self.stop = keep_falling, stop
        self.falls, self.over = 0, False
        self.compared = compared
        self.losses: list[float] = []

    def shape(self, progress: float) -> float:
        """``factor`` once for every fall so far."""
        return self.factor**self.falls

    def observe(self, loss_nats: float) -> None:
        """Take in the loss of an evaluation: the rate may fall, or ``over`` become true."""
        before, self.losses = self.losses, [*self.losses, loss_nats][-self.compared :]
        if len(before) < self.compared:
            return
        # Where one is no number, too: nothing compares with it.
        little = not any(loss >= (1 + self.min_gain) * loss_nats for loss in before)
        self.over = self.over or (self.stop and little and self.falls > 0)
        if little or (self.keep_falling and self.falls > 0):
            self.falls += 1


def set_rates(scheduler: Any, share: float = 1.0) -> None:
    """Give the optimizer of a ``LambdaLR`` the rates of its next update, as its factors are now.

    Args:
        share: of these rates.
    """
    groups, step = scheduler.optimizer.param_groups, scheduler.last_epoch
    for group, base, factor in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = share * base * factor(step)
