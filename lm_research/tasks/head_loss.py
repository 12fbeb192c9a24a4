"""The loss of an output layer, by blocks of rows where all logits at once would be many.

Shapes: N rows, H hidden, V what is predicted.
"""

import torch.nn.functional as F
from torch import Tensor

from lm_research.kernels import linear_cross_entropy, linear_cross_entropy_with_hits
from lm_research.tasks.hits import hits_of, tally

MANY_LOGITS = 1 << 25
"""From here on the loss is taken by blocks: all at once they would be 128 MB in float32, thrice."""
NO_TARGET = -100


def head_loss(
    y_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    smoothing: float = 0.0,
    ignore: int = NO_TARGET,
) -> Tensor:
    """Mean cross-entropy in nats of log softmax(y W' + b), over the targets that count.

    Args:
        y_NH: what the output layer reads.
        weight_VH: its matrix.
        bias_V: likewise, or None.
        targets_N: int64.
        smoothing: share of a target's mass that is spread over V.
        ignore: a target that counts for nothing.
    """
    if _are_few(targets_N, weight_VH):
        logits_NV = F.linear(y_NH, weight_VH, bias_V)
        return F.cross_entropy(logits_NV, targets_N, ignore_index=ignore, label_smoothing=smoothing)
    y_NH, targets_N = _counting(y_NH, targets_N, ignore)
    weights = weight_VH, bias_V
    return linear_cross_entropy(y_NH, *weights, targets_N, smoothing, ignore_index=ignore)


def head_loss_with_hits(
    y_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    smoothing: float = 0.0,
    ignore: int = NO_TARGET,
) -> tuple[Tensor, Tensor]:
    """The same loss to the last bit, and hits_2 (:mod:`lm_research.tasks.hits`) of its logits."""
    if _are_few(targets_N, weight_VH):
        logits_NV = F.linear(y_NH, weight_VH, bias_V)
        loss = F.cross_entropy(logits_NV, targets_N, ignore_index=ignore, label_smoothing=smoothing)
        return loss, hits_of(logits_NV, targets_N, ignore)
    y_NH, targets_N = _counting(y_NH, targets_N, ignore)
    weights = weight_VH, bias_V
    loss, hit_N = linear_cross_entropy_with_hits(
        y_NH, *weights, targets_N, smoothing, ignore_index=ignore
    )
    return loss, tally(hit_N, targets_N, ignore)


def _are_few(targets_N: Tensor, weight_VH: Tensor) -> bool:
    return targets_N.numel() * len(weight_VH) < MANY_LOGITS


def _counting(y_NH: Tensor, targets_N: Tensor, ignore: int) -> tuple[Tensor, Tensor]:
    """The rows that count; on a GPU all of them, as it would be waited for."""
    if y_NH.device.type != "cpu":
        return y_NH, targets_N
    real_N = targets_N != ignore
    return (y_NH, targets_N) if real_N.all() else (y_NH[real_N], targets_N[real_N])
