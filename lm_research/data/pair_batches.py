"""Batches of pairs, padded, with pairs of about one length together.

Shapes: B pairs of a batch, S tokens of its longest source, T of its longest target.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lm_research.data.batches import Batches
from lm_research.data.document import DataError
from lm_research.data.document_batches import batches_by_length, batches_in, padded
from lm_research.data.pairs import PairedSplit

END = 0
"""What a target ends with, and what stands before its first token: the separator."""


class PairBatch(NamedTuple):
    """Sources and targets: ids are int64, ``PADDING`` behind the end.

    A target ends with ``END``, unless it was cut before. A source without a token counts as one of
    ``PADDING``: lengths are at least 1.
    """

    source_BS: Tensor
    source_lengths_B: Tensor
    target_BT: Tensor
    target_lengths_B: Tensor
    tokens_seen: int = 0
    """tokens of sources and targets of all training batches up to and with this one"""


def pair_batch(
    sources: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    most_source: int | None = None,
    most_target: int | None = None,
    tokens_seen: int = 0,
) -> PairBatch:
    """A batch of pairs (ids_N each), of which the first tokens count: so many, the end included."""
    ended = [np.append(ids_N, END) for ids_N in targets]
    return PairBatch(*padded(sources, most_source), *padded(ended, most_target), tokens_seen)


class PairBatches(Batches):
    """Every pair once an epoch; which ones are in batch number n follows from n and the seed.

    As :class:`DocumentBatches`, sorted by the tokens of source and target together.

    Args:
        split: pairs.
        batch_size: B.
        steps: number of batches to yield.
        seed: of the order.
        most_source, most_target: tokens that are read, the target's end included; None: all.
        overfit: if positive, repeat the first so many batches for ever.

    Raises:
        DataError: the split has no pair.
    """

    def __init__(
        self,
        split: PairedSplit,
        batch_size: int,
        steps: int,
        seed: int,
        most_source: int | None = None,
        most_target: int | None = None,
        overfit: int = 0,
    ) -> None:
        if not len(split):
            raise DataError(f"the {split.split.name} split has no pair to train on")
        super().__init__(batch_size, steps, 1)
        self.split, self.batch_size, self.seed = split, batch_size, seed
        self.most_source, self.most_target, self.overfit = most_source, most_target, overfit
        self.per_epoch = batches_in(len(split), batch_size)
        source_D = np.minimum(split.source_lengths_D, most_source or 1 << 62)
        self.lengths_D = source_D + np.minimum(split.target_lengths_D + 1, most_target or 1 << 62)
        self._order = lru_cache(maxsize=2)(self._ordered)

    def batch(self, step: int) -> PairBatch:  # type: ignore[override]
        """Batch number ``step`` (from 0)."""
        if self.overfit:
            step %= self.overfit
        epoch, index = divmod(step, self.per_epoch)
        batches, tokens = self._order(epoch)
        sources = [self.split.source(i) for i in batches[index]]
        targets = [self.split.target(i) for i in batches[index]]
        seen = epoch * int(self.lengths_D.sum()) + int(tokens[index])
        return pair_batch(sources, targets, self.most_source, self.most_target, seen)

    def _ordered(self, epoch: int) -> tuple[list[np.ndarray], np.ndarray]:
        return batches_by_length(self.lengths_D, self.batch_size, (self.seed, epoch))


def inputs_of(target_BT: Tensor) -> Tensor:
    """What a decoder reads to write ``target_BT``: ``END``, then all but the last token."""
    begin_B1 = torch.full_like(target_BT[:, :1], END)
    return torch.cat([begin_B1, target_BT[:, :-1]], dim=1)
