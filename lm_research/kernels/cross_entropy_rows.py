"""Loss and gradient of rows of logits, in place, in plain PyTorch on any device.

The fused form of the same is :mod:`lm_research.kernels.fused.cross_entropy`.

Shapes: R rows of a block, S rows of a slice, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

SLICE = 1 << 19
"""Logits that a CPU looks at together, as many as its cache holds (docs/decisions/0029)."""


@dataclass(frozen=True)
class Asked:
    """What is made of a row's logits.

    Attributes:
        smoothing: share of a target's mass that is spread over the vocabulary.
        ignore: a target that counts for nothing.
        ranks: whether a target's rank among the logits is counted.
        gradient: whether the logits become their gradient.
    """

    smoothing: float
    ignore: int
    ranks: bool
    gradient: bool


def fine_type(dtype: torch.dtype) -> torch.dtype:
    """What losses and sums are in: float32, or float64 for float64."""
    return torch.promote_types(dtype, torch.float32)


def empty_results(logits_RV: Tensor, ranks: bool) -> tuple[Tensor, Tensor]:
    """Memory for the rows' losses, and their ranks if they are asked for."""
    rows = len(logits_RV)
    loss_R = logits_RV.new_empty(rows, dtype=fine_type(logits_RV.dtype))
    return loss_R, logits_RV.new_empty(rows if ranks else 0, dtype=torch.int64)


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
    real_R = targets_R != asked.ignore
    targets_R, all_real = targets_R.where(real_R, 0), bool(real_R.all())
    rows, vocabulary = logits_RV.shape
    size = max(SLICE // vocabulary, 1) if logits_RV.device.type == "cpu" else rows
    p_SV = logits_RV.new_empty(min(size, rows), vocabulary, dtype=loss_R.dtype)
    for first in range(0, rows, size):
        part = slice(first, first + size)
        logits_SV, target_S1 = logits_RV[part], targets_R[part, None]
        if asked.ranks:
            rank_R[part] = ranks_of(logits_SV, target_S1)
        loss_R[part] = _losses(logits_SV, target_S1, asked.smoothing, p_SV[: len(logits_SV)])
        if asked.gradient:
            ignored_S1 = None if all_real else ~real_R[part, None]
            grad_SV = p_SV[: len(logits_SV)]
            _subtract_target(grad_SV, target_S1, asked.smoothing, ignored_S1)
            logits_SV.copy_(grad_SV)
            if grad_bias_V is not None:
                grad_bias_V.add_(grad_SV.sum(0))
    rank_R.masked_fill_(~real_R[: len(rank_R)], vocabulary)
    return loss_R.masked_fill_(~real_R, 0), rank_R


def _losses(logits_SV: Tensor, target_S1: Tensor, smoothing: float, p_SV: Tensor) -> Tensor:
    """Losses in nats; the softmax into ``p_SV``.

    The largest probability is 1 / sum(exp(z - max z)): so the sum's logarithm costs no second
    exponential, and no large logit is added to it.
    """
    peak_S1 = logits_SV.amax(-1, keepdim=True).to(p_SV.dtype)
    torch.softmax(logits_SV, -1, dtype=p_SV.dtype, out=p_SV)
    log_sum_S1 = -p_SV.amax(-1, keepdim=True).log()
    loss_S1 = log_sum_S1 + (peak_S1 - logits_SV.gather(1, target_S1))
    if smoothing:
        uniform_S1 = log_sum_S1 + (peak_S1 - logits_SV).mean(-1, keepdim=True)
        loss_S1 = (1 - smoothing) * loss_S1 + smoothing * uniform_S1
    return loss_S1[:, 0]


def _subtract_target(
    p_SV: Tensor, target_S1: Tensor, smoothing: float, ignored_S1: Tensor | None
) -> None:
    """Probabilities, less the target's distribution: the gradient of the logits."""
    if smoothing:
        p_SV.sub_(smoothing / p_SV.shape[1])
    p_SV.scatter_add_(1, target_S1, p_SV.new_full(target_S1.shape, smoothing - 1))
    if ignored_S1 is not None:
        p_SV.masked_fill_(ignored_S1, 0)


def ranks_of(logits_SV: Tensor, target_S1: Tensor) -> Tensor:
    """How many logits are before the target's, of equal ones those of lower index.

    Counted as a product with ones, several times as fast on a CPU as a sum of booleans.
    """
    vocabulary = logits_SV.shape[1]
    own_S1 = logits_SV.gather(1, target_S1)
    earlier_SV = torch.arange(vocabulary, device=logits_SV.device) < target_S1
    behind_SV = torch.where(earlier_SV, logits_SV < own_S1, logits_SV <= own_S1)
    ones_V = torch.ones(vocabulary, device=logits_SV.device)
    return vocabulary - (behind_SV.float() @ ones_V).long()
