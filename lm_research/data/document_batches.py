"""Batches of whole documents, padded, with documents of about one length together.

Shapes: B documents of a batch, T tokens of its longest, D documents of the split.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lm_research.data.batches import Batch, Batches
from lm_research.data.document import DataError
from lm_research.data.labels import LabelledSplit

PADDING = -1
"""The id behind a document's end: no token, to every vectorizer."""
POOL = 50
"""Batches whose documents are sorted by length together."""


class DocumentBatch(NamedTuple):
    """Whole documents: ``ids_BT`` (int64, ``PADDING`` behind the end), ``lengths_B``, ``labels_B``.

    ``labels_B`` are places of classes (int64); of documents that may have several labels they are
    labels_BC, bool: which classes each is of. A document without a token counts as one of
    ``PADDING``: lengths are at least 1.
    """

    ids_BT: Tensor
    lengths_B: Tensor
    labels_B: Tensor
    tokens_seen: int = 0
    """tokens of all training batches up to and with this one"""

    def documents(self) -> list[Tensor]:
        """ids_N of each."""
        pairs = zip(self.ids_BT, self.lengths_B.tolist(), strict=True)
        return [ids_T[:length] for ids_T, length in pairs]


def tokens_seen(batch: Any, step: int, processes: int) -> int:
    """Training tokens of all processes after ``step`` batches, of which ``batch`` is the last.

    Batches of whole documents say it themselves, and so do windows of unequal length.
    """
    if isinstance(batch, Batch) and not batch.tokens_seen:
        return step * batch.targets_BT.numel() * processes
    return int(batch.tokens_seen)


def padded(documents: Sequence[np.ndarray], most: int | None) -> tuple[Tensor, Tensor]:
    """ids_BT and lengths_B of documents (ids_N each), of which the first ``most`` tokens count."""
    cut = [ids_N[:most] for ids_N in documents]
    lengths_B = np.array([max(len(ids_N), 1) for ids_N in cut])
    ids_BT = np.full((len(cut), int(lengths_B.max())), PADDING, np.int64)
    for row, ids_N in zip(ids_BT, cut, strict=True):
        row[: len(ids_N)] = ids_N
    return torch.from_numpy(ids_BT), torch.from_numpy(lengths_B)


class DocumentBatches(Batches):
    """Every document once an epoch; which ones are in batch number n follows from n and the seed.

    In each epoch the documents are shuffled, cut into pools of ``POOL`` batches, sorted by length
    within a pool (those of one length stay in random order), cut into batches, and the batches
    shuffled. The last batch of a pool at the end may be smaller.

    Args:
        split: labelled documents.
        batch_size: B.
        steps: number of batches to yield.
        seed: of the order.
        max_tokens: of a document that are read; None: all.
        overfit: if positive, repeat the first so many batches for ever.

    Raises:
        DataError: the split has no document.
    """

    def __init__(
        self,
        split: LabelledSplit,
        batch_size: int,
        steps: int,
        seed: int,
        max_tokens: int | None = None,
        overfit: int = 0,
    ) -> None:
        if not len(split):
            raise DataError(f"the {split.split.name} split has no labelled document to train on")
        super().__init__(batch_size, steps, 1)
        self.split, self.batch_size, self.seed = split, batch_size, seed
        self.max_tokens, self.overfit = max_tokens, overfit
        self.per_epoch = batches_in(len(split), batch_size)
        most = np.iinfo(np.int64).max if max_tokens is None else max_tokens
        self.lengths_D = np.minimum(split.lengths_D, most)
        self._order = lru_cache(maxsize=2)(self._ordered)

    def batch(self, step: int) -> DocumentBatch:  # type: ignore[override]
        """Batch number ``step`` (from 0)."""
        if self.overfit:
            step %= self.overfit
        epoch, index = divmod(step, self.per_epoch)
        batches, tokens = self._order(epoch)
        chosen = batches[index]
        ids_BT, lengths_B = padded([self.split.document(i) for i in chosen], self.max_tokens)
        labels_B = torch.from_numpy(self.split.targets(chosen))
        seen = epoch * int(self.lengths_D.sum()) + int(tokens[index])
        return DocumentBatch(ids_BT, lengths_B, labels_B, seen)

    def _ordered(self, epoch: int) -> tuple[list[np.ndarray], np.ndarray]:
        """The batches of an epoch, as places in the split, and their tokens, cumulated."""
        return batches_by_length(self.lengths_D, self.batch_size, (self.seed, epoch))


def batches_by_length(
    lengths_D: np.ndarray, batch_size: int, seed: tuple[int, int]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Places of all documents in batches, and the batches' tokens, cumulated.

    Shuffled, cut into pools of ``POOL`` batches, sorted by length within a pool, and the batches
    shuffled again.
    """
    rng = np.random.default_rng(seed)
    shuffled, size = rng.permutation(len(lengths_D)), POOL * batch_size
    batches = []
    for start in range(0, len(shuffled), size):
        pool = shuffled[start : start + size]
        pool = pool[np.argsort(lengths_D[pool], kind="stable")]
        batches += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
    batches = [batches[place] for place in rng.permutation(len(batches))]
    return batches, np.cumsum([lengths_D[chosen].sum() for chosen in batches])


def batches_in(documents: int, batch_size: int) -> int:
    """Batches of an epoch."""
    return -(-documents // batch_size)


def in_order(split: LabelledSplit, batch_size: int, most: int | None) -> list[np.ndarray]:
    """Places of all documents for scoring: see :func:`by_length`."""
    return by_length(np.asarray(split.lengths_D), batch_size, most)


def by_length(lengths_D: np.ndarray, batch_size: int, most: int | None) -> list[np.ndarray]:
    """Places of all documents for scoring: by length, in batches of about ``batch_size``.

    A batch holds fewer where its documents are long, so that its padded ids stay below a bound.
    """
    order = np.argsort(np.minimum(lengths_D, most or 1 << 62), kind="stable")
    batches, start = [], 0
    while start < len(order):
        stop = start + batch_size
        longest = int(min(lengths_D[order[min(stop, len(order)) - 1]], most or 1 << 62))
        stop = start + max(1, min(batch_size, MOST_IDS // max(longest, 1)))
        batches.append(order[start:stop])
        start = stop
    return batches


MOST_IDS = 1 << 15
"""Padded ids of a batch that is scored."""
