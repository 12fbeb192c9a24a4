"""The simple recurrent network (Elman 1990): h_t = tanh(W x_t + b + U h_{t-1} + b')."""

from functools import partial
from typing import Literal

from lm_research.config.types import DropProbability, PositiveFloat, PositiveInt
from lm_research.kernels import FusedRNN, LayerNormRNN
from lm_research.models.recurrent import Recurrent


class RNN(Recurrent):
    """A stack of Elman layers. Arguments as in :class:`Recurrent`; a layer's state is h_BH.

    ``nonlinearity`` is the function around the sum: ``tanh`` or ``relu``.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: PositiveInt = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
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
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity is {nonlinearity!r}; choose 'tanh' or 'relu'")
        super().__init__(
            partial(
                LayerNormRNN if layer_norm else FusedRNN,
                nonlinearity=nonlinearity,
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
