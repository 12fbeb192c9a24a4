"""Penalties on what a recurrent model gives (Merity, McCann and Socher 2017,
https://arxiv.org/abs/1708.01009), as AWD-LSTM has them.

AR  = alpha mean(y^2),                y what the output layer reads, with its dropped units
TAR = beta mean((h_t - h_{t+1})^2),   h the last layer's outputs before their dropout

Means are over all entries: of lanes, steps (for TAR pairs of neighbouring steps) and units.

Shapes: B batch, T time, H output size.
"""

from torch import Tensor


def activation_penalties(
    y_BTH: Tensor, raw_BTH: Tensor, alpha: float, beta: float
) -> Tensor | float:
    """AR + TAR of one window; a scalar, 0.0 where neither is asked for.

    Args:
        y_BTH: after the dropout of outputs.
        raw_BTH: before it.
        alpha, beta: at least 0. A window of one step has no neighbours, and no TAR.
    """
    penalty: Tensor | float = 0.0
    if alpha:
        penalty = penalty + alpha * y_BTH.pow(2).mean()
    if beta and raw_BTH.shape[1] > 1:
        penalty = penalty + beta * (raw_BTH[:, 1:] - raw_BTH[:, :-1]).pow(2).mean()
    return penalty


def in_the_gradient(loss: Tensor, penalty: Tensor | float) -> Tensor:
    """``loss``, to the last bit, with the gradient of ``loss + penalty``.

    What is reported as a loss thus stays one: of a penalty that is finite nothing is left in it.
    """
    if isinstance(penalty, float):
        return loss
    return loss + (penalty - penalty.detach())
