"""Batches of sentences with tagged words, padded, with sentences of about one length together.

Shapes: B sentences of a batch, T tokens of its longest, W words of the one with most words.
"""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lm_research.data.batches import Batches
from lm_research.data.document import DataError
from lm_research.data.document_batches import batches_by_length, batches_in, padded
from lm_research.data.labels import classes_of
from lm_research.data.module import TextDataModule
from lm_research.data.preparation import PreparedText
from lm_research.data.splits import SPLITS, Split
from lm_research.data.tagged_words import Sentence, TaggedSplit

NO_TAG = -1
"""The tag of a place behind a sentence's last word, and of a word whose tag the model has not."""


class TaggedBatch(NamedTuple):
    """Sentences: ``ids_BT`` (``PADDING`` behind the end) and ``lengths_B``; all are int64.

    ``first_BW`` and ``last_BW`` are the places of each word's first and last token, 0 behind the
    last word; ``tags_BW`` the place of its tag, or ``NO_TAG``.
    """

    ids_BT: Tensor
    lengths_B: Tensor
    first_BW: Tensor
    last_BW: Tensor
    tags_BW: Tensor
    tokens_seen: int = 0
    """tokens of all training batches up to and with this one"""


def tagged_batch(sentences: Sequence[Sentence], tokens_seen: int = 0) -> TaggedBatch:
    """A batch of sentences."""
    ids_BT, lengths_B = padded([sentence.ids_N for sentence in sentences], None)
    shape = len(sentences), max(len(sentence.ends_W) for sentence in sentences)
    first_BW, last_BW = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    tags_BW = np.full(shape, NO_TAG, np.int64)
    for row, (_, ends_W, tags_W) in enumerate(sentences):
        first_BW[row, 1 : len(ends_W)] = ends_W[:-1]
        last_BW[row, : len(ends_W)] = ends_W - 1
        tags_BW[row, : len(ends_W)] = tags_W
    first, last, tags = map(torch.from_numpy, (first_BW, last_BW, tags_BW))
    return TaggedBatch(ids_BT, lengths_B, first, last, tags, tokens_seen)


class TaggedBatches(Batches):
    """Every sentence once an epoch; which ones are in batch number n follows from n and the seed.

    As :class:`DocumentBatches`.

    Args:
        split: sentences.
        batch_size: B.
        steps: number of batches to yield.
        seed: of the order.
        overfit: if positive, repeat the first so many batches for ever.

    Raises:
        DataError: the split has no sentence.
    """

    def __init__(
        self, split: TaggedSplit, batch_size: int, steps: int, seed: int, overfit: int = 0
    ) -> None:
        if not len(split):
            raise DataError(f"the {split.split.name} split has no sentence to train on")
        super().__init__(batch_size, steps, 1)
        self.split, self.batch_size, self.seed = split, batch_size, seed
        self.overfit, self.per_epoch = overfit, batches_in(len(split), batch_size)
        self._order = lru_cache(maxsize=2)(self._ordered)

    def batch(self, step: int) -> TaggedBatch:  # type: ignore[override]
        """Batch number ``step`` (from 0)."""
        if self.overfit:
            step %= self.overfit
        epoch, index = divmod(step, self.per_epoch)
        batches, tokens = self._order(epoch)
        seen = epoch * int(self.split.lengths_D.sum()) + int(tokens[index])
        return tagged_batch([self.split.sentence(i) for i in batches[index]], seen)

    def _ordered(self, epoch: int) -> tuple[list[np.ndarray], np.ndarray]:
        return batches_by_length(self.split.lengths_D, self.batch_size, (self.seed, epoch))


class TaggedDataModule(TextDataModule):
    """Training batches of sentences with tagged words.

    Args:
        prepared: a token store of tagged words, and the tokenizer.
        batch_size, steps, seed, overfit: see :class:`TaggedBatches`.
    """

    def __init__(
        self, prepared: PreparedText, batch_size: int, steps: int, seed: int, overfit: int = 0
    ) -> None:
        super().__init__(prepared, batch_size, 1, steps, seed, overfit)
        self.classes = classes_of(prepared.store)

    @cached_property
    def contaminated_validation(self) -> np.ndarray | None:
        """Not asked of a tagger: what is scored are the tags, not the text."""
        return None

    def tagged(self, name: Split) -> TaggedSplit:
        """One split with its tags."""
        return TaggedSplit(self.prepared.store, name, self.classes)

    @cached_property
    def known(self) -> frozenset[str]:
        """The words of the training split."""
        train = self.tagged("train")
        return frozenset(train.all_forms[place] for place in np.unique(train.words_W["form"]))

    def train_dataloader(self) -> Any:
        """All batches: tagging is for one process."""
        options = self.options
        return TaggedBatches(
            self.tagged("train"),
            options["batch_size"],
            options["steps"],
            options["seed"],
            self.overfit,
        )

    def text(self) -> dict[str, Any]:
        """For data.json: the store's card, with the words of each tag."""
        counts = {s: self.tagged(s).tag_counts() for s in SPLITS}
        tags = {s: dict(zip(self.classes, n, strict=True)) for s, n in counts.items()}
        return {**self.prepared.store.meta, "tags": tags}
