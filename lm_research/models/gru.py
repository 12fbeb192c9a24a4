"""Gated recurrent unit (Cho et al. 2014), the reset gate applied after the product as in cuDNN.

r_t = sigmoid(W_r x_t + b_r + U_r h_{t-1} + b'_r)    and likewise z_t
n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + b'_n))
h_t = (1 - z_t) * n_t + z_t * h_{t-1}
"""

from functools import partial
from typing import Literal

from lm_research.config.types import DropProbability, PositiveFloat, PositiveInt
from lm_research.kernels import FusedGRU, LayerNormGRU
from lm_research.models.recurrent import Recurrent


class GRU(Recurrent):
    """A stack of GRU layers. Arguments as in :class:`Recurrent`; a layer's state is h_BH."""

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: PositiveInt = 1,
        dropout: DropProbability = 0.0,
        dropout_kind: Literal["standard", "variational"] = "standard",
        input_dropout: DropProbability = 0.0,
        output_dropout: DropProbability = 0.0,
        state_dropout: DropProbability = 0.0,
        zoneout: DropProbability = 0.0,
        weight_drop: DropProbability = 0.0,
        layer_norm: bool = False,
        recurrent_bias: bool = True,
        start: Literal["zeros", "learned"] = "zeros",
        init: Literal["torch", "keras", "uniform"] = "torch",
        init_range: PositiveFloat = 0.1,
        residual: bool = False,
        last_hidden_size: PositiveInt | None = None,
        backend: Literal["auto", "reference", "torch", "triton", "cpu"] = "auto",
    ) -> None:
        super().__init__(
            partial(
                LayerNormGRU if layer_norm else FusedGRU,
                batch_first=True,
                recurrent_bias=recurrent_bias,
                state_dropout=state_dropout,
                zoneout=zoneout,
                backend=backend,
            ),
            input_size,
            hidden_size,
            num_layers,
            dropout=dropout,
            dropout_kind=dropout_kind,
            input_dropout=input_dropout,
            output_dropout=output_dropout,
            weight_drop=weight_drop,
            start=start,
            init=init,
            init_range=init_range,
            residual=residual,
            last_hidden_size=last_hidden_size,
        )
