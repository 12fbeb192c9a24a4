"""The LightningDataModule over a prepared text."""

from functools import cached_property
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl

from lm_research.data.batches import RandomBatches, TrainingBatches
from lm_research.data.contamination import contaminated
from lm_research.data.mixture_batches import MixtureBatches
from lm_research.data.mixture_streams import MixtureStreams
from lm_research.data.preparation import PreparedText
from lm_research.data.random_lengths import RandomLengthBatches
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
        streams: of a mixture that is sampled while training.
        windows: "consecutive", in lanes (:class:`TrainingBatches`), "repeated", in lanes that do
            not move, or "random" (:class:`RandomBatches`).
        window_lengths: of lanes: "fixed", or "random" (:class:`RandomLengthBatches`).
        overlap: tokens of a consecutive window that the one before it has, too.

    Raises:
        DataError: such a mixture's caps do not go with the budget.
    """

    def __init__(
        self,
        prepared: PreparedText,
        batch_size: int,
        window: int,
        steps: int,
        seed: int,
        overfit: int = 0,
        streams: MixtureStreams | None = None,
        windows: Literal["consecutive", "repeated", "random"] = "consecutive",
        window_lengths: Literal["fixed", "random"] = "fixed",
        overlap: int = 0,
    ) -> None:
        super().__init__()
        self.prepared = prepared
        self.options = {"batch_size": batch_size, "window": window, "steps": steps, "seed": seed}
        self.overfit, self.streams = overfit, streams
        self.windows, self.window_lengths = windows, window_lengths
        self.overlap = overlap
        self.plan = streams.plan(**self.options) if streams else None

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
        if self.streams and self.plan:
            return MixtureBatches(self.streams.ids(), self.plan, rank, world, self.overfit)
        split, more = self.split("train"), {"overfit": self.overfit, "overlap": self.overlap}
        more |= {**self.options, "rank": rank, "world_size": world}
        if self.windows == "random":
            return RandomBatches(split, **more)
        kind = RandomLengthBatches if self.window_lengths == "random" else TrainingBatches
        return kind(split, moves=self.windows == "consecutive", **more)

    def training_tokens(self, steps: int) -> int:
        """Tokens of ``steps`` batches of all processes."""
        if self.window_lengths == "random":
            return int(self.train_dataloader().tokens(steps))
        return steps * self.options["batch_size"] * self.options["window"]

    def mixture_row(self, step: int) -> dict[str, float]:
        """Shares and epochs of a sampled mixture's sources after ``step`` batches, as metrics."""
        if self.plan is None:
            return {}
        done = min(step, self.overfit) if self.overfit else step
        return {
            f"mixture/{name}_{part}": value
            for name, parts in self.plan.achieved(done).items()
            for part, value in parts.items()
        }

    def text(self) -> dict[str, Any]:
        """For data.json: the store's card; of a sampled mixture also each source's stream, and
        what all of training is going to read of it."""
        meta = self.prepared.store.meta
        if self.streams is None or self.plan is None:
            return meta
        planned = self.plan.achieved(self.plan.steps)
        return {**meta, "mixture": {n: {**self.streams.card(n), **planned[n]} for n in planned}}
