"""``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` with more to them: a drop-in, and beyond.

Each class is its ``torch.nn`` namesake: same constructor, parameters and results; a checkpoint of
one loads into the other. Beyond it: ``lengths`` without packing, ``reset_mask``, block-diagonal
heads, state dropout, zoneout, a choice of backend. Both directions are one scan.

Shapes: B batch, T time, I input size, H hidden size, N heads, R directions, L layers x directions.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.kernels.functional import gru_scan, lstm_scan, rnn_scan
from lm_research.kernels.namesake import Weights
from lm_research.kernels.obstacles import Cell
from lm_research.kernels.stack import RecurrentStack
from lm_research.kernels.table_rows import Inputs, input_gates


class FusedRNN(RecurrentStack):
    """``nn.RNN`` (Elman 1990): h_t = f(W x_t + b + U h_{t-1} + b'), f being tanh or relu.

    Args:
        *args, **kwargs: as ``nn.RNN`` takes them.
        num_heads: N block-diagonal heads; ``weight_hh`` is then (H, H / N).
        recurrent_bias: whether b' is there to be trained; without it a layer has the one bias of
            the textbook, and b' is a constant zero.
        state_dropout: probability of dropping a unit of h on its way to U, the same units at every
            step of a call (variational dropout, Gal and Ghahramani 2016; ``recurrent_dropout`` in
            Keras). In training alone.
        zoneout: probability of a unit to keep its h for a step (Krueger et al. 2017); the LSTM's
            cell likewise, or a pair (of h, of c). In evaluation every unit keeps that share.
        recompute: in ``triton``, keep neither W x nor the gates' values for the gradient, but make
            both anew: a product of matrices more, and a product more in every step back. The RNN
            keeps neither in any case.
        backend: ``auto``, ``reference``, ``torch``, ``triton``.
        precision: of float32 products in ``triton``: ``tf32x3``, ``tf32``, ``ieee``.
    """

    cell: Cell = "rnn"
    namesake = nn.RNN

    @property
    def nonlinearity(self) -> str:
        """``tanh`` or ``relu``."""
        return "relu" if self.mode == "RNN_RELU" else "tanh"

    def _scan(
        self, x_BTI: Inputs, before: tuple[Tensor, ...], layer: int, options: dict[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        w, u, bias, _ = self._weights(layer)
        gates = input_gates(x_BTI, w, bias)
        y, h = rnn_scan(gates, u, before[0], nonlinearity=self.nonlinearity, **options)
        return y, (h,)


class FusedLSTM(RecurrentStack):
    """``nn.LSTM`` (Hochreiter and Schmidhuber 1997). Arguments as in :class:`FusedRNN`."""

    cell: Cell = "lstm"
    namesake = nn.LSTM

    def _scan(
        self, x_BTI: Inputs, before: tuple[Tensor, ...], layer: int, options: dict[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        w, u, bias, _ = self._weights(layer)
        gates = input_gates(x_BTI, w, bias)
        return lstm_scan(gates, u, (before[0], before[1]), **options)


class FusedGRU(RecurrentStack):
    """``nn.GRU`` (Cho et al. 2014). Arguments as in :class:`FusedRNN`."""

    cell: Cell = "gru"
    namesake = nn.GRU

    def _weights(self, layer: int) -> Weights:
        """n's recurrent bias apart: it stands inside r * (U h + b')."""
        w, u, b, b_hh = self.parts(layer)
        if b is None or b_hh is None:
            return w, u, b, None
        inner_R3H = b_hh.view(-1, 3, self.hidden_size)
        bias = b + F.pad(inner_R3H[:, :2], (0, 0, 0, 1)).flatten()
        return w, u, bias, inner_R3H[:, 2].flatten()

    def _scan(
        self, x_BTI: Inputs, before: tuple[Tensor, ...], layer: int, options: dict[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        w, u, bias, bias_n = self._weights(layer)
        gates = input_gates(x_BTI, w, bias)
        y, h = gru_scan(gates, u, before[0], bias_n=bias_n, **options)
        return y, (h,)
