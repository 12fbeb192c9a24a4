"""The output layer and its cross-entropy as one PyTorch operator, in blocks of rows.

Known to autograd and to torch.compile. The forward pass makes the gradients, too, as those of the
rows' sum; the backward pass scales them.

Shapes: N rows, H features, V vocabulary, R rows of a block.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from lm_research.kernels.cross_entropy_rows import Asked, Ranks, fine_type, turn_into_gradient
from lm_research.kernels.operators import empty_as


def compute(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    dtype: torch.dtype,
    smoothing: float,
    ignore: int,
    rows: int,
    ranks: str,
    fused: bool,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Mean loss, how many targets it is of, ranks, and gradients of the sum of losses.

    Args:
        x: (N, H).
        weight: (V, H).
        bias: (V) or None.
        targets: (N), int64.
        dtype: of the products.
        smoothing: share of a target's mass that is spread over the vocabulary.
        ignore: a target that counts for nothing.
        rows: R.
        ranks: see :data:`lm_research.kernels.cross_entropy_rows.Ranks`; "none": no elements.
        fused: by Triton's kernel.
        wanted: gradients of x, weight and bias; without elements where not wanted.
    """
    with torch.autocast(x.device.type, enabled=False):  # dtype is what it says already
        asked = Asked(smoothing, ignore, cast(Ranks, ranks), gradient=any(wanted))
        blocks = _Blocks(x, weight, bias, dtype, wanted)
        found = [
            blocks.add(slice(first, first + rows), targets[first : first + rows], asked, fused)
            for first in range(0, len(x), rows)
        ]
    losses, places = (torch.cat(parts) for parts in zip(*found, strict=True))
    count = (targets != ignore).sum().to(losses.dtype)
    grad_x, grad_weight, grad_bias = blocks.gradients
    return losses.sum() / count, count, places, grad_x, grad_weight, grad_bias


linear_cross_entropy = custom_op("lm_research::linear_cross_entropy", compute, mutates_args=())


@linear_cross_entropy.register_fake
def _(x, weight, bias, targets, dtype, smoothing, ignore, rows, ranks, fused, wanted):  # type: ignore[no-untyped-def]
    number = x.new_empty((), dtype=fine_type(dtype))
    places = x.new_empty(len(x) if ranks != "none" else 0, dtype=torch.int64)
    gradients = _gradients(x, weight, bias, dtype, wanted, torch.empty_like)
    return number, torch.empty_like(number), places, *gradients


def _gradients(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dtype: torch.dtype,
    wanted: list[bool],
    make: Any,
) -> list[Tensor]:
    """Sums over blocks are finer than 16 bits, which would round at each."""
    given = [(x, x.dtype), (weight, fine_type(dtype)), (bias, fine_type(dtype))]
    return [
        make(empty_as(of), dtype=kind) if of is not None and need else x.new_empty(0)
        for (of, kind), need in zip(given, wanted, strict=True)
    ]


class _Blocks:
    """Gradients of the sum of the rows' losses, block by block."""

    def __init__(
        self,
        x_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        dtype: torch.dtype,
        wanted: list[bool],
    ) -> None:
        self.x_NH, self.weight_VH = x_NH.to(dtype), weight_VH.to(dtype)
        self.bias_V = None if bias_V is None else bias_V.to(dtype)
        self.wanted = wanted
        self.gradients = _gradients(x_NH, weight_VH, bias_V, dtype, wanted, torch.zeros_like)

    def add(
        self, block: slice, targets_R: Tensor, asked: Asked, fused: bool
    ) -> tuple[Tensor, Tensor]:
        """Losses and ranks of the block's rows."""
        x_RH = self.x_NH[block]
        logits_RV = F.linear(x_RH, self.weight_VH, self.bias_V)
        grad_bias_V = self.gradients[2] if self.bias_V is not None and self.wanted[2] else None
        turn = _fused_turn() if fused else turn_into_gradient
        found: tuple[Tensor, Tensor] = turn(logits_RV, targets_R, asked, grad_bias_V)
        if asked.gradient:
            self._pass_back(block, x_RH, logits_RV)
        return found

    def _pass_back(self, block: slice, x_RH: Tensor, grad_RV: Tensor) -> None:
        grad_x_NH, grad_weight_VH, _ = self.gradients
        if self.wanted[0]:
            grad_x_NH[block] = grad_RV @ self.weight_VH
        if self.wanted[1] and grad_weight_VH.dtype == x_RH.dtype:
            grad_weight_VH.addmm_(grad_RV.T, x_RH)
        elif self.wanted[1]:
            grad_weight_VH.add_(grad_RV.T @ x_RH)


def _fused_turn() -> Any:
    """Here Triton is imported."""
    from lm_research.kernels.fused import cross_entropy

    return cross_entropy.turn_into_gradient


def _context(ctx: Any, inputs: Any, output: Any) -> None:
    x, weight, bias, *_, ctx.wanted = inputs
    _, count, places, *gradients = output
    ctx.types = [None if of is None else of.dtype for of in (x, weight, bias)]
    ctx.mark_non_differentiable(count, places, *gradients)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(count, *gradients)


def _scaled(ctx: Any, grad: Tensor | None, *others: Any) -> Any:
    if torch.is_grad_enabled():
        raise RuntimeError(
            "linear_cross_entropy cannot be differentiated twice (create_graph=True): use "
            "F.cross_entropy(F.linear(x, weight, bias), targets) for second derivatives"
        )
    if grad is None:
        return (None,) * 11
    count, *gradients = ctx.saved_tensors
    factor = grad / count.clamp(min=1)  # with no target at all every gradient is zero
    found = zip(gradients, ctx.types, ctx.wanted, strict=True)
    # a factor without dimensions is not rounded to the gradient's type
    scaled = ((g * factor).to(kind) if wanted else None for g, kind, wanted in found)
    return *scaled, *(None,) * 8


linear_cross_entropy.register_autograd(_scaled, setup_context=_context)
