"""Learning-rate schedules: the factor on the optimizer's rate as a function of the step."""

import math
from abc import ABC, abstractmethod

from lm_research.config.types import (
    NonNegativeInt,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    Probability,
)


class Schedule(ABC):
    """``schedule(step)`` for step = 0, 1, ...: linear warm-up, then :meth:`shape`."""

    def __init__(self, steps: int, warmup_steps: NonNegativeInt = 0) -> None:
        self.steps, self.warmup_steps = steps, min(warmup_steps, steps)

    def __call__(self, step: int) -> float:
        """The factor for the update after ``step`` others."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self.shape((step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1))

    @abstractmethod
    def shape(self, progress: float) -> float:
        """The factor after warm-up; ``progress`` runs from 0 to 1."""


class Constant(Schedule):
    """The optimizer's own rate."""

    def shape(self, progress: float) -> float:
        """Always one."""
        return 1.0


class _Falling(Schedule):
    def __init__(
        self, steps: int, warmup_steps: NonNegativeInt = 0, floor: Probability = 0.0
    ) -> None:
        super().__init__(steps, warmup_steps)
        self.floor = floor


class Cosine(_Falling):
    """floor + (1 - floor) (1 + cos(pi progress)) / 2 (Loshchilov & Hutter 2017; no restarts)."""

    def shape(self, progress: float) -> float:
        """Half a cosine from one to ``floor``."""
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


class Linear(_Falling):
    """A straight line from one to ``floor``."""

    def shape(self, progress: float) -> float:
        """1 - (1 - floor) * progress."""
        return 1 - (1 - self.floor) * min(progress, 1.0)


class Stepped(Schedule):
    """Constant for a while, then falling by a factor at equal distances.

    The distances are in steps, so a run that is cut short, or given fewer tokens, has the rates of
    the whole one. Zaremba et al. (2014, https://arxiv.org/abs/1409.2329) keep the rate for some
    epochs and divide it after every further one.

    Args:
        hold_steps: before it falls for the first time.
        every_steps: from one fall to the next.
        factor: on the rate at each fall.
    """

    def __init__(
        self,
        steps: int,
        hold_steps: PositiveInt,
        every_steps: PositiveInt,
        factor: Probability = 0.5,
        warmup_steps: NonNegativeInt = 0,
    ) -> None:
        super().__init__(steps, warmup_steps)
        self.hold_steps, self.every_steps, self.factor = hold_steps, every_steps, factor

    def __call__(self, step: int) -> float:
        """Warm-up, then factor^k after the k-th fall."""
        if step < self.warmup_steps:
            return super().__call__(step)
        return self.factor ** self.falls(step)

    def falls(self, step: int) -> int:
        """How often the rate has fallen before the update after ``step`` others."""
        if step < self.hold_steps:
            return 0
        return 1 + (step - self.hold_steps) // self.every_steps

    def shape(self, progress: float) -> float:
        """The factor at a share of the training."""
        step = self.warmup_steps + progress * (self.steps - self.warmup_steps)
        return self.factor ** self.falls(int(step))


class SlantedTriangular(Schedule):
    """A short straight way up, a long one down (ULMFiT: Howard & Ruder 2018, section 3.2).

    With T steps, cut = floor(T cut_fraction) and p = t / cut before the cut, after it
    1 - (t - cut) / (cut (1 / cut_fraction - 1)), the factor at step t is
    (1 + p (ratio - 1)) / ratio.

    Args:
        cut_fraction: share of the steps on which the rate rises.
        ratio: of the highest rate to the lowest.
    """

    def __init__(
        self, steps: int, cut_fraction: OpenFraction = 0.1, ratio: PositiveFloat = 32.0
    ) -> None:
        super().__init__(steps)
        self.cut_fraction, self.ratio = cut_fraction, ratio
        self.cut = max(int(steps * cut_fraction), 1)

    def __call__(self, step: int) -> float:
        """The factor for the update after ``step`` others."""
        if step < self.cut:
            up = step / self.cut
        else:
            up = 1 - (step - self.cut) / (self.cut * (1 / self.cut_fraction - 1))
        return (1 + max(up, 0.0) * (self.ratio - 1)) / self.ratio

    def shape(self, progress: float) -> float:
        """The factor at a share of the training."""
        return self(int(progress * self.steps))
