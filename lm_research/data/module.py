"""The LightningDataModule over a prepared text."""

from functools import cached_property
from typing import Any

import numpy as np
import pytorch_lightning as pl

from lm_research.data.batches import TrainingBatches
from lm_research.data.contamination import contaminated
from lm_research.data.preparation import PreparedText
from lm_research.data.splits import Split
from lm_research.data.token_store import TokenSplit

UNSPACED = {"zh", "ja", "th", "lo", "km", "my", "mul"}
"""Languages that are written without spaces between words; a mixture may hold one ("mul")."""


class TextDataModule(pl.LightningDataModule):
    """Training batches: stateful, sharded by lanes over processes.

    Held-out splits are scored as one stream (``tasks.evaluation``), not by Lightning's loop.

    Args:
        prepared: token store and tokenizer.
        batch_size, window, steps, seed: see :class:`TrainingBatches`.
        overfit: repeat the first so many batches (0: all of the split).
    """

    def __init__(
        self,
        prepared: PreparedText,
        batch_size: int,
        window: int,
        steps: int,
        seed: int,
        overfit: int = 0,
    ) -> None:
        super().__init__()
        self.prepared = prepared
        self.options = {"batch_size": batch_size, "window": window, "steps": steps, "seed": seed}
        self.overfit = overfit

    @property
    def words(self) -> bool:
        """Whether white space parts the words of this language."""
        return self.prepared.store.meta["language"] not in UNSPACED

    def split(self, name: Split) -> TokenSplit:
        """One split of the store."""
        return self.prepared.store.split(name)

    @cached_property
    def contaminated_validation(self) -> np.ndarray | None:
        """Which validation documents (bool) share text with the training split; None: unknown."""
        store = self.prepared.store
        return contaminated(store.split("validation"), store)

    def train_dataloader(self) -> Any:
        """This process's share of every batch."""
        rank = self.trainer.global_rank if self.trainer else 0
        world = self.trainer.world_size if self.trainer else 1
        return TrainingBatches(
            self.split("train"), **self.options, rank=rank, world_size=world, overfit=self.overfit
        )
