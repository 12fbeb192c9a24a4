"""Dynamic evaluation: the weights learn from each segment of the text once it has been scored.

Mikolov et al. 2010 ("Recurrent neural network based language model"); Krause et al. 2018,
"Dynamic evaluation of neural sequence models" (arXiv:1709.07432), Algorithm 1:

    score segment i by theta_{i-1} and the carried state
    theta_i = rule(theta_{i-1}, gradient of the segment's mean loss)

The gradient reaches back to the segment's first token; the state is carried beyond.

Shapes: B lanes, T time, V vocabulary.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from lm_research.tasks.language_modeling import LanguageModeling, default_dtype
from lm_research.tasks.streaming import Stream, map_tensors

Rule = Callable[[Sequence[Tensor], Sequence[Tensor | None]], None]
"""Moves weights in place by the gradients of the mean loss; None: the loss does not reach them."""


class Segment(NamedTuple):
    """What has been read of a segment, with the graph of it, and the stream on."""

    stream: Stream
    ids: tuple[Tensor, ...] = ()
    log_p: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return sum(ids_BT.shape[1] for ids_BT in self.ids)


class DynamicReader:
    """Reads one stream with a copy of a model, whose weights move after each segment.

    A segment's last target is the first token of the next one: it is learned from when that comes,
    so that it does not matter in which pieces the stream is handed over.

    Args:
        task: the trained model, in evaluation mode; left as it is.
        segment: tokens from one update to the next.
        rule: the update.
    """

    def __init__(self, task: LanguageModeling, segment: int, rule: Rule) -> None:
        self.trained, self.segment, self.rule = task, segment, rule
        self.vocabulary_size = task.vocabulary_size

    def start(self, batch: int) -> Segment:
        """The stream before its first token, read by the weights as they were trained."""
        self.task = deepcopy(self.trained).eval()
        self.weights = learned(self.task)
        return Segment(self.task.start(batch))

    def advance(self, ids_BT: Tensor, segment: Segment) -> tuple[Tensor, Segment]:
        """log_p_BTV (nats) by the weights of each token's segment, and where the stream stands."""
        found, at, ids_BT = [], 0, ids_BT.to(self.task.device)
        while at < ids_BT.shape[1]:
            if len(segment) == self.segment:
                segment = self._learn(segment, ids_BT[:, at])
            piece_BT = ids_BT[:, at : at + self.segment - len(segment)]
            segment = read(self.task, piece_BT, segment)
            found.append(segment.log_p[-1].detach())
            at += piece_BT.shape[1]
        return torch.cat(found, 1), segment

    def _learn(self, segment: Segment, next_B: Tensor) -> Segment:
        """One update by a whole segment, whose last target is ``next_B``; the one after it."""
        gradients = gradients_of(self.weights, segment, next_B)
        with torch.no_grad():
            self.rule(self.weights, gradients)
        return Segment(map_tensors(Tensor.detach, segment.stream))


def learned(task: LanguageModeling) -> list[Tensor]:
    """The weights that training moves."""
    return [parameter for parameter in task.parameters() if parameter.requires_grad]


def read(task: LanguageModeling, ids_BT: Tensor, segment: Segment) -> Segment:
    """The segment with more ids, scored; gradients will reach its weights."""
    with torch.inference_mode(False), torch.enable_grad(), default_dtype(task.dtype):
        y_BTH, stream = task.hidden(ids_BT, segment.stream)
        log_p_BTV = task.head.log_probs(y_BTH)
    return Segment(stream, (*segment.ids, ids_BT), (*segment.log_p, log_p_BTV))


def gradients_of(
    weights: Sequence[Tensor], segment: Segment, next_B: Tensor
) -> tuple[Tensor | None, ...]:
    """Of the mean of -log p (nats) over a segment's tokens; ``next_B`` follows it."""
    ids_BT = torch.cat([*segment.ids, next_B[:, None]], 1)
    with torch.inference_mode(False), torch.enable_grad():
        log_p_BTV = torch.cat(segment.log_p, 1)
        loss = -log_p_BTV.gather(2, ids_BT[:, 1:, None]).mean()
        return torch.autograd.grad(loss, list(weights), allow_unused=True)
