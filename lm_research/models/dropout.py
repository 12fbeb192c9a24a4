"""Dropout of a sequence: a new mask at every step, or one mask for the whole window.

Shapes: B batch, T time, D size.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

DropoutKind = Literal["standard", "variational"]


def check_dropout(name: str, p: float) -> None:
    """Refuse a probability outside [0, 1)."""
    if not 0 <= p < 1:
        raise ValueError(f"{name} is {p}; it must lie within [0, 1)")


def sequence_dropout(x_BTD: Tensor, p: float, kind: DropoutKind) -> Tensor:
    """Zero entries of x_BTD with probability ``p`` and scale the others by 1 / (1 - p).

    ``standard`` draws a mask a step (Zaremba et al. 2014, https://arxiv.org/abs/1409.2329);
    ``variational`` draws one mask a sequence and keeps it at every step of the window (Gal and
    Ghahramani 2016, https://arxiv.org/abs/1512.05287). For training: callers skip it otherwise.
    """
    if p == 0:
        return x_BTD
    if kind == "standard":
        return F.dropout(x_BTD, p)
    keep = 1 - p
    mask_B1D = x_BTD.new_empty(x_BTD.shape[0], 1, x_BTD.shape[2]).bernoulli_(keep)
    return x_BTD * mask_B1D.div_(keep)
