"""Distributions of weights and gradients while training runs: where a model dies or explodes."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from lm_research.callbacks.pause import pause
from lm_research.config.types import PositiveInt
from lm_research.tracking.recorder import Recorder
from lm_research.vectorizers.tables import bring_up_to_date


class Histograms(pl.Callback):
    """Every ``every`` steps, a histogram of each parameter and of its gradient in histograms.jsonl.

    Args:
        every: steps between them; each costs a pass over all parameters.
        bins: of equal width, from the least to the greatest finite value.
    """

    def __init__(
        self, recorder: Recorder, every: PositiveInt = 500, bins: PositiveInt = 64
    ) -> None:
        self.recorder, self.every, self.bins = recorder, every, bins

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The gradients are those of the step just taken, clipped where that is on."""
        step = batch_idx + 1
        if step % self.every and step != trainer.num_training_batches:
            return
        with pause(pl_module):
            bring_up_to_date(pl_module)
            found: dict[str, dict[str, list[float]]] = {}
            for name, weight in pl_module.named_parameters():
                for kind, values in (("weights", weight), ("gradients", weight.grad)):
                    if values is not None and not values.is_sparse:
                        found[f"{kind}/{name}"] = histogram(values, self.bins)
            self.recorder.histograms(step, found)


def histogram(values: Tensor, bins: int) -> dict[str, list[float]]:
    """``counts`` in ``bins`` bins of equal width, and their ``edges``, one more.

    Args:
        values: any shape and floating type; what is not finite is not counted.
    """
    flat_N = values.detach().float().flatten()
    flat_N = flat_N[flat_N.isfinite()].cpu()
    low, high = (float(flat_N.min()), float(flat_N.max())) if len(flat_N) else (0.0, 0.0)
    if low == high:  # of no width
        low, high = low - 0.5, high + 0.5
    counts_B, edges_E = torch.histogram(flat_N, bins, range=(low, high))
    return {"counts": counts_B.tolist(), "edges": edges_E.tolist()}
