"""The LSTM scan spread over several processors, for one layer or a stack of them.

Shapes: B batch, T time, H hidden size, D head size, G gates x hidden size; all with a dimension of
layers before them if there is a stack, but gates and y's gradient.
"""

from torch import Tensor

from lm_research.kernels.fused.spread.kernels.lstm import backward_kernel, forward_kernel
from lm_research.kernels.fused.spread.launch import ALONE, Launch, Stack
from lm_research.kernels.fused.spread.plan import Plan
from lm_research.kernels.fused.spread.recompute import lstm_gates
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


def forward(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    c0_BH: Tensor,
    walk: Walk,
    save: bool,
    plan: Plan | None = None,
    stack: Stack = ALONE,
) -> tuple[Tensor, ...]:
    """Returns y_BTH, h_BH, c_BH and, to ``save``, c_{t-1} and (not to recompute) gates' values."""
    launch = Launch("lstm", "forward", gates_BTG, weight_GD, walk, plan)
    y_BTH, h_BH, c_BH = launch.empty(), empty_as(h0_BH), empty_as(c0_BH)
    before_BTH = launch.empty(dtype=launch.accumulator) if save else None
    saved_BTG = launch.empty(4) if save and not walk.recompute else None
    layers = stack.weight, stack.bias, stack.feed
    launch(
        forward_kernel,
        (gates_BTG, weight_GD, h0_BH, c0_BH, walk.mask_c, *layers),
        (y_BTH, h_BH, c_BH, saved_BTG, before_BTH, stack.fed),
        h0_BH,
        SHARE_C=walk.share_c,
    )
    if before_BTH is None:
        before_BTH = gates_BTG.new_empty(0, dtype=launch.accumulator)
    return y_BTH, h_BH, c_BH, gates_BTG.new_empty(0) if saved_BTG is None else saved_BTG, before_BTH


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    dc_BH: Tensor,
    saved_BTG: Tensor,
    before_BTH: Tensor,
    hidden_BTH: Tensor | None,
    weight_GD: Tensor,
    walk: Walk,
    plan: Plan | None = None,
    stack: Stack = ALONE,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, h0 and c0.

    Args:
        saved_BTG: gates' values; to recompute them the gates as the forward scan took them.
        before_BTH: c_{t-1}.
        hidden_BTH: h_{t-1}, to recompute with; None otherwise.
    """
    if hidden_BTH is not None:
        saved_BTG = lstm_gates(saved_BTG, hidden_BTH, weight_GD, walk)
    launch = Launch("lstm", "backward", dy_BTH, weight_GD, walk, plan)
    dgates_BTG, dh0_BH, dc0_BH = launch.empty(4), empty_as(dh_BH), empty_as(dc_BH)
    given = (dy_BTH, dh_BH, dc_BH, saved_BTG, before_BTH, weight_GD, walk.mask_c)
    launch(
        backward_kernel,
        (*given, stack.weight, stack.feed),
        (dgates_BTG, dh0_BH, dc0_BH),
        SHARE_C=walk.share_c,
    )
    return dgates_BTG, dh0_BH, dc0_BH
