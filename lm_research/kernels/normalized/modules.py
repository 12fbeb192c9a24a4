"""Recurrent layers with layer normalization, called as ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU``.

Constructor, call and parameters are those of the :mod:`lm_research.kernels.modules` without the
prefix; to a layer's parameters come ``gain_ih_l0`` and ``gain_hh_l0`` (gates x H), of LN(W x) and
LN(U h), and in the LSTM ``gain_c_l0`` and ``bias_c_l0`` (H), of LN(c). The formulas are in
:mod:`lm_research.kernels.normalized`.

Shapes: B batch, T time, I input size, G gates x H, H hidden size.
"""

from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.kernels.normalized.reference import normalize
from lm_research.kernels.normalized.scans import (
    EPS,
    layer_norm_gru_scan,
    layer_norm_lstm_scan,
    layer_norm_rnn_scan,
)
from lm_research.kernels.obstacles import Cell
from lm_research.kernels.parameters import summed
from lm_research.kernels.stack import RecurrentStack
from lm_research.kernels.table_rows import Inputs, input_gates


class _LayerNorm(RecurrentStack):
    """What the three share beyond other fused layers: gains, and LN(W x)."""

    def __init__(self, *args: Any, eps: float = EPS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.eps = eps
        for name, weight in list(self.named_parameters()):
            if name.startswith("weight"):
                gain = nn.Parameter(weight.new_ones(len(weight)))
                self.register_parameter(name.replace("weight", "gain"), gain)

    def reset_parameters(self) -> None:
        """Draw all weights anew; gains are 1 and the normalization's biases 0 again."""
        super().reset_parameters()
        for name, parameter in self.named_parameters():
            if name.startswith("gain"):
                nn.init.ones_(parameter)
            elif name.startswith("bias_c"):
                nn.init.zeros_(parameter)

    def _beyond(self) -> bool:
        """Always: ``torch.nn`` has no such layers."""
        return True

    def _gates(self, x_BTI: Inputs, layer: int, bias_G: Tensor | None) -> Tensor:
        """LN(W x) and the gates' bias, all steps at once, in the type of the product."""
        products = input_gates(x_BTI, cast(Tensor, self._part(f"weight_ih_l{layer}")), None)
        gain = self._gain("ih", layer)
        size = self.hidden_size // self.num_heads
        blocks = (2 if self.bidirectional else 1, self.num_heads, size)
        return normalize(products, blocks, gain, bias_G, self.eps).to(products.dtype)

    def _gain(self, name: str, layer: int) -> Tensor:
        return cast(Tensor, self._part(f"gain_{name}_l{layer}"))

    def extra_repr(self) -> str:
        """As the layer without normalization is printed, with eps."""
        return f"{super().extra_repr()}, eps={self.eps}"


class LayerNormRNN(_LayerNorm):
    """The Elman network with layer normalization.

    h_t = f(g' * LN(W x_t) + b + g * LN(U h_{t-1}) + b'), f being tanh or relu.

    Args:
        *args, **kwargs: as :class:`~lm_research.kernels.modules.FusedRNN` takes them, without
            ``proj_size``; ``torch`` is no backend, since torch.nn has no such layer.
        eps: added to every variance.
    """

    cell: Cell = "layer_norm_rnn"
    namesake = nn.RNN

    @property
    def nonlinearity(self) -> str:
        """``tanh`` or ``relu``."""
        return "relu" if self.mode == "RNN_RELU" else "tanh"

    def _scan(
        self, x_BTI: Inputs, before: tuple[Tensor, ...], layer: int, options: dict[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        _, u, b, b_hh = self.parts(layer)
        y, h = layer_norm_rnn_scan(
            self._gates(x_BTI, layer, summed(b, b_hh)),
            u,
            self._gain("hh", layer),
            before[0],
            nonlinearity=self.nonlinearity,
            eps=self.eps,
            **options,
        )
        return y, (h,)


class LayerNormLSTM(_LayerNorm):
    """The LSTM with layer normalization. Arguments as in :class:`LayerNormRNN`."""

    cell: Cell = "layer_norm_lstm"
    namesake = nn.LSTM

    def __init__(self, *args: Any, eps: float = EPS, **kwargs: Any) -> None:
        super().__init__(*args, eps=eps, **kwargs)
        for name, weight in list(self.named_parameters()):
            if name.startswith("weight_ih"):
                suffix = name.removeprefix("weight_ih")
                gain = nn.Parameter(weight.new_ones(self.hidden_size))
                self.register_parameter("gain_c" + suffix, gain)
                bias = nn.Parameter(weight.new_zeros(self.hidden_size)) if self.bias else None
                self.register_parameter("bias_c" + suffix, bias)

    def _scan(
        self, x_BTI: Inputs, before: tuple[Tensor, ...], layer: int, options: dict[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        _, u, b, b_hh = self.parts(layer)
        gates = self._gates(x_BTI, layer, summed(b, b_hh))
        gain, gain_c = self._gain("hh", layer), self._gain("c", layer)
        bias_c, state = self._part(f"bias_c_l{layer}"), (before[0], before[1])
        return layer_norm_lstm_scan(gates, u, gain, gain_c, bias_c, state, eps=self.eps, **options)


class LayerNormGRU(_LayerNorm):
    """The GRU with layer normalization. Arguments as in :class:`LayerNormRNN`."""

    cell: Cell = "layer_norm_gru"
    namesake = nn.GRU

    def _scan(
        self, x_BTI: Inputs, before: tuple[Tensor, ...], layer: int, options: dict[str, Any]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        _, u, b, b_hh = self.parts(layer)
        bias, bias_n = b, None
        if b is not None and b_hh is not None:
            inner_R3H = b_hh.view(-1, 3, self.hidden_size)
            bias = b + F.pad(inner_R3H[:, :2], (0, 0, 0, 1)).flatten()
            bias_n = inner_R3H[:, 2].flatten()
        gates, gain = self._gates(x_BTI, layer, bias), self._gain("hh", layer)
        y, h = layer_norm_gru_scan(
            gates, u, gain, before[0], bias_n=bias_n, eps=self.eps, **options
        )
        return y, (h,)
