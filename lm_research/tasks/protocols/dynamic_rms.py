"""Dynamic evaluation with the rate of each weight by the size of its training gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lm_research.config.types import PositiveFloat, PositiveInt, Probability
from lm_research.data.batches import TrainingBatches
from lm_research.data.token_store import TokenSplit
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tasks.protocols.dynamic import (
    DynamicReader,
    Rule,
    Segment,
    gradients_of,
    learned,
    read,
)
from lm_research.tasks.protocols.protocol import (
    LanguageModel,
    Protocol,
    TrainingText,
    require_trained,
)
from lm_research.tasks.streaming import StreamingModel, map_tensors


class DynamicRMS(Protocol):
    """The update of Krause et al. (2018, arXiv:1709.07432, section 4, equations 5 to 7).

        theta += decay n (theta_0 - theta) - rate g / (r + epsilon)

    with theta_0 the trained weights, r the root of the mean of g^2 over the training text, and
    n = min(r / mean(r), 1 / decay), so that a weight never goes beyond theta_0. As in the authors'
    program, mean(r) is the mean over matrices and vectors of each one's mean, and training
    gradients are of the mean loss of ``statistics_batch`` lanes of ``segment`` tokens.

    Args:
        rate: the numbers are the authors' for the Penn Treebank and segments of 5 tokens; for
            segments of others they scale ``rate`` and ``decay`` alike.
        segment: tokens from one update to the next.
        decay: towards the trained weights, of a weight of average gradients.
        epsilon: added to r.
        statistics_batch: lanes that the training text is cut into.
        statistics_steps: of its batches, from the first on; ``None``: all.
    """

    def __init__(
        self,
        rate: PositiveFloat = 5e-5,
        segment: PositiveInt = 5,
        decay: Probability = 0.002,
        epsilon: PositiveFloat = 2e-5,
        statistics_batch: PositiveInt = 100,
        statistics_steps: PositiveInt | None = None,
    ) -> None:
        self.rate, self.segment, self.decay, self.epsilon = rate, segment, decay, epsilon
        self.statistics_batch, self.statistics_steps = statistics_batch, statistics_steps

    def reader(self, model: LanguageModel, training: TrainingText) -> StreamingModel:
        """See the base class."""
        task = require_trained(model, "dynamic_rms")
        roots = root_mean_squares(
            task, training(), self.statistics_batch, self.segment, self.statistics_steps
        )
        return DynamicReader(task, self.segment, self._rule(learned(task), roots))

    def _rule(self, trained: Sequence[Tensor], roots: Sequence[Tensor]) -> Rule:
        mean = torch.stack([root.mean() for root in roots]).mean()
        decays = [(self.decay * root / mean).clamp(max=1.0) for root in roots]
        rates = [self.rate / (root + self.epsilon) for root in roots]

        def update(weights: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
            given = zip(weights, trained, gradients, decays, rates, strict=True)
            for weight, before, gradient, decay, rate in given:
                weight.lerp_(before, decay)
                if gradient is not None:
                    weight.addcmul_(gradient, rate, value=-1.0)

        return update


def root_mean_squares(
    task: LanguageModeling, text: TokenSplit, lanes: int, segment: int, steps: int | None
) -> list[Tensor]:
    """r of each weight that training moves: the root of the mean of its squared gradients.

    Args:
        text: the training tokens, read in order in ``lanes`` lanes, the state carried.
        segment: tokens of a lane in a batch.
        steps: batches at most.
    """
    batches = TrainingBatches(text, lanes, segment, 1, seed=0)
    whole = batches.windows_per_pass
    steps = whole if steps is None else min(steps, whole)
    weights, stream = learned(task), task.start(lanes)
    squares = [torch.zeros_like(weight) for weight in weights]
    for step in range(steps):
        batch = batches.batch(step)
        last_B = batch.targets_BT[:, -1].to(task.device)
        piece = read(task, batch.ids_BT.to(task.device), Segment(stream))
        for square, gradient in zip(squares, gradients_of(weights, piece, last_B), strict=True):
            if gradient is not None:
                square.addcmul_(gradient, gradient)
        stream = map_tensors(Tensor.detach, piece.stream)
    return [(square / steps).sqrt() for square in squares]
