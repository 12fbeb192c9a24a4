"""Gradual unfreezing: from the top, one more group of layers after every so many steps."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch import nn

from lm_research.config.types import PositiveInt


class GradualUnfreezing(pl.Callback):
    """Trains the topmost group first, and one more from above each ``every`` steps (ULMFiT, 3.3).

    What is frozen follows from the number of the step alone, so that a run that is cut goes on as
    it would have. A frozen parameter has no gradient: no optimizer moves it or counts a step.

    Args:
        groups: parameters from below, all of which are trained in the end.
        every: steps, as the data module counts them.
    """

    def __init__(self, groups: Sequence[Sequence[nn.Parameter]], every: PositiveInt) -> None:
        self.groups, self.every = [list(group) for group in groups], every
        self.opened: int | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Open what is due."""
        opened = min(1 + batch_idx // self.every, len(self.groups))
        if opened == self.opened:
            return
        self.opened = opened
        for depth, group in enumerate(reversed(self.groups)):
            for parameter in group:
                parameter.requires_grad_(depth < opened)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave no trace."""
        for group in self.groups:
            for parameter in group:
                parameter.requires_grad_(True)
