"""The loss of an output layer, by blocks of rows where all logits at once would be many.

Shapes: N rows, H hidden, V what is predicted.
"""

import torch.nn.functional as F
from torch import Tensor

from lm_research.kernels import linear_cross_entropy

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
    if targets_N.numel() * len(weight_VH) < MANY_LOGITS:
        logits_NV = F.linear(y_NH, weight_VH, bias_V)
        return F.cross_entropy(logits_NV, targets_N, ignore_index=ignore, label_smoothing=smoothing)
    weights = weight_VH, bias_V
    if y_NH.device.type != "cpu":  # which rows count is not asked for: a GPU would be waited for
        return linear_cross_entropy(y_NH, *weights, targets_N, smoothing, ignore_index=ignore)
    real_N = targets_N != ignore
    if not real_N.all():
        y_NH, targets_N = y_NH[real_N], targets_N[real_N]
    return linear_cross_entropy(y_NH, *weights, targets_N, smoothing)
