"""The Elman scan spread over several processors, for one layer or a stack of them.

Shapes: B batch, T time, H hidden size, D head size, G gates x hidden size; all with a dimension of
layers before them if there is a stack, but gates and y's gradient.
"""

from torch import Tensor

from lm_research.kernels.fused.spread.kernels.elman import backward_kernel, forward_kernel
from lm_research.kernels.fused.spread.launch import ALONE, Launch, Stack
from lm_research.kernels.fused.spread.plan import Plan
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


def forward(
    gates_BTH: Tensor,
    weight_HD: Tensor,
    h0_BH: Tensor,
    walk: Walk,
    save: bool,
    relu: bool,
    plan: Plan | None = None,
    stack: Stack = ALONE,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and, if ``save`` and zoneout keeps a share, f's values."""
    launch = Launch("rnn", "forward", gates_BTH, weight_HD, walk, plan)
    y_BTH, h_BH = launch.empty(), empty_as(h0_BH)
    values_BTH = launch.empty() if save and walk.share_h is not None else None
    inputs = (gates_BTH, weight_HD, h0_BH, stack.weight, stack.bias, stack.feed)
    outputs = (y_BTH, h_BH, values_BTH, stack.fed)
    launch(forward_kernel, inputs, outputs, h0_BH, RELU=relu)
    return y_BTH, h_BH, gates_BTH.new_empty(0) if values_BTH is None else values_BTH


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    values_BTH: Tensor,
    weight_HD: Tensor,
    walk: Walk,
    relu: bool,
    plan: Plan | None = None,
    stack: Stack = ALONE,
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the gates and of h0; ``values_BTH`` are f's, or y."""
    dgates_BTH, dh0_BH = empty_as(values_BTH), empty_as(dh_BH)
    launch = Launch("rnn", "backward", dy_BTH, weight_HD, walk, plan)
    inputs = (dy_BTH, dh_BH, values_BTH, weight_HD, stack.weight, stack.feed)
    launch(backward_kernel, inputs, (dgates_BTH, dh0_BH), RELU=relu)
    return dgates_BTH, dh0_BH
