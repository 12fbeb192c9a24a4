"""torch.nn's recurrent layers over rows of unequal length on a CPU, without packing.

PyTorch's packed layers take a slice of the input a step, and the gradient of each slice is as large
as the input: their cost grows with the square of the length. Here a layer runs over the padding,
too, and gates hold the state still there: a further input, 1 behind a row's end and 0 before it,
whose weights shut the gates (to the bit: sigmoid(1e4) is 1). An Elman network has no gates: with
tanh its state wanders on within bounds, with relu it might grow to infinity, which no gradient of
zero makes up for (0 x inf), so that steps are taken one by one there and the state is cleared
(not in a trace).

Shapes: B rows, T steps, I input, H state, G gates' rows.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.kernels.checks import real_steps
from lm_research.kernels.tracing import is_traced

SHUT = 1e4
"""Beyond what any gate's other inputs weigh; finite in 16 bits."""
HELD: dict[str, tuple[float, ...]] = {
    "LSTM": (-SHUT, SHUT, 0.0, 0.0),  # i, f, g, o: c stays
    "GRU": (0.0, SHUT, 0.0),  # r, z, n: h stays
    "RNN_TANH": (0.0,),
    "RNN_RELU": (0.0,),
}
RUN: dict[str, Any] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}
States = tuple[Tensor, ...]


def uneven(
    layer: nn.RNNBase, x_BTI: Tensor, hx: Any, states: States, lengths_B: Tensor
) -> tuple[Tensor, Any]:
    """Rows of unequal length: y (B, T, directions x H), and the states as the layer returns them.

    Args:
        layer: ``batch_first``.
        hx: as the layer takes it.
        states: the same as a tuple.
    """
    if x_BTI.is_cpu and not layer.proj_size:
        y_BTH, last = padded(layer, x_BTI, states, lengths_B)
        return y_BTH, last if layer.mode == "LSTM" else last[0]
    packed = nn.utils.rnn.pack_padded_sequence(
        x_BTI, lengths_B.cpu(), batch_first=True, enforce_sorted=False
    )
    packed_y, after = layer(packed, hx)
    steps = x_BTI.shape[1]
    y_BTH, _ = nn.utils.rnn.pad_packed_sequence(packed_y, True, total_length=steps)
    return y_BTH, after


def padded(
    layer: nn.RNNBase, x_BTI: Tensor, states: States, lengths_B: Tensor
) -> tuple[Tensor, States]:
    """What packing gives: y (B, T, directions x H), zeros behind the end, and states (L, B, H).

    Args:
        layer: without projections.
        x_BTI: what is behind a row's end is not read.
        states: before the first step, (L, B, H) each.
        lengths_B: int64, from 1 to T.
    """
    real_BT1 = real_steps(lengths_B, x_BTI.shape[1])[..., None]
    count = 2 if layer.bidirectional else 1
    after: list[States] = []
    for number in range(layer.num_layers):
        if number and layer.dropout:
            x_BTI = F.dropout(x_BTI, layer.dropout, layer.training)
        outputs = []
        for direction in range(count):
            start = tuple(part[number * count + direction] for part in states)
            name = f"l{number}" + ("_reverse" if direction else "")
            turn = lengths_B if direction else None
            y_BTH, last = _one(layer, name, x_BTI, start, real_BT1, lengths_B, turn)
            outputs.append(y_BTH)
            after.append(last)
        x_BTI = torch.cat(outputs, -1)
    return x_BTI, tuple(torch.stack(parts) for parts in zip(*after, strict=True))


def _one(
    layer: nn.RNNBase,
    name: str,
    x_BTI: Tensor,
    start: States,
    real_BT1: Tensor,
    lengths_B: Tensor,
    turn: Tensor | None,
) -> tuple[Tensor, States]:
    """One layer in one direction; ``turn`` of the one against time."""
    if turn is not None:
        x_BTI = turned(x_BTI, turn)
    x_BTI = x_BTI.masked_fill(~real_BT1, 0)
    weights = [getattr(layer, part) for part in _names(layer, name)]
    by_step = layer.mode == "RNN_RELU" and not is_traced()  # a trace would be of so many steps
    run = _cleared if by_step else _held
    y_BTH, *last = run(layer, x_BTI, start, real_BT1, *weights)
    place_B1H = (lengths_B - 1)[:, None, None].expand(-1, 1, y_BTH.shape[-1])
    h_BH = y_BTH.gather(1, place_B1H)[:, 0]
    y_BTH = y_BTH.masked_fill(~real_BT1, 0)
    if turn is not None:
        y_BTH = turned(y_BTH, turn)
    return y_BTH, (h_BH, *(part[0] for part in last[1:]))


def _held(
    layer: nn.RNNBase,
    x_BTI: Tensor,
    start: States,
    real_BT1: Tensor,
    w_GI: Tensor,
    *others: Tensor,
) -> tuple[Tensor, ...]:
    """As the layer's own function gives it of the input with one more column."""
    x_BTI = torch.cat([x_BTI, (~real_BT1).to(x_BTI.dtype)], -1)
    held = w_GI.new_tensor(HELD[layer.mode]).repeat_interleave(layer.hidden_size)
    weights = [torch.cat([w_GI, held[:, None]], -1), *others]
    first = [part[None] for part in start]
    hx: Any = first if layer.mode == "LSTM" else first[0]
    options = (weights, layer.bias, 1, 0.0, layer.training, False, True)
    found: tuple[Tensor, ...] = RUN[layer.mode](x_BTI, hx, *options)
    return found


def _cleared(
    layer: nn.RNNBase,
    x_BTI: Tensor,
    start: States,
    real_BT1: Tensor,
    w_HI: Tensor,
    u_HH: Tensor,
    *biases: Tensor,
) -> tuple[Tensor]:
    """Outputs of an Elman network with relu, the state zero from a row's end on.

    What is beyond the end, were it infinite, reaches neither a later step nor a gradient.
    """
    b_H, b_hh_H = biases or (None, None)
    gates_BTH, behind_BT1 = F.linear(x_BTI, w_HI, b_H), ~real_BT1
    h_BH, outputs = start[0], []
    for gates_BH, behind_B1 in zip(gates_BTH.unbind(1), behind_BT1.unbind(1), strict=True):
        total_BH = F.linear(h_BH, u_HH, b_hh_H) + gates_BH
        h_BH = total_BH.relu().masked_fill(behind_B1, 0)
        outputs.append(h_BH)
    return (torch.stack(outputs, 1),)


def _names(layer: nn.RNNBase, name: str) -> list[str]:
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [f"{kind}_{name}" for kind in (kinds if layer.bias else kinds[:2])]


def turned(x_BTI: Tensor, lengths_B: Tensor) -> Tensor:
    """Each row's real steps in reverse order, zeros behind them."""
    steps_T = torch.arange(x_BTI.shape[1], device=x_BTI.device)
    place_BT = lengths_B.to(x_BTI.device)[:, None] - 1 - steps_T
    taken = x_BTI.gather(1, place_BT.clamp(min=0)[..., None].expand_as(x_BTI))
    return taken.masked_fill((place_BT < 0)[..., None], 0.0)
