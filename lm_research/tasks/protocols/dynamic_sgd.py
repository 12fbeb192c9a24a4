"""Dynamic evaluation by stochastic gradient descent."""

from collections.abc import Sequence

from torch import Tensor

from lm_research.config.types import PositiveFloat, PositiveInt, Probability
from lm_research.tasks.protocols.dynamic import DynamicReader, Rule, learned
from lm_research.tasks.protocols.protocol import (
    LanguageModel,
    Protocol,
    TrainingText,
    require_trained,
)
from lm_research.tasks.streaming import StreamingModel


class DynamicSGD(Protocol):
    """theta += decay (theta_0 - theta) - rate g, with theta_0 the trained weights.

    Without decay and with segments of one token it is that of Mikolov et al. (2010), whose
    network goes on learning as it did in training; with decay the variant "SGD with global prior"
    of Krause et al. (2018, arXiv:1709.07432).

    Args:
        rate: of the gradient of a segment's mean loss.
        segment: tokens from one update to the next.
        decay: share of the way back to the trained weights, at each update.
    """

    def __init__(
        self, rate: PositiveFloat = 0.1, segment: PositiveInt = 5, decay: Probability = 0.0
    ) -> None:
        self.rate, self.segment, self.decay = rate, segment, decay

    def reader(self, model: LanguageModel, training: TrainingText) -> StreamingModel:
        """See the base class."""
        task = require_trained(model, "dynamic_sgd")
        return DynamicReader(task, self.segment, self._rule(learned(task)))

    def _rule(self, trained: Sequence[Tensor]) -> Rule:
        def update(weights: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
            for weight, before, gradient in zip(weights, trained, gradients, strict=True):
                if self.decay:
                    weight.lerp_(before, self.decay)
                if gradient is not None:
                    weight.sub_(gradient, alpha=self.rate)

        return update
