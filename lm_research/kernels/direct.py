"""An operator's work without the way through PyTorch's registry.

For an operator written in Python the registry looks at every argument's declaration at every call,
which costs 0.1 to 0.2 ms: as much as a small layer's arithmetic. What looks at operators still
meets them: torch.compile, tracing, torch.func, the profiler, modes (activation checkpointing, fake
tensors), other kinds of tensors.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lm_research.kernels.derivatives import refuse_differentiated

PLAIN = (Tensor, nn.Parameter)


def direct(
    operator: Callable[..., Any],
    run: Callable[..., Any],
    context: Callable[..., None],
    gradient: Callable[..., Any],
) -> Callable[..., Any]:
    """``operator``, called as such only where somebody watches.

    Args:
        operator: registered, with the same three functions.
        run: its implementation.
        context: (ctx, inputs, output), what the gradient needs.
        gradient: (ctx, *gradients of outputs), those of the inputs.
    """

    class Direct(torch.autograd.Function):
        """The same by autograd's own means; in its older form, which looks at no signature."""

        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = run(*inputs)
            context(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return gradient(ctx, *gradients)

    def call(*inputs: Any) -> Any:
        refuse_differentiated(*(x for x in inputs if isinstance(x, Tensor)))
        return operator(*inputs) if is_watched(inputs) else Direct.apply(*inputs)

    return call


def is_watched(inputs: Sequence[Any]) -> bool:
    """Whether anything but autograd is to see the operator."""
    return (
        torch.compiler.is_compiling()
        or bool(torch.jit.is_tracing())  # type: ignore[attr-defined]
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._autograd._profiler_enabled()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or any(isinstance(x, Tensor) and type(x) not in PLAIN for x in inputs)
    )
