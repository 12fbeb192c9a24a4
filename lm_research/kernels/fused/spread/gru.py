"""The GRU scan spread over several processors, for one layer or a stack of them.

Shapes: B batch, T time, H hidden size, D head size, G gates x hidden size; all with a dimension of
layers before them if there is a stack, but gates and y's gradient.
"""

from torch import Tensor

from lm_research.kernels.fused.spread.kernels.gru import backward_kernel, forward_kernel
from lm_research.kernels.fused.spread.launch import ALONE, Launch, Stack
from lm_research.kernels.fused.spread.plan import Plan
from lm_research.kernels.fused.spread.recompute import gru_gates
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


def forward(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
    save: bool,
    plan: Plan | None = None,
    stack: Stack = ALONE,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and, to ``save`` but not to recompute, r, z, n, U h + b'."""
    launch = Launch("gru", "forward", gates_BTG, weight_GD, walk, plan)
    y_BTH, h_BH = launch.empty(), empty_as(h0_BH)
    saved = launch.empty(4) if save and not walk.recompute else None
    inputs = (gates_BTG, weight_GD, h0_BH, bias_n_H, stack.weight, stack.bias, stack.feed)
    launch(forward_kernel, inputs, (y_BTH, h_BH, saved, stack.fed), h0_BH)
    return y_BTH, h_BH, gates_BTG.new_empty(0) if saved is None else saved


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    saved: Tensor,
    before_BTH: Tensor,
    weight_GD: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
    plan: Plan | None = None,
    stack: Stack = ALONE,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, of n's inner product U h + b', and of h0.

    Args:
        saved: what the forward scan saved; to recompute it the gates that it took.
        before_BTH: h_{t-1}, as it was before dropout.
    """
    if walk.recompute:
        saved = gru_gates(saved, before_BTH, weight_GD, bias_n_H, walk)
    launch = Launch("gru", "backward", dy_BTH, weight_GD, walk, plan)
    dgates_BTG, dinner_BTH, dh0_BH = launch.empty(3), launch.empty(), empty_as(dh_BH)
    inputs = (dy_BTH, dh_BH, saved, before_BTH, weight_GD, stack.weight, stack.feed)
    launch(backward_kernel, inputs, (dgates_BTG, dinner_BTH, dh0_BH))
    return dgates_BTG, dinner_BTH, dh0_BH
