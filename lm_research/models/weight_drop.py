"""Weight drop: DropConnect (Wan et al. 2013) on the recurrent matrix U of a layer.

Shapes: B batch, T time, D input size, H hidden size.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

RECURRENT = "weight_hh_l0"
"""U of a one-layer module, as ``torch.nn`` names it."""


def call_weight_dropped(layer: nn.Module, p: float, x_BTD: Any, hidden: Any, **options: Any) -> Any:
    """``layer(x_BTD, hidden, **options)`` with entries of U left out (Merity et al. 2017).

    Each entry of U is zero with probability ``p``, by one mask for all rows and all steps of the
    window; the others are divided by 1 - p. Gradients are those of U itself. For training: in
    evaluation U is whole, and callers do without this (https://arxiv.org/abs/1708.02182).

    Args:
        layer: a recurrent layer of ``lm_research.kernels``, whose parameters stay what they are.
        p: within (0, 1).
        x_BTD, hidden, options: as the layer takes them.
    """
    weight = layer.get_parameter(RECURRENT)
    dropped: Tensor = F.dropout(weight, p)
    found = functional_call(layer, {RECURRENT: dropped}, (x_BTD, hidden), options)
    layer.plain()  # type: ignore[operator]  # its torch.nn layer lets go of the dropped matrix
    return found
