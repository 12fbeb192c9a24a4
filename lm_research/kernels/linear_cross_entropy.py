"""The output layer and its cross-entropy in one, a few rows at a time.

Written out, ``cross_entropy(linear(x))`` holds the logits of all N rows, their log-softmax and its
gradient: three matrices of N x V, most of the memory of a model with a large vocabulary. Here the
logits of a block of rows live until their gradient has been taken, which the forward pass does at
once, as the loss is a mean (Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language
Models"; Hsu et al. 2024, "Liger Kernel").

Shapes: N rows, H features, V vocabulary, R rows of a block.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 1 << 22
"""Logits of a block; with fewer the products lose speed (docs/LOG.md, 2026-11-29)."""
_FEWEST_ROWS = 64


def block_rows(vocabulary_size: int) -> int:
    """R for a vocabulary."""
    return max(BLOCK // vocabulary_size, _FEWEST_ROWS)


def linear_cross_entropy(
    x_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    label_smoothing: float = 0.0,
    rows: int | None = None,
) -> Tensor:
    """``F.cross_entropy(F.linear(x, weight, bias), targets)`` without the logits of all rows.

    Args:
        x_NH: float32, float64, bfloat16 or float16; under autocast that of the products.
        weight_VH: of the output layer.
        bias_V: likewise, or None.
        targets_N: int64, each in [0, V).
        label_smoothing: share of a target's mass that is spread over the vocabulary.
        rows: R; by default :func:`block_rows`.

    Returns:
        The mean in nats; float32, or float64 for float64.

    Raises:
        ValueError: there are no rows.
        RuntimeError: from its backward pass, when that is to be differentiated, too.
    """
    if not len(x_NH):
        raise ValueError("linear_cross_entropy: x has no rows, and the mean of none is undefined")
    options = (label_smoothing, rows or block_rows(len(weight_VH)), torch.is_grad_enabled())
    loss: Tensor = _Blocks.apply(x_NH, weight_VH, bias_V, targets_N, *options)
    return loss


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        smoothing: float,
        rows: int,
        differentiable: bool,
    ) -> Tensor:
        kind = x_NH.device.type
        cast = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if cast else x_NH.dtype
        ctx.set_materialize_grads(False)
        with torch.autocast(kind, enabled=False):
            wanted = [needed and differentiable for needed in ctx.needs_input_grad[:3]]
            sums = _Sums(wanted, x_NH, weight_VH, bias_V, dtype)
            for first in range(0, len(x_NH), rows):
                block = slice(first, first + rows)
                sums.add(block, targets_N[block], smoothing)
        ctx.save_for_backward(*sums.gradients)
        ctx.types = [None if of is None else of.dtype for of in (x_NH, weight_VH, bias_V)]
        return sums.loss / len(x_NH)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "linear_cross_entropy cannot be differentiated twice (create_graph=True): use "
                "F.cross_entropy(F.linear(x, weight, bias), targets) for second derivatives"
            )
        if grad is None:
            return (None,) * 7
        found = zip(ctx.saved_tensors, ctx.types, strict=True)
        scaled = (None if g is None else (g * grad.to(g.dtype)).to(kind) for g, kind in found)
        return (*scaled, None, None, None, None)


class _Sums:
    """The sum of the rows' losses, and the gradients of their mean, block by block."""

    def __init__(
        self,
        wanted: list[bool],
        x_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        dtype: torch.dtype,
    ) -> None:
        self.x_NH, self.weight_VH = x_NH.to(dtype), weight_VH.to(dtype)
        self.bias_V = None if bias_V is None else bias_V.to(dtype)
        self.fine = torch.promote_types(dtype, torch.float32)
        self.loss = x_NH.new_zeros((), dtype=self.fine)
        given = (x_NH, weight_VH, bias_V)
        # Sums over blocks are finer than 16 bits, which would round at each.
        types = (x_NH.dtype, self.fine, self.fine)
        self.gradients = [
            torch.zeros_like(of, dtype=kind) if of is not None and need else None
            for of, need, kind in zip(given, wanted, types, strict=True)
        ]

    def add(self, block: slice, targets_R: Tensor, smoothing: float) -> None:
        x_RH = self.x_NH[block]
        logits_RV = F.linear(x_RH, self.weight_VH, self.bias_V)
        log_p_RV = logits_RV.log_softmax(-1, dtype=self.fine)
        target_R1 = targets_R[:, None]
        self.loss -= log_p_RV.gather(1, target_R1).sum() * (1 - smoothing)
        if smoothing:
            self.loss -= log_p_RV.mean(-1).sum() * smoothing
        if any(gradient is not None for gradient in self.gradients):
            grad_RV = log_p_RV.exp_()  # less the target's distribution
            if smoothing:
                grad_RV.sub_(smoothing / grad_RV.shape[1])
            grad_RV.scatter_add_(1, target_R1, grad_RV.new_full(target_R1.shape, smoothing - 1))
            self._pass_back(block, x_RH, grad_RV.to(x_RH.dtype))

    def _pass_back(self, block: slice, x_RH: Tensor, grad_RV: Tensor) -> None:
        grad_x_NH, grad_weight_VH, grad_bias_V = self.gradients
        share = 1 / len(self.x_NH)
        if grad_x_NH is not None:
            grad_x_NH[block] = (grad_RV @ self.weight_VH).mul_(share)
        if grad_weight_VH is not None and grad_weight_VH.dtype == x_RH.dtype:
            grad_weight_VH.addmm_(grad_RV.T, x_RH, alpha=share)
        elif grad_weight_VH is not None:
            grad_weight_VH.add_(grad_RV.T @ x_RH, alpha=share)
        if grad_bias_V is not None:
            grad_bias_V.add_(grad_RV.sum(0, dtype=self.fine), alpha=share)
