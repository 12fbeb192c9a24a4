"""One step of a layer, prepared once for the many of generation.

A call of the layer itself looks at its input, at what it was asked for and at its weights anew;
where a step takes a few microseconds that is most of it.

Shapes: B rows, I input size, H hidden size.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from torch import Tensor

from lm_research.kernels.checks import autocast
from lm_research.kernels.obstacles import Wanted, cpu_obstacle
from lm_research.kernels.one_step import CELLS
from lm_research.kernels.stack import RecurrentStack

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
    size = layer.hidden_size
    if layer.backend in ("auto", "cpu"):
        wanted = Wanted(layer.cell, weight.device, weight.dtype, size, size, "ieee")
        if weight.dtype.itemsize == 4 and cpu_obstacle(wanted) is None:
            from lm_research.kernels.fused.cpu.steps import CompiledStep

            return CompiledStep(layer.mode, *cast(Any, parts))
    if layer.backend not in ("auto", "torch"):
        return None
    return partial(_by_cell, CELLS[layer.mode], parts)


def _by_cell(
    cell: Callable[..., Any], parts: tuple[Any, ...], x_BI: Tensor, states: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    if len(states) == 1:
        return (cell(x_BI, states[0], *parts),)
    after: tuple[Tensor, ...] = cell(x_BI, states, *parts)
    return after
