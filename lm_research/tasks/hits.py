"""How many predictions of a training step are right, from logits that its loss has made anyway.

Shapes: N rows, V what is predicted.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lm_research.kernels.largest import first_largest


def hits_of(logits_NV: Tensor, targets_N: Tensor, ignore: int) -> Tensor:
    """hits_2: how many targets have their row's largest logit, and how many count.

    Of equal logits the one of lower index is the prediction, as in evaluation.

    Args:
        logits_NV: any floating type; not differentiated.
        targets_N: int64.
        ignore: a target that counts for nothing.
    """
    return tally(first_largest(logits_NV) == targets_N, targets_N, ignore)


def tally(hit_N: Tensor, targets_N: Tensor, ignore: int) -> Tensor:
    """hits_2 (int64, where the targets are): of the targets that count, the hits, and all of them.

    A GPU is not waited for. On a CPU NumPy counts, at a quarter of the cost of as many operators.
    """
    if targets_N.device.type != "cpu":
        real_N = targets_N != ignore
        return torch.stack([(hit_N & real_N).sum(), real_N.sum()])
    hit, real = hit_N.numpy(), targets_N.numpy() != ignore
    counts: list[Any] = [np.count_nonzero(hit & real), np.count_nonzero(real)]
    return torch.tensor(counts)
