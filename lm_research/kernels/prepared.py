"""One step of a layer, prepared once for the many of generation.

A call of the layer itself looks at its input, at what it was asked for and at its weights anew;
where a step takes a few microseconds that is most of it.

Shapes: B rows, I input size, H hidden size.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from lm_research.kernels.checks import autocast
from lm_research.kernels.obstacles import Cell, Wanted, cpu_obstacle
from lm_research.kernels.one_step import CELLS
from lm_research.kernels.stack import RecurrentStack

PACKED = 1 << 22
"""Numbers of a matrix that is packed for a linear map at most: 16 MB, a few steps' time."""
Step = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""x_BI and the states (h_BH; of an LSTM h_BH, c_BH), to the states after the step. h is y."""


def prepared_step(layer: RecurrentStack) -> Step | None:
    """The layer's step on its weights as they are now, without gradients; a CPU's.

    By compiled code where there is numba (float32), else by PyTorch's cells. None where the layer
    itself has to be called: several layers or directions, autocast, a GPU, what ``torch.nn`` does
    not know, a backend that was asked for by name.
    """
    weight = cast(Tensor, layer.weight_ih_l0)
    several = layer.num_layers > 1 or layer.bidirectional or layer.proj_size
    if several or not weight.is_cpu or autocast(weight) or layer._beyond():
        return None
    parts = tuple(None if part is None else part.detach() for part in layer.parts(0))
    if layer.backend in ("auto", "cpu") and _compiles(layer.cell, weight, layer.hidden_size):
        from lm_research.kernels.fused.cpu.steps import CompiledStep

        return CompiledStep(layer.mode, *cast(Any, parts))
    if layer.backend not in ("auto", "torch"):
        return None
    return partial(_by_cell, CELLS[layer.mode], parts)


def prepared_linear(weight_NK: Tensor, bias_N: Tensor | None) -> Callable[[Tensor], Tensor]:
    """x_BK to W x + b, on the weights as they are now and without gradients."""
    weight_NK = weight_NK.detach()
    bias_N = None if bias_N is None else bias_N.detach()
    small = weight_NK.numel() <= PACKED
    if small and not autocast(weight_NK) and _compiles("rnn", weight_NK, len(weight_NK)):
        from lm_research.kernels.fused.cpu.steps import CompiledLinear

        return CompiledLinear(weight_NK, bias_N)
    return lambda x_BK: F.linear(x_BK, weight_NK, bias_N)


def _compiles(cell: Cell, weight: Tensor, size: int) -> bool:
    """Whether there is compiled code for such a weight."""
    wanted = Wanted(cell, weight.device, weight.dtype, size, size, "ieee")
    return weight.dtype == torch.float32 and cpu_obstacle(wanted) is None


def _by_cell(
    cell: Callable[..., Any], parts: tuple[Any, ...], x_BI: Tensor, states: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    if len(states) == 1:
        return (cell(x_BI, states[0], *parts),)
    after: tuple[Tensor, ...] = cell(x_BI, states, *parts)
    return after
