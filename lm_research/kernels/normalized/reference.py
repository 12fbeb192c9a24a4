"""The scans with layer normalization in plain PyTorch: readable, differentiable twice.

``F.layer_norm`` at every step, over all gates and units of a head, as the formulas of
:mod:`lm_research.kernels.normalized` are written. Every fused scan is compared with this one.

Shapes: B batch, T time, G gates x hidden size, H hidden size, D head size, N heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lm_research.kernels.reference import State, _scan, recurrent
from lm_research.kernels.walk import Walk


def normalize(
    x_BG: Tensor, heads: int, hidden: int, gain_G: Tensor, bias_G: Tensor | None, eps: float
) -> Tensor:
    """LN(x) with statistics over all gates and units of a head; x (..., gates x H)."""
    if heads == 1:
        return F.layer_norm(x_BG, x_BG.shape[-1:], gain_G, bias_G, eps)
    parts = x_BG.unflatten(-1, (-1, heads, hidden // heads)).transpose(-3, -2)
    normal = F.layer_norm(parts, parts.shape[-2:], eps=eps).transpose(-3, -2)
    scaled = normal.flatten(-3) * gain_G
    return scaled if bias_G is None else scaled + bias_G


def rnn_scan(
    gates_BTH: Tensor,
    weight_HD: Tensor,
    h0_BH: Tensor,
    gain_H: Tensor,
    walk: Walk,
    nonlinearity: str,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """h_t = f(a_t + LN(U h_{t-1})), f being tanh or relu; returns (y_BTH, h_BH)."""
    function = torch.tanh if nonlinearity == "tanh" else torch.relu

    def step(a_BH: Tensor, state: State) -> State:
        return (function(a_BH + _recurrent(state[0], weight_HD, gain_H, eps)[:, 0]),)

    y_BTH, (h_BH,) = _scan(step, gates_BTH, (h0_BH,), walk)
    return y_BTH, h_BH


def lstm_scan(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    c0_BH: Tensor,
    gain_G: Tensor,
    gain_c_H: Tensor,
    bias_c_H: Tensor,
    walk: Walk,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gates in the order i, f, g, o; returns (y_BTH, h_BH, c_BH).

    i, f, o = sigmoid(a + LN(U h)), g = tanh(a + LN(U h)); c_t = f c_{t-1} + i g;
    h_t = o tanh(LN(c_t)).
    """
    hidden = h0_BH.shape[1]
    heads = hidden // weight_GD.shape[1]

    def step(a_BG: Tensor, state: State) -> State:
        h_BH, c_BH = state
        products = _recurrent(h_BH, weight_GD, gain_G, eps)
        i, f, g, o = (a_BG.view_as(products) + products).unbind(1)
        c_BH = f.sigmoid() * c_BH + i.sigmoid() * g.tanh()
        return o.sigmoid() * normalize(c_BH, heads, hidden, gain_c_H, bias_c_H, eps).tanh(), c_BH

    y_BTH, (h_BH, c_BH) = _scan(step, gates_BTG, (h0_BH, c0_BH), walk)
    return y_BTH, h_BH, c_BH


def gru_scan(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    gain_G: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Gates in the order r, z, n; returns (y_BTH, h_BH).

    r, z = sigmoid(a + LN(U h)); n = tanh(a + r (LN(U h) + b')); h_t = (1 - z) n + z h_{t-1}.
    """

    def step(a_BG: Tensor, state: State) -> State:
        (h_BH,) = state
        u_r, u_z, u_n = _recurrent(h_BH, weight_GD, gain_G, eps).unbind(1)
        r, z, n = a_BG.unflatten(1, (3, -1)).unbind(1)
        z = (z + u_z).sigmoid()
        n = (n + (r + u_r).sigmoid() * (u_n + bias_n_H)).tanh()
        return ((1 - z) * n + z * h_BH,)

    y_BTH, (h_BH,) = _scan(step, gates_BTG, (h0_BH,), walk)
    return y_BTH, h_BH


def _recurrent(h_BH: Tensor, weight_GD: Tensor, gain_G: Tensor, eps: float) -> Tensor:
    """LN(U h), (B, gates, H)."""
    products_BG = recurrent(h_BH, weight_GD).flatten(1)
    hidden = h_BH.shape[1]
    heads = hidden // weight_GD.shape[1]
    return normalize(products_BG, heads, hidden, gain_G, None, eps).unflatten(1, (-1, hidden))

