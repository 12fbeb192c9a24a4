"""The loss of an output layer, by blocks of rows where all logits at once would be many.

Shapes: B batch, T time, H hidden, N all rows, V what is predicted.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.kernels import linear_cross_entropy

MANY_LOGITS = 1 << 25
"""From here on the loss is taken by blocks: all at once they would be 128 MB in float32, thrice."""
NO_TARGET = -100


def head_loss(
    head: nn.Module,
    y_BTH: Tensor,
    targets_BT: Tensor,
    smoothing: float = 0.0,
    ignore: int = NO_TARGET,
) -> Tensor:
    """Mean cross-entropy in nats over the targets that are not ``ignore``.

    Args:
        head: the output layer, or an ``nn.Sequential`` that ends with it.
        y_BTH: what it reads.
        targets_BT: int64.
        smoothing: share of a target's mass that is spread over V.
        ignore: a target that counts for nothing.
    """
    *before, last = head if type(head) is nn.Sequential else [head]
    targets_N = targets_BT.flatten()
    if type(last) is not nn.Linear or targets_N.numel() * last.out_features < MANY_LOGITS:
        logits_NV = head(y_BTH).flatten(0, 1)
        return F.cross_entropy(logits_NV, targets_N, ignore_index=ignore, label_smoothing=smoothing)
    for layer in before:
        y_BTH = layer(y_BTH)
    y_NH, weights = y_BTH.flatten(0, 1), (last.weight, last.bias)
    if y_NH.device.type != "cpu":  # which rows count is not asked for: a GPU would be waited for
        return linear_cross_entropy(y_NH, *weights, targets_N, smoothing, ignore_index=ignore)
    real_N = targets_N != ignore
    if not real_N.all():
        y_NH, targets_N = y_NH[real_N], targets_N[real_N]
    return linear_cross_entropy(y_NH, *weights, targets_N, smoothing)
