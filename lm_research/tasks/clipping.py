"""Clipping of gradients, some of which may be sparse, which PyTorch's own functions refuse."""

from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from lm_research.vectorizers.tables import bring_up_to_date, rows_of


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients so that their norm together is at most ``max_norm``; returns the norm.

    As ``torch.nn.utils.clip_grad_norm_``; of a sparse gradient the repeats are added up first.
    """
    given = [p for p in parameters if p.grad is not None]
    if not any(_is_sparse(p) for p in given):
        return torch.nn.utils.clip_grad_norm_(given, max_norm)
    values = [_values(p) for p in given]
    norm = torch.nn.utils.get_total_norm(values)
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for value in values:
        value.mul_(factor)
    return norm


def clip_entries(parameters: Iterable[Tensor], largest: float) -> None:
    """Bring every entry of every gradient into [-largest, largest].

    As ``torch.nn.utils.clip_grad_value_``; of a sparse gradient the repeats are added up first.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            _values(parameter).clamp_(-largest, largest)


def clip(parameters: Iterable[Tensor], limit: float, by: str | None) -> None:
    """What ``trainer.gradient_clip`` and ``gradient_clip_by`` say: "value", or by norm."""
    if by == "value":
        clip_entries(parameters, limit)
    else:
        clip_gradients(parameters, limit)


def _is_sparse(parameter: Tensor) -> bool:
    return parameter.grad is not None and parameter.grad.is_sparse


def _values(parameter: Tensor) -> Tensor:
    """The numbers of its gradient, which has no repeats from now on."""
    gradient = parameter.grad
    assert gradient is not None
    if not gradient.is_sparse:
        return gradient
    rows_U, values_UD = rows_of(gradient)
    if not gradient.is_coalesced():
        parameter.grad = torch.sparse_coo_tensor(
            rows_U[None], values_UD, gradient.shape, is_coalesced=True, check_invariants=False
        )
    return values_UD


class ClippedTask(pl.LightningModule):
    """A task some of whose gradients may be sparse, and some rows of whose tables behind.

    Attributes:
        train_accuracy: whether its training steps can count their right predictions.
        counts_hits: whether the next one does; whoever reads them asks for it.
        hits_2: int64, right predictions of the last step that counted, and of how many.
    """

    train_accuracy = False
    counts_hits = False
    hits_2: Tensor | None = None

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Lightning's own way, but where a gradient is sparse, or shared out among GPUs (FSDP)."""
        weights: list[Any] = [p for group in optimizer.param_groups for p in group["params"]]
        if gradient_clip_val and any(map(_is_sparse, weights)):
            clip(weights, float(gradient_clip_val), gradient_clip_algorithm)
            return
        # Lightning refuses norms under FSDP: a process has a share of each gradient, and the root
        # module alone can add up the squares of all.
        by_norm = getattr(self.trainer.strategy.model, "clip_grad_norm_", None)
        if gradient_clip_val and by_norm and gradient_clip_algorithm != "value":
            by_norm(float(gradient_clip_val))
            return
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_train_end(self) -> None:
        """From here on anybody may read the tables."""
        bring_up_to_date(self)
