"""Whether a model is being written down as a graph rather than run, and what is fixed in one."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Asking = TypeVar("Asking", bound=Callable[..., Any])


def constant(function: Asking) -> Asking:
    """What torch.compiler.assume_constant_result does, without importing Triton with Dynamo."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def is_traced() -> bool:
    """True inside ``torch.jit.trace``: what Python branches on or counts would be fixed."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined]


def is_recorded() -> bool:
    """True if a graph is written down that gradients may be asked of later: traced or exported."""
    return is_traced() or torch.compiler.is_exporting()
