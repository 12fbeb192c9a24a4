"""Gates anew for the backward scan, of all steps at once: h_{t-1} is known, so it is one product.

Shapes: B batch, T time, H hidden size of a direction, D head size, R directions, G gates,
N heads of a direction.
"""

import torch
from torch import Tensor

from lm_research.kernels.walk import Walk


def lstm_gates(gates_BTG: Tensor, hidden_BTH: Tensor, weight_GD: Tensor, walk: Walk) -> Tensor:
    """i, f, g, o of every step, (B, T, R x 4 H), from the inputs' share of them and h_{t-1}."""
    recurrent = _recurrent(hidden_BTH, weight_GD, walk, 4)
    i, f, g, o = (gates_BTG.view_as(recurrent) + recurrent).unbind(3)
    return torch.stack([i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()], 3).flatten(2)


def gru_gates(
    gates_BTG: Tensor, hidden_BTH: Tensor, weight_GD: Tensor, bias_n_H: Tensor, walk: Walk
) -> Tensor:
    """r, z, n and U h + b' of every step, (B, T, R x 4 H)."""
    recurrent = _recurrent(hidden_BTH, weight_GD, walk, 3)
    a_r, a_z, a_n = gates_BTG.view_as(recurrent).unbind(3)
    u_r, u_z, u_n = recurrent.unbind(3)
    inner = u_n + bias_n_H.view(walk.directions, -1)
    r, z = (a_r + u_r).sigmoid(), (a_z + u_z).sigmoid()
    return torch.stack([r, z, (a_n + r * inner).tanh(), inner], 3).flatten(2)


def _recurrent(hidden_BTH: Tensor, weight_GD: Tensor, walk: Walk, gates: int) -> Tensor:
    """U h as (B, T, R, G, H), each head and direction for itself."""
    if walk.dropout_BH is not None:
        hidden_BTH = hidden_BTH * walk.dropout_BH[:, None]
    size = weight_GD.shape[1]
    hidden = hidden_BTH.unflatten(2, (walk.directions, -1, size))
    weight = weight_GD.view(walk.directions, gates, -1, size, size)
    return torch.einsum("btrnj,rgnij->btrgni", hidden, weight).flatten(4)
