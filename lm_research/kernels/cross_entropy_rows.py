"""Loss and gradient of rows of logits, in place, in plain PyTorch on any device.

The fused form of the same is :mod:`lm_research.kernels.fused.cross_entropy`.

Shapes: R rows of a block, S rows of a slice, V vocabulary.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lm_research.kernels.largest import first_largest

Ranks = Literal["none", "first", "all"]
"""What is told of a target's rank: nothing; whether it is 0 (another number if not); all."""

SLICE = 1 << 19
"""Logits that a CPU looks at together, as many as its cache holds (docs/decisions/0029)."""

UNLIKELY = 1e-30
"""Below it a float32 probability has lost digits, so that its logarithm is taken otherwise."""


@dataclass(frozen=True)
class Asked:
    """What is made of a row's logits.

    Attributes:
        smoothing: share of a target's mass that is spread over the vocabulary.
        ignore: a target that counts for nothing.
        ranks: what is told of a target's rank among the logits.
        gradient: whether the logits become their gradient.
    """

    smoothing: float
    ignore: int
    ranks: Ranks
    gradient: bool


def fine_type(dtype: torch.dtype) -> torch.dtype:
    """What losses and sums are in: float32, or float64 for float64."""
    return torch.promote_types(dtype, torch.float32)


def empty_results(logits_RV: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor]:
    """Memory for the rows' losses, and their ranks if they are asked for."""
    rows = len(logits_RV)
    loss_R = logits_RV.new_empty(rows, dtype=fine_type(logits_RV.dtype))
    return loss_R, logits_RV.new_empty(rows if ranks != "none" else 0, dtype=torch.int64)


def turn_into_gradient(
    logits_RV: Tensor, targets_R: Tensor, asked: Asked, grad_bias_V: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Losses of the rows; the logits become the gradient of their sum.

    Args:
        logits_RV: overwritten if ``asked.gradient``.
        targets_R: int64.
        asked: see there.
        grad_bias_V: the gradient's sum over rows is added to it, before it is rounded.

    Returns:
        loss_R, zero where the target is ignored, and rank_R, empty unless asked for: how many
        logits are before the target's, of equal ones those of lower index; V where the target is
        ignored or its logit is NaN.
    """
    loss_R, rank_R = empty_results(logits_RV, asked.ranks)
    real_R, (rows, vocabulary) = targets_R != asked.ignore, logits_RV.shape
    target_R1 = targets_R.where(real_R, 0)[:, None]
    ignored_R1 = None if real_R.all() else ~real_R[:, None]
    size = max(SLICE // vocabulary, 1) if logits_RV.device.type == "cpu" else rows
    p_SV = logits_RV.new_empty(min(size, rows), vocabulary, dtype=loss_R.dtype)
    nll_R1 = torch.empty_like(loss_R[:, None])
    for first in range(0, rows, size):
        part = slice(first, first + size)
        logits_SV, target_S1 = logits_RV[part], target_R1[part]
        p_SV = p_SV[: len(logits_SV)]
        if asked.ranks == "all":
            rank_R[part] = ranks_of(logits_SV, target_S1)
        elif asked.ranks == "first":
            rank_R[part] = first_largest(logits_SV) != target_S1[:, 0]
        nll_R1[part] = nll_S1 = _probabilities(logits_SV, target_S1, p_SV)
        loss_R[part] = _smoothed(nll_S1, logits_SV, target_S1, asked.smoothing)[:, 0]
        if asked.gradient:
            if asked.smoothing:
                p_SV.sub_(asked.smoothing / vocabulary)
            if ignored_R1 is not None:
                p_SV.masked_fill_(ignored_R1[part], 0)
            logits_SV.copy_(p_SV)
            if grad_bias_V is not None:
                grad_bias_V.add_(p_SV.sum(0))
    if asked.gradient:
        _put_targets(logits_RV, target_R1, nll_R1, ignored_R1, asked.smoothing, grad_bias_V)
    rank_R.masked_fill_(~real_R[: len(rank_R)], vocabulary)
    return loss_R.masked_fill_(~real_R, 0), rank_R


def _probabilities(logits_SV: Tensor, target_S1: Tensor, p_SV: Tensor) -> Tensor:
    """-log p of the targets; all probabilities into ``p_SV``, with one exponential each."""
    torch.softmax(logits_SV, -1, dtype=p_SV.dtype, out=p_SV)
    own_S1 = p_SV.gather(1, target_S1)
    nll_S1 = -own_S1.log()
    lost_S = own_S1[:, 0] < UNLIKELY
    if lost_S.any():
        log_p = logits_SV[lost_S].log_softmax(-1, dtype=p_SV.dtype)
        nll_S1[lost_S] = -log_p.gather(1, target_S1[lost_S])
    return nll_S1


def _smoothed(nll_S1: Tensor, logits_SV: Tensor, target_S1: Tensor, smoothing: float) -> Tensor:
    """(1 - s) -log p of the target + s times the mean of -log p over the vocabulary."""
    if not smoothing:
        return nll_S1
    own_S1 = logits_SV.gather(1, target_S1).to(nll_S1.dtype)
    return nll_S1 + smoothing * (own_S1 - logits_SV).mean(-1, keepdim=True)


def _put_targets(
    grad_RV: Tensor,
    target_R1: Tensor,
    nll_R1: Tensor,
    ignored_R1: Tensor | None,
    smoothing: float,
    grad_bias_V: Tensor | None,
) -> None:
    """The targets' own gradients, p - 1, without its cancellation."""
    kept_R1 = torch.full_like(nll_R1, 1 - smoothing)
    own_R1 = torch.expm1(-nll_R1) + (smoothing - smoothing / grad_RV.shape[1])
    if ignored_R1 is not None:
        kept_R1.masked_fill_(ignored_R1, 0)
        own_R1.masked_fill_(ignored_R1, 0)
    rows_R = torch.arange(len(grad_RV), device=grad_RV.device)
    grad_RV[rows_R, target_R1[:, 0]] = own_R1[:, 0].to(grad_RV.dtype)  # scatter_ copies it all
    if grad_bias_V is not None:
        grad_bias_V.scatter_add_(0, target_R1[:, 0], -kept_R1[:, 0])


def ranks_of(logits_SV: Tensor, target_S1: Tensor) -> Tensor:
    """How many logits are before the target's, of equal ones those of lower index.

    All in floating point, in which a CPU compares and counts (up to 2^24) several times as fast as
    with integers and booleans. NaN is behind all.
    """
    vocabulary = logits_SV.shape[1]
    z_SV = logits_SV.to(fine_type(logits_SV.dtype))
    own_S1, found_SV, earlier_SV = z_SV.gather(1, target_S1), z_SV.clone(), torch.empty_like(z_SV)
    behind_S = found_SV.le_(own_S1).sum(-1)
    columns_V = torch.arange(vocabulary, device=z_SV.device, dtype=z_SV.dtype)
    torch.lt(columns_V, target_S1.to(z_SV.dtype), out=earlier_SV)
    ties_S = torch.eq(z_SV, own_S1, out=found_SV).mul_(earlier_SV).sum(-1)
    return (vocabulary - behind_S + ties_S).long()
