"""Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate by Gers et al. 2000).

i_t = sigmoid(W_i x_t + b_i + U_i h_{t-1} + b'_i)    and likewise f_t and o_t
g_t = tanh(W_g x_t + b_g + U_g h_{t-1} + b'_g)
c_t = f_t * c_{t-1} + i_t * g_t
h_t = o_t * tanh(c_t)
"""

from functools import partial
from typing import Literal

from lm_research.config.types import DropProbability, PositiveFloat, PositiveInt
from lm_research.kernels import FusedLSTM, LayerNormLSTM
from lm_research.models.recurrent import Recurrent


class LSTM(Recurrent):
    """A stack of LSTM layers. Arguments as in :class:`Recurrent`; state (h_BH, c_BH) a layer."""

    states_per_layer = 2

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
                LayerNormLSTM if layer_norm else FusedLSTM,
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
