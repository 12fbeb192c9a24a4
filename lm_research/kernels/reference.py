"""The scans in plain PyTorch: readable, differentiable twice, exact in float64.

Every other backend is compared with this one. It differs from ``torch.nn`` in speed, and in that a
state of 16 bits is walked in float32, as fused scans walk it.

Shapes: B batch, T time, G gates (RNN 1, GRU 3, LSTM 4), H hidden size, N heads of D = H / N units,
R directions. ``gates`` are the inputs' share of the gates, W x_t + b, in the order of ``torch.nn``.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lm_research.kernels.walk import Walk

State = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensor, State], State]
"""The next state from gates (B, G H), from h as U sees it (B, H), and from the state (h, ...)."""


def widened(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors of 16 bits in float32, others as they are."""
    short = (torch.float16, torch.bfloat16)
    return tuple(x.float() if x.dtype in short else x for x in tensors)


def recurrent(h_BH: Tensor, weight_GND: Tensor) -> Tensor:
    """U h, each head for itself: (B, G, H) of weight (G H, D)."""
    rows, size = weight_GND.shape
    batch, hidden = h_BH.shape
    heads, gates = hidden // size, rows // hidden
    weight_GNDD = weight_GND.view(gates, heads, size, size)
    parts = torch.einsum("bnj,gnij->bgni", h_BH.view(batch, heads, size), weight_GNDD)
    return parts.reshape(batch, gates, hidden)


def rnn_scan(
    gates_BTH: Tensor, weight_HD: Tensor, h0_BH: Tensor, walk: Walk, nonlinearity: str
) -> tuple[Tensor, Tensor]:
    """h_t = f(a_t + U h_{t-1}), f being tanh or relu; returns (y_BTH, h_BH)."""
    function = torch.tanh if nonlinearity == "tanh" else torch.relu

    def step_of(weight: Tensor) -> Step:
        return lambda a, h, state: (function(a + recurrent(h, weight)[:, 0]),)

    steps = [step_of(weight) for (weight,) in by_direction(walk, weight_HD)]
    y_BTH, (h_BH,) = scan(steps, gates_BTH, (h0_BH,), walk)
    return y_BTH, h_BH


def lstm_scan(
    gates_BTG: Tensor, weight_GD: Tensor, h0_BH: Tensor, c0_BH: Tensor, walk: Walk
) -> tuple[Tensor, Tensor, Tensor]:
    """Gates in the order i, f, g, o; returns (y_BTH, h_BH, c_BH).

    i, f, o = sigmoid(a + U h), g = tanh(a + U h); c_t = f c_{t-1} + i g; h_t = o tanh(c_t).
    """

    def step_of(weight: Tensor) -> Step:
        def step(a: Tensor, h: Tensor, state: State) -> State:
            i, f, g, o = (a.unflatten(1, (4, -1)) + recurrent(h, weight)).unbind(1)
            c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
            return o.sigmoid() * c.tanh(), c

        return step

    steps = [step_of(weight) for (weight,) in by_direction(walk, weight_GD)]
    y_BTH, (h_BH, c_BH) = scan(steps, gates_BTG, (h0_BH, c0_BH), walk)
    return y_BTH, h_BH, c_BH


def gru_scan(
    gates_BTG: Tensor, weight_GD: Tensor, h0_BH: Tensor, bias_n_H: Tensor, walk: Walk
) -> tuple[Tensor, Tensor]:
    """Gates in the order r, z, n; returns (y_BTH, h_BH).

    r, z = sigmoid(a + U h); n = tanh(a + r (U h + b')); h_t = (1 - z) n + z h_{t-1}: the reset gate
    after the product, as cuDNN and PyTorch have it, with b' inside.
    """

    def step_of(weight: Tensor, bias: Tensor) -> Step:
        def step(a: Tensor, h: Tensor, state: State) -> State:
            a_r, a_z, a_n = a.unflatten(1, (3, -1)).unbind(1)
            u_r, u_z, u_n = recurrent(h, weight).unbind(1)
            z = (a_z + u_z).sigmoid()
            n = (a_n + (a_r + u_r).sigmoid() * (u_n + bias)).tanh()
            return ((1 - z) * n + z * state[0],)

        return step

    steps = [step_of(*pair) for pair in by_direction(walk, weight_GD, bias_n_H)]
    y_BTH, (h_BH,) = scan(steps, gates_BTG, (h0_BH,), walk)
    return y_BTH, h_BH


def by_direction(walk: Walk, *weights: Tensor) -> list[tuple[Tensor, ...]]:
    """What each direction's steps are made of, as they take it (:func:`widened`)."""
    return list(zip(*(x.chunk(walk.directions) for x in widened(*weights)), strict=True))


def scan(steps: list[Step], gates: Tensor, states: State, walk: Walk) -> tuple[Tensor, State]:
    """Walk over all steps, each direction with its own; y and states of all beside each other."""
    count = walk.directions
    starts = zip(*(part.chunk(count, -1) for part in widened(*states)), strict=True)
    parts = zip(steps, widened(gates)[0].chunk(count, -1), starts, walk.parts(), strict=True)
    outputs, after = zip(*(_one_direction(*part) for part in parts), strict=True)
    joined = (torch.cat(part, -1) for part in zip(*after, strict=True))
    last = tuple(part.to(given.dtype) for part, given in zip(joined, states, strict=True))
    return torch.cat(outputs, -1).to(gates.dtype), last


def _one_direction(step: Step, gates_BTG: Tensor, state: State, walk: Walk) -> tuple[Tensor, State]:
    """Steps in time's order or against it; rows past their length keep their state and give 0."""
    steps, zoneouts = gates_BTG.shape[1], (walk.zoneout_h, walk.zoneout_c)
    outputs = [torch.empty(0)] * steps
    gates_BG = gates_BTG.unbind(1)  # a[:, t] would give back a gradient of all steps for each one
    for t in reversed(range(steps)) if walk.reverse else range(steps):
        if walk.reset_BT is not None:
            fresh_B1 = walk.reset_BT[:, t, None]
            state = tuple(part.masked_fill(fresh_B1, 0) for part in state)
        h_BH = state[0] if walk.dropout_BH is None else state[0] * walk.dropout_BH
        new = step(gates_BG[t], h_BH, state)
        new = tuple(_zoned(*parts, t) for parts in zip(state, new, zoneouts, strict=False))
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


def _zoned(before: Tensor, after: Tensor, zoneout: Tensor | float | None, t: int) -> Tensor:
    """What a step leaves of ``before``: masked units of it, or a share of all."""
    if zoneout is None:
        return after
    if isinstance(zoneout, Tensor):
        return torch.where(zoneout[:, t], before, after)
    return zoneout * before + (1 - zoneout) * after
