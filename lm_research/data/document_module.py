"""The LightningDataModule over labelled documents."""

from functools import cached_property
from typing import Any

import numpy as np

from lm_research.data.document_batches import DocumentBatches
from lm_research.data.labels import LabelledSplit, classes_of, labelled_split
from lm_research.data.module import TextDataModule
from lm_research.data.preparation import PreparedText
from lm_research.data.splits import Split


class DocumentDataModule(TextDataModule):
    """Training batches of whole documents with their labels.

    Args:
        prepared: a token store of labelled documents, and the tokenizer.
        batch_size, steps, seed, max_tokens, overfit: see :class:`DocumentBatches`.
    """

    def __init__(
        self,
        prepared: PreparedText,
        batch_size: int,
        steps: int,
        seed: int,
        max_tokens: int | None = None,
        overfit: int = 0,
    ) -> None:
        super().__init__(prepared, batch_size, 1, steps, seed, overfit)
        self.max_tokens = max_tokens
        self.classes = classes_of(prepared.store)

    @cached_property
    def contaminated_validation(self) -> np.ndarray | None:
        """Not asked of a classifier: whole documents have their labels from elsewhere."""
        return None

    def labelled(self, name: Split) -> LabelledSplit:
        """One split with its labels."""
        return labelled_split(self.prepared.store, name, self.classes)

    def train_dataloader(self) -> Any:
        """All batches: classification is for one process."""
        return DocumentBatches(
            self.labelled("train"),
            self.options["batch_size"],
            self.options["steps"],
            self.options["seed"],
            self.max_tokens,
            self.overfit,
        )

    def text(self) -> dict[str, Any]:
        """For data.json: the store's card, with the documents of each class."""
        splits: tuple[Split, ...] = ("train", "validation", "test")
        counts = {
            s: dict(zip(self.classes, self.labelled(s).counts(), strict=True)) for s in splits
        }
        return {**self.prepared.store.meta, "labels": counts}
