"""The LightningDataModule over documents with targets."""

from functools import cached_property
from typing import Any

import numpy as np

from lm_research.data.module import TextDataModule
from lm_research.data.pair_batches import PairBatches
from lm_research.data.pairs import PairedSplit
from lm_research.data.preparation import PreparedText
from lm_research.data.splits import Split
from lm_research.text.tokenizer import Tokenizer


class PairDataModule(TextDataModule):
    """Training batches of sources with their targets.

    Args:
        prepared: a token store of pairs, and the tokenizers.
        batch_size, steps, seed, most_source, most_target, overfit: see :class:`PairBatches`.
    """

    def __init__(
        self,
        prepared: PreparedText,
        batch_size: int,
        steps: int,
        seed: int,
        most_source: int | None = None,
        most_target: int | None = None,
        overfit: int = 0,
    ) -> None:
        super().__init__(prepared, batch_size, 1, steps, seed, overfit)
        self.most_source, self.most_target = most_source, most_target

    @property
    def target_tokenizer(self) -> Tokenizer:
        """Writes the targets."""
        return self.prepared.target_tokenizer or self.prepared.tokenizer

    @cached_property
    def contaminated_validation(self) -> np.ndarray | None:
        """Not asked of pairs: what is scored is the target, not the text."""
        return None

    def paired(self, name: Split) -> PairedSplit:
        """One split with its targets."""
        return PairedSplit(self.prepared.store, name)

    def train_dataloader(self) -> Any:
        """All batches: these tasks are for one process."""
        return PairBatches(
            self.paired("train"),
            self.options["batch_size"],
            self.options["steps"],
            self.options["seed"],
            self.most_source,
            self.most_target,
            self.overfit,
        )
