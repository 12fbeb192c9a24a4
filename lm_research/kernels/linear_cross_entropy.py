"""The output layer and its cross-entropy in one, a few rows at a time.

Written out, ``cross_entropy(linear(x))`` holds the logits of all N rows, their log-softmax and its
gradient: three matrices of N x V, most of the memory of a model with a large vocabulary. Here the
logits of a block of rows live until their gradient has been taken, which the forward pass does at
once and in their place, as the loss is a mean (Hsu et al. 2024, "Liger Kernel"; docs/decisions/0029
says why not as Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language Models").

Two backends: ``torch``, on any device, and ``triton``, where one kernel makes loss and gradient of
a block's logits; the products are PyTorch's in both.

Shapes: N rows, H features, V vocabulary, R rows of a block.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from lm_research.kernels import cross_entropy_ops
from lm_research.kernels.checks import check_device, check_name, check_size, check_type
from lm_research.kernels.cross_entropy_rows import Ranks
from lm_research.kernels.derivatives import is_differentiated
from lm_research.kernels.obstacles import unavailable

Backend = Literal["auto", "torch", "triton"]

BLOCK, GPU_BLOCK = 1 << 24, 1 << 27
"""Bytes of a block's logits on a CPU (measured) and on a GPU (counted: docs/decisions/0029)."""
_FEWEST_ROWS, _MOST_ROWS = 256, 4096
"""Every block reads and writes the whole weight's gradient: with fewer rows that is most of the
time. More than the latter gain none, and float16 sums over them come near its limit."""
NO_DERIVATIVE = (
    "linear_cross_entropy has no derivative in forward mode (torch.autograd.forward_ad, "
    "torch.func.jvp) and none that torch.func takes (grad, vjp, jacrev): use "
    "F.cross_entropy(F.linear(x, weight, bias), targets), or torch.autograd's backward pass"
)


def block_rows(
    vocabulary_size: int, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> int:
    """R for a vocabulary, a type of products and a type of device."""
    block = BLOCK if device == "cpu" else GPU_BLOCK
    rows = block // (vocabulary_size * dtype.itemsize)
    return min(max(rows, _FEWEST_ROWS), _MOST_ROWS)


def linear_cross_entropy(
    x_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    label_smoothing: float = 0.0,
    rows: int | None = None,
    *,
    ignore_index: int = -100,
    backend: Backend = "auto",
) -> Tensor:
    """``F.cross_entropy(F.linear(x, weight, bias), targets)`` without the logits of all rows.

    Args:
        x_NH: float32, float64, bfloat16 or float16.
        weight_VH: of the output layer, of x's type unless autocast says that of the products.
        bias_V: likewise, or None.
        targets_N: int64, each in [0, V) or ``ignore_index``; with Triton any other makes the loss
            NaN.
        label_smoothing: share of a target's mass, 0 to 1, that is spread over the vocabulary.
        rows: R, at least 1; by default :func:`block_rows`.
        ignore_index: a target that counts for nothing, as in ``F.cross_entropy``.
        backend: ``torch``, ``triton``, or ``auto``: Triton on a GPU where it is installed.

    Returns:
        The mean in nats over the targets that count, NaN if there are none; float32, or float64 for
        float64.

    Raises:
        ValueError: there are no rows, not as many targets, or no such backend.
        IndexError: a target is not below V (``torch`` on a CPU).
        RuntimeError: sizes, types or devices do not fit; ``triton`` was asked for by name and
            cannot serve the call; a derivative is taken in forward mode or by torch.func; or from
            its backward pass, when that is to be differentiated, too.
    """
    options = (label_smoothing, rows, ignore_index, backend)
    return _loss_and_ranks(x_NH, weight_VH, bias_V, targets_N, *options, ranks="none")[0]


def linear_cross_entropy_with_ranks(
    x_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    label_smoothing: float = 0.0,
    rows: int | None = None,
    *,
    ignore_index: int = -100,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """The loss as :func:`linear_cross_entropy`, and ranks of the targets from the same logits.

    Returns:
        The loss, and rank_N (int64): how many logits are before the target's, of equal ones those
        of lower index; V where the target does not count. ``(rank_N == 0).sum()`` predictions are
        right, ``(rank_N < k).sum()`` targets among the first k.
    """
    options = (label_smoothing, rows, ignore_index, backend)
    return _loss_and_ranks(x_NH, weight_VH, bias_V, targets_N, *options, ranks="all")


def linear_cross_entropy_with_hits(
    x_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    label_smoothing: float = 0.0,
    rows: int | None = None,
    *,
    ignore_index: int = -100,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """The loss as :func:`linear_cross_entropy`, and which targets are what would be predicted.

    On a CPU far cheaper than ranks: one look at every logit while it is in the cache.

    Returns:
        The loss, and hit_N (bool): the target's logit is the largest of its row, and the first of
        equal ones; False where the target does not count.
    """
    options = (label_smoothing, rows, ignore_index, backend)
    loss, rank_N = _loss_and_ranks(x_NH, weight_VH, bias_V, targets_N, *options, ranks="first")
    return loss, rank_N == 0


def _loss_and_ranks(
    x_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    smoothing: float,
    rows: int | None,
    ignore: int,
    backend: Backend,
    *,
    ranks: Ranks,
) -> tuple[Tensor, Tensor]:
    given = (x_NH, weight_VH, bias_V)
    _check_linear(*given)
    _check_loss(x_NH, targets_N, smoothing)
    _check_way(rows, backend)
    if is_differentiated(*given):
        raise RuntimeError(NO_DERIVATIVE)
    kind = x_NH.device.type
    cast = torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if cast else x_NH.dtype
    fused = _is_fused(x_NH.device, dtype, backend)
    enabled = torch.is_grad_enabled()
    wanted = [enabled and of is not None and of.requires_grad for of in given]
    rows = rows or block_rows(len(weight_VH), dtype, kind)
    options = (dtype, smoothing, ignore, rows, ranks, fused, wanted)
    loss, _, rank_N, *_ = cross_entropy_ops.linear_cross_entropy(*given, targets_N, *options)
    return loss, rank_N


def _check_linear(x_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None) -> None:
    """What ``F.linear`` would refuse, or would stretch a bias for."""
    if x_NH.dim() != 2:
        raise RuntimeError(f"x must have 2 dimensions (N, H), got {x_NH.dim()}")
    if not x_NH.is_floating_point():
        raise RuntimeError(f"Expected x's type to be floating, got {x_NH.dtype}")
    features = x_NH.shape[1]
    if weight_VH.dim() != 2 or weight_VH.shape[1] != features or not len(weight_VH):
        raise RuntimeError(
            f"Expected weight size (V, {features}) with V at least 1, got {list(weight_VH.shape)}"
        )
    check_device("weight", weight_VH, x_NH)
    check_type("weight", weight_VH, x_NH)
    if bias_V is not None:
        check_size("bias", bias_V, (len(weight_VH),), x_NH)
        check_type("bias", bias_V, x_NH)


def _check_loss(x_NH: Tensor, targets_N: Tensor, smoothing: float) -> None:
    """What ``F.cross_entropy`` would refuse, in its words; values of targets are not looked at."""
    if not len(x_NH):
        raise ValueError("linear_cross_entropy: x has no rows, and the mean of none is undefined")
    if targets_N.dtype != torch.int64:
        raise RuntimeError(
            f"expected target dtype to be Long (torch.int64), but got {targets_N.dtype}"
        )
    if targets_N.dim() != 1:
        raise RuntimeError(f"1D target tensor expected (N), got {list(targets_N.shape)}")
    if len(targets_N) != len(x_NH):
        raise ValueError(
            f"Expected input batch_size ({len(x_NH)}) to match target batch_size "
            f"({len(targets_N)})."
        )
    check_device("target", targets_N, x_NH)
    if not 0 <= smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {smoothing}")


def _check_way(rows: int | None, backend: Backend) -> None:
    """By what and how many rows at a time."""
    check_name("backend", backend, get_args(Backend))
    if rows is not None and rows < 1:
        raise ValueError(f"rows of a block must be at least 1, got {rows}")


def _is_fused(device: torch.device, dtype: torch.dtype, backend: Backend) -> bool:
    """Whether Triton's kernel serves it; ``auto`` leaves its interpreter to tests."""
    if backend == "torch":
        return False
    obstacle = unavailable(device, dtype)
    if backend == "triton" and obstacle:
        raise RuntimeError(f"backend='triton' cannot serve this call: {obstacle}; use 'auto'")
    return obstacle is None and (backend == "triton" or device.type == "cuda")
