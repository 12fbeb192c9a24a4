"""The scans with layer normalization in plain PyTorch: readable, differentiable twice.

``F.layer_norm`` at every step, over all gates and units of a head, as the formulas of
:mod:`lm_research.kernels.normalized` are written. Every fused scan is compared with this one.

Shapes: B batch, T time, G gates x H, H hidden size, D head size, N heads, R directions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lm_research.kernels.reference import State, Step, by_direction, recurrent, scan
from lm_research.kernels.walk import Walk


def normalize(
    x_BG: Tensor,
    blocks: tuple[int, int, int],
    gain_G: Tensor,
    bias_G: Tensor | None,
    eps: float,
) -> Tensor:
    """LN(x), (..., R x G), each head over all its gates and units; ``blocks`` is (R, N, D)."""
    directions, heads, size = blocks
    if directions == heads == 1:
        return F.layer_norm(x_BG, gain_G.shape, gain_G, bias_G, eps)
    parts = x_BG.unflatten(-1, (directions, -1, heads, size)).transpose(-3, -2)
    normal = F.layer_norm(parts, parts.shape[-2:], eps=eps).transpose(-3, -2)
    scaled = normal.flatten(-4) * gain_G
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

    def step_of(weight: Tensor, gain: Tensor) -> Step:
        return lambda a, h, state: (function(a + _recurrent(h, weight, gain, eps)[:, 0]),)

    pairs = by_direction(walk, weight_HD, gain_H)
    y_BTH, (h_BH,) = scan([step_of(*pair) for pair in pairs], gates_BTH, (h0_BH,), walk)
    return y_BTH, h_BH


def lstm_scan(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    states: tuple[Tensor, Tensor],
    norms: tuple[Tensor, Tensor, Tensor],
    walk: Walk,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gates in the order i, f, g, o; returns (y_BTH, h_BH, c_BH).

    i, f, o = sigmoid(a + LN(U h)), g = tanh(a + LN(U h)); c_t = f c_{t-1} + i g;
    h_t = o tanh(LN(c_t)). ``norms`` are the gain of LN(U h), gain and bias of LN(c).
    """

    def step_of(weight: Tensor, gain: Tensor, gain_c: Tensor, bias_c: Tensor) -> Step:
        def step(a: Tensor, h: Tensor, state: State) -> State:
            products = _recurrent(h, weight, gain, eps)
            i, f, g, o = (a.unflatten(1, (4, -1)) + products).unbind(1)
            c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
            return o.sigmoid() * normalize(c, _blocks(h, weight), gain_c, bias_c, eps).tanh(), c

        return step

    steps = [step_of(*parts) for parts in by_direction(walk, weight_GD, *norms)]
    y_BTH, (h_BH, c_BH) = scan(steps, gates_BTG, states, walk)
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

    def step_of(weight: Tensor, gain: Tensor, bias: Tensor) -> Step:
        def step(a: Tensor, h: Tensor, state: State) -> State:
            a_r, a_z, a_n = a.unflatten(1, (3, -1)).unbind(1)
            u_r, u_z, u_n = _recurrent(h, weight, gain, eps).unbind(1)
            z = (a_z + u_z).sigmoid()
            n = (a_n + (a_r + u_r).sigmoid() * (u_n + bias)).tanh()
            return ((1 - z) * n + z * state[0],)

        return step

    steps = [step_of(*parts) for parts in by_direction(walk, weight_GD, gain_G, bias_n_H)]
    y_BTH, (h_BH,) = scan(steps, gates_BTG, (h0_BH,), walk)
    return y_BTH, h_BH


def _blocks(h_BH: Tensor, weight_GD: Tensor) -> tuple[int, int, int]:
    hidden, size = h_BH.shape[1], weight_GD.shape[1]
    return 1, hidden // size, size


def _recurrent(h_BH: Tensor, weight_GD: Tensor, gain_G: Tensor, eps: float) -> Tensor:
    """LN(U h), (B, gates, H)."""
    products_BG = recurrent(h_BH, weight_GD).flatten(1)
    normal_BG = normalize(products_BG, _blocks(h_BH, weight_GD), gain_G, None, eps)
    return normal_BG.unflatten(1, (-1, h_BH.shape[1]))
