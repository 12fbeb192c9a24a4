"""One step of one direction on a CPU, by PyTorch's cells.

Its layers pack a weight and begin parallel regions at every call, whatever the number of steps: for
the single step of generation that costs several times what the step does.

Shapes: B batch, I input size, H hidden size, L layers.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lm_research.kernels.checks import autocast

CELLS: dict[str, Callable[..., Any]] = {
    "LSTM": torch.lstm_cell,
    "GRU": torch.gru_cell,
    "RNN_TANH": torch.rnn_tanh_cell,
    "RNN_RELU": torch.rnn_relu_cell,
}
"""By the mode of the layer."""


def is_one_step(layer: Any, x: Tensor) -> bool:
    """Of a batch, forward in time, on a CPU, in the type of the layer's weights."""
    if x.dim() != 3 or x.shape[1 if layer.batch_first else 0] != 1 or not x.is_cpu:
        return False
    if layer.bidirectional or layer.proj_size or x.numel() == 0:
        return False
    return x.dtype == layer.weight_ih_l0.dtype and not autocast(x)


def one_step(layer: Any, x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, Any]:
    """What the layer returns.

    Args:
        layer: a ``RecurrentStack`` that :func:`is_one_step` said yes to.
        x: (B, 1, I), or (1, B, I).
        states: h_LBH, of an LSTM c_LBH, too.
    """
    time, lstm, after = (1 if layer.batch_first else 0), layer.mode == "LSTM", []
    x_BI = x.select(time, 0)
    for number in range(layer.num_layers):
        if number and layer.dropout:
            x_BI = F.dropout(x_BI, layer.dropout, layer.training)
        before = tuple(part[number] for part in states)
        given = before if lstm else before[0]
        found = CELLS[layer.mode](x_BI, given, *layer.parts(number))
        after.append(found if lstm else (found,))
        x_BI = after[-1][0]
    joined = tuple(map(torch.stack, zip(*after, strict=True)))
    return x_BI.unsqueeze(time), joined if lstm else joined[0]
