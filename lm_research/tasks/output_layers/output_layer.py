"""The contract of an output layer.

Shapes: N rows, H what the model gives, D width of a shared matrix, V vocabulary; ``...`` any.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lm_research.tasks.head_loss import NO_TARGET


@dataclass(frozen=True)
class OutputSpec:
    """What an output layer is built for.

    Attributes:
        input_size: H.
        vocabulary_size: V.
        bias: whether it has one.
        shared_VD: the vectorizer's matrix, to be the layer's own; None: it draws one.
        label_smoothing: share of a target's mass that is spread over V.
        counts_V: int64, how often each id occurs among the training tokens; None where they are not
            at hand (a checkpoint is about to be loaded): Zipf's law over the ids in their order.
    """

    input_size: int
    vocabulary_size: int
    bias: bool = True
    shared_VD: nn.Parameter | None = None
    label_smoothing: float = 0.0
    counts_V: Tensor | None = None

    def frequencies(self) -> Tensor:
        """(V,) float64: of each id, how often it occurs, or is taken to."""
        if self.counts_V is not None:
            return self.counts_V.double()
        return 1 / torch.arange(1, self.vocabulary_size + 1, dtype=torch.float64)


class OutputLayer(nn.Module, ABC):
    """y -> log p(next id), and the loss by which it is learned.

    Built with ``spec`` (:class:`OutputSpec`) first; a layer that cannot serve one of its fields
    refuses it with a ValueError that names the field.

    Attributes:
        training_elements: elements of the matrices that a row meets in training, on average: fewer
            than there are where not every output is computed.
        needs_counts: whether ``spec.counts_V`` matters.
    """

    training_elements: float
    needs_counts: bool = False

    @abstractmethod
    def log_probs(self, y: Tensor) -> Tensor:
        """log p (..., V) of y (..., H): nats, normalised exactly; float32, or finer where y is."""

    def scorer(self) -> Callable[[Tensor], Tensor]:
        """y (..., H) to :meth:`log_probs` up to a constant of each row, by the weights as now.

        A layer whose normalisation is that of a softmax leaves it out here.
        """
        return self.log_probs

    @abstractmethod
    def rows_loss(self, y_NH: Tensor, targets_N: Tensor) -> Tensor:
        """The loss that training takes of rows that all have a target, as their mean, in nats."""

    def loss(self, y_NH: Tensor, targets_N: Tensor) -> Tensor:
        """The same; rows whose target is ``NO_TARGET`` count for nothing.

        Args:
            y_NH: float.
            targets_N: int64.
        """
        real_N = targets_N != NO_TARGET
        if not real_N.all():
            y_NH, targets_N = y_NH[real_N], targets_N[real_N]
        return self.rows_loss(y_NH, targets_N)

    def loss_with_hits(self, y_NH: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same loss, and hits_2 (:mod:`lm_research.tasks.hits`) of the logits it is made of.

        None where the loss does not look at every output.
        """
        return self.loss(y_NH, targets_N), None

    def take_shape_of(self, state: dict[str, Tensor]) -> None:
        """Become a layer that ``state`` (of a layer of this class) can be loaded into."""


def log_softmax(logits: Tensor) -> Tensor:
    """Over the last dimension; float32, or finer where ``logits`` are."""
    return fine(logits).log_softmax(-1)


def fine(logits: Tensor) -> Tensor:
    """float32, or finer where ``logits`` are."""
    if logits.dtype in (torch.float32, torch.float64):
        return logits
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


Init = Literal["torch", "keras", "uniform"]


def initialise(layer: nn.Module, how: Init, bound: float, shared: Tensor | None) -> None:
    """Draw the parameters anew, but for a ``shared`` matrix.

    Args:
        how: ``torch`` leaves them as they are; ``keras``: matrices Glorot-uniform, biases zero;
            ``uniform``: U(-bound, bound).
    """
    for parameter in layer.parameters():
        if parameter is shared or how == "torch":
            continue
        if how == "uniform":
            nn.init.uniform_(parameter, -bound, bound)
        elif parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
