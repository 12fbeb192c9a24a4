"""What the operators of this package share."""

from typing import Any

import torch
from torch import Tensor


def empty_as(tensor: Tensor) -> Tensor:
    """Memory for a result of ``tensor``'s size and type, laid out as kernels write it."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    """The gradient of an output that nothing used is zero."""
    return torch.zeros_like(like) if gradient is None else gradient


def not_twice(backward: Any) -> None:
    """Make a second derivative through the operator ``backward`` an error that names the fix."""
    backward.register_autograd(refuse, setup_context=remember_nothing)


def refuse(ctx: Any, *gradients: Any) -> Any:
    """The gradient of a backward scan. Raises RuntimeError: there is none."""
    raise RuntimeError(
        "a fused scan cannot be differentiated twice: use backend='reference' for second "
        "derivatives"
    )


def remember_nothing(ctx: Any, inputs: Any, output: Any) -> None:
    """There is no second derivative to remember anything for."""
