"""Loss and gradient of rows of logits in one kernel, in place.

A program has one row and looks at it twice: for the largest logit and the sum of exponentials, kept
up together (Milakov & Gimelshein 2018, "Online normalizer calculation for softmax"), then to put
the gradient where the logit was. Of both looks a row of fifty thousand logits in 16 bits is 100 KB,
so that the second finds it in a cache.

Sums are of z - max z, never of z: a logit of 10,000 has but three digits behind its point.

Shapes: R rows, V vocabulary.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.cross_entropy_rows import Asked, empty_results
from lm_research.kernels.fused.launch import INTERPRETED

BLOCKS = (1024, 4096)
"""Logits that a program looks at together: the first that V fits into, else the last."""
LOGITS_A_THREAD = 16


@triton.jit
def rows_kernel(
    logits_ptr,
    targets_ptr,
    loss_ptr,
    rank_ptr,
    V,
    SMOOTHING: tl.constexpr,
    IGNORE: tl.constexpr,
    GRADIENT: tl.constexpr,
    BLOCK_V: tl.constexpr,
    ACC: tl.constexpr,
):
    """One row: its loss, its target's rank unless that is None, with GRADIENT its gradient."""
    row = tl.program_id(0).to(tl.int64)
    logits_ptr += row * V
    target = tl.load(targets_ptr + row)
    counts = target != IGNORE
    # NaN for a target that does not exist, which is then seen in the loss
    exists = (target >= 0) & (target < V)
    own = tl.load(logits_ptr + target, mask=exists, other=float("nan")).to(ACC)
    lanes = tl.arange(0, BLOCK_V)
    # finite, so that no difference of two infinities arises
    peak = tl.full((), -3.0e38, ACC)
    total = tl.full((), 0.0, ACC)
    behind = tl.full((), 0, tl.int32)
    for first in range(0, V, BLOCK_V):
        v = first + lanes
        z = tl.load(logits_ptr + v, mask=v < V, other=-float("inf")).to(ACC)
        higher = tl.maximum(peak, tl.max(z, 0))
        total = total * tl.exp(peak - higher) + tl.sum(tl.exp(z - higher), 0)
        peak = higher
        if rank_ptr is not None:
            after = ((z < own) | ((z == own) & (v >= target))) & (v < V)
            behind += tl.sum(after.to(tl.int32), 0)
    if rank_ptr is not None:
        tl.store(rank_ptr + row, tl.where(counts, V - behind, V).to(tl.int64))
    log_total = tl.log(total)
    loss = log_total + (peak - own)
    if GRADIENT or SMOOTHING > 0:
        below = tl.full((), 0.0, ACC)
        share = 1.0 / total
        kept = tl.full((), 1.0 - SMOOTHING, ACC)
        spread = tl.full((), SMOOTHING, ACC) / V
        for first in range(0, V, BLOCK_V):
            v = first + lanes
            z = tl.load(logits_ptr + v, mask=v < V, other=-float("inf")).to(ACC)
            if SMOOTHING > 0:
                below += tl.sum(tl.where(v < V, peak - z, 0.0), 0)
            if GRADIENT:
                grad = tl.exp(z - peak) * share - tl.where(v == target, kept, 0.0)
                if SMOOTHING > 0:
                    grad -= spread
                tl.store(logits_ptr + v, tl.where(counts, grad, 0.0), mask=v < V)
        if SMOOTHING > 0:
            loss = (1.0 - SMOOTHING) * loss + SMOOTHING * (log_total + below / V)
    tl.store(loss_ptr + row, tl.where(counts, loss, 0.0))


def block_of(vocabulary_size: int) -> int:
    """Of :data:`BLOCKS`."""
    return next((block for block in BLOCKS if vocabulary_size <= block), BLOCKS[-1])


def options_of(block: int, amd: bool) -> dict[str, int]:
    """Warps: few logits a thread, which leaves registers for several programs a processor.

    Left to itself, NVIDIA's assembler spills some at a limit of its own (see ``launch``).
    """
    options = {"num_warps": block // LOGITS_A_THREAD // (64 if amd else 32), "num_stages": 1}
    return options if amd else {**options, "maxnreg": 128}


def turn_into_gradient(
    logits_RV: Tensor, targets_R: Tensor, asked: Asked, grad_bias_V: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As :func:`lm_research.kernels.cross_entropy_rows.turn_into_gradient`."""
    loss_R, rank_R = empty_results(logits_RV, asked.ranks)
    rows, vocabulary = logits_RV.shape
    block = block_of(vocabulary)
    with torch.cuda.device_of(logits_RV):  # Triton launches on the current device
        rows_kernel[(rows,)](
            logits_RV,
            targets_R.contiguous(),
            loss_R,
            rank_R if asked.ranks != "none" else None,
            vocabulary,
            SMOOTHING=asked.smoothing,
            IGNORE=asked.ignore,
            GRADIENT=asked.gradient,
            BLOCK_V=block,
            ACC=tl.float64 if logits_RV.dtype == torch.float64 else tl.float32,
            **options_of(block, torch.version.hip is not None or INTERPRETED),
        )
    if asked.gradient and grad_bias_V is not None:
        grad_bias_V.add_(logits_RV.sum(0, dtype=grad_bias_V.dtype))
    return loss_R, rank_R
