"""The scans in plain PyTorch: readable, differentiable twice, exact in float64.

Every other backend is compared with this one. It differs from ``torch.nn`` in nothing but speed.

Shapes: B batch, T time, G gates (RNN 1, GRU 3, LSTM 4), H hidden size, N heads of D = H / N units.
``gates`` are the inputs' share of the gates, W x_t + b, in the order of ``torch.nn``.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lm_research.kernels.walk import Walk

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], State]


def recurrent(h_BH: Tensor, weight_GND: Tensor) -> Tensor:
    """U h, each head for itself: (B, G, H) of weight (G H, D)."""
    rows, size = weight_GND.shape
    batch, hidden = h_BH.shape
    heads, gates = hidden // size, rows // hidden
    weight_GNDD = weight_GND.view(gates, heads, size, size)
    parts = torch.einsum("bnj,gnij->bgni", h_BH.view(batch, heads, size), weight_GNDD)
    return parts.reshape(batch, gates, hidden)


def rnn_scan(
    gates_BTH: Tensor,
    weight_HD: Tensor,
    h0_BH: Tensor,
    walk: Walk,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    """h_t = f(a_t + U h_{t-1}), f being tanh or relu; returns (y_BTH, h_BH)."""
    function = torch.tanh if nonlinearity == "tanh" else torch.relu

    def step(a_BH: Tensor, state: State) -> State:
        return (function(a_BH + recurrent(state[0], weight_HD)[:, 0]),)

    y_BTH, (h_BH,) = _scan(step, gates_BTH, (h0_BH,), walk)
    return y_BTH, h_BH


def lstm_scan(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    c0_BH: Tensor,
    walk: Walk,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gates in the order i, f, g, o; returns (y_BTH, h_BH, c_BH).

    i, f, o = sigmoid(a + U h), g = tanh(a + U h); c_t = f c_{t-1} + i g; h_t = o tanh(c_t).
    """

    def step(a_BG: Tensor, state: State) -> State:
        h_BH, c_BH = state
        i, f, g, o = (_gates(a_BG, h_BH) + recurrent(h_BH, weight_GD)).unbind(1)
        c_BH = f.sigmoid() * c_BH + i.sigmoid() * g.tanh()
        return o.sigmoid() * c_BH.tanh(), c_BH

    y_BTH, (h_BH, c_BH) = _scan(step, gates_BTG, (h0_BH, c0_BH), walk)
    return y_BTH, h_BH, c_BH


def gru_scan(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    bias_n_H: Tensor | None,
    walk: Walk,
) -> tuple[Tensor, Tensor]:
    """Gates in the order r, z, n; returns (y_BTH, h_BH).

    r, z = sigmoid(a + U h); n = tanh(a + r (U h + b')); h_t = (1 - z) n + z h_{t-1}: the reset gate
    after the product, as cuDNN and PyTorch have it, with b' inside.
    """

    def step(a_BG: Tensor, state: State) -> State:
        (h_BH,) = state
        r, z, n = _gates(a_BG, h_BH).unbind(1)
        u_r, u_z, u_n = recurrent(h_BH, weight_GD).unbind(1)
        if bias_n_H is not None:
            u_n = u_n + bias_n_H
        z = (z + u_z).sigmoid()
        n = (n + (r + u_r).sigmoid() * u_n).tanh()
        return ((1 - z) * n + z * h_BH,)

    y_BTH, (h_BH,) = _scan(step, gates_BTG, (h0_BH,), walk)
    return y_BTH, h_BH


def _gates(a_BG: Tensor, h_BH: Tensor) -> Tensor:
    return a_BG.view(len(a_BG), -1, h_BH.shape[1])


def _scan(
    step: Step,
    gates_BTG: Tensor,
    state: State,
    walk: Walk,
) -> tuple[Tensor, State]:
    """Steps in time's order or against it; rows past their length keep their state and give 0."""
    steps = gates_BTG.shape[1]
    outputs = [torch.empty(0)] * steps
    for t in reversed(range(steps)) if walk.reverse else range(steps):
        if walk.reset_BT is not None:
            fresh_B1 = walk.reset_BT[:, t, None]
            state = tuple(part.masked_fill(fresh_B1, 0) for part in state)
        new = step(gates_BTG[:, t], state)
        if walk.lengths_B is None:
            state, outputs[t] = new, new[0]
        else:
            real_B1 = (t < walk.lengths_B)[:, None]
            pairs = zip(new, state, strict=True)
            state = tuple(torch.where(real_B1, after, before) for after, before in pairs)
            outputs[t] = new[0].masked_fill(~real_B1, 0)
    if not steps:
        return gates_BTG.new_empty(*gates_BTG.shape[:2], state[0].shape[1]), state
    return torch.stack(outputs, 1), state
