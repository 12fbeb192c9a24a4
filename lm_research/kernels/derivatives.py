"""Derivatives that autograd's backward pass does not take: forward mode, and torch.func's.

An operator of ours has none of them. PyTorch does not say so: in forward mode the derivative of
what a custom operator returns is zero.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from lm_research.kernels.tracing import constant

_functorch = torch._C._functorch


def is_differentiated(*tensors: Tensor | None) -> bool:
    """Whether such a derivative is taken by one of the tensors.

    In a graph that is being compiled: whether any is taken at all.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    if torch.compiler.is_compiling():
        # Dynamo guards what it sees read: a level of forward mode, and torch.func's kinds of
        # tensors, without which this function, compiled alone, would be taken within others, too
        read = [tensor.requires_grad for tensor in given]
        return bool(read) and (forward_ad._current_level >= 0 or _is_transformed())
    if forward_ad._current_level < 0 and _functorch.peek_interpreter_stack() is None:
        return False  # as a rule; every call of a layer asks
    return any(map(_is_tracked, given))


def refuse_differentiated(*tensors: Tensor | None) -> None:
    """No such derivative goes through a fused scan.

    Raises:
        RuntimeError: one is taken.
    """
    if is_differentiated(*tensors):
        raise RuntimeError(
            "torch.func and forward mode take no derivative through a fused scan: use "
            "backend='torch' or 'reference', or torch.autograd"
        )


def _is_tracked(tensor: Tensor) -> bool:
    """By a level of torch.func around the call, or by a tangent of its own."""
    forward = _functorch.TransformType.Jvp in _levels()
    while _functorch.is_functorch_wrapped_tensor(tensor):
        needed = forward or (tensor.requires_grad and torch.is_grad_enabled())
        if needed and _functorch.is_gradtrackingtensor(tensor):
            return True
        tensor = _functorch.get_unwrapped(tensor)
    return forward_ad.unpack_dual(tensor).tangent is not None


def _levels() -> list[Any]:
    """Kinds of torch.func's transforms around the call."""
    return [level.key() for level in _functorch.get_interpreter_stack() or ()]


@constant
def _is_transformed() -> bool:
    kinds = _functorch.TransformType
    return bool({kinds.Grad, kinds.Jvp} & {*_levels()})
