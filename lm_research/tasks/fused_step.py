"""Optimizers that update all numbers of a tensor in one pass over it, where PyTorch has them.

On a CPU PyTorch's own choice is one operation after the other, each over the whole tensor: three to
six times as slow for Adam. Both follow the same formula; their last bits differ.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_DTYPES = (torch.float32, torch.float64)
_CHOSEN = ("fused", "foreach", "capturable", "differentiable")


def fused_where_faster(
    kind: type, given: Mapping[str, Any], params: Sequence[Any], scaled: bool
) -> dict[str, bool]:
    """What to give an optimizer's constructor beside ``given``.

    Args:
        kind: its class.
        given: what the configuration says; a choice there stands.
        params: tensors, or groups of them with ``params``.
        scaled: whether gradients are scaled (float16), which Lightning refuses to clip for a fused
            optimizer.

    Returns:
        ``{"fused": True}``, or nothing: for classes without it, and for parameters that are not
        float32 or float64 on a CPU (on a GPU PyTorch's own choice is no slow one).
    """
    if scaled or any(name in given for name in _CHOSEN):
        return {}
    if "fused" not in inspect.signature(kind).parameters:
        return {}
    tensors = [tensor for part in params for tensor in _tensors(part)]
    fits = all(t.device.type == "cpu" and t.dtype in _DTYPES for t in tensors)
    return {"fused": True} if tensors and fits else {}


def _tensors(part: Any) -> Sequence[Tensor]:
    return list(part["params"]) if isinstance(part, Mapping) else [part]
