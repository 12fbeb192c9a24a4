"""What RNN, LSTM and GRU share: a stack of one-layer modules of ``lm_research.kernels``.

One module a layer, where ``torch.nn.LSTM(num_layers=...)`` would be one for all, leaves the space
between layers open to either kind of dropout and to residual connections. With the same weights
the outputs are those of ``torch.nn``.

Shapes: B batch, T time, D input size, H hidden size, G gates (RNN 1, GRU 3, LSTM 4).
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from lm_research.kernels import (
    FusedGRU,
    FusedLSTM,
    FusedRNN,
    LayerNormGRU,
    LayerNormLSTM,
    LayerNormRNN,
    TableRows,
)
from lm_research.kernels.prepared import Step, prepared_step
from lm_research.kernels.table_rows import Inputs
from lm_research.models.dropout import DropoutKind, check_dropout, sequence_dropout
from lm_research.models.lengths import check_lengths
from lm_research.models.sequence_model import SequenceModel, State, StateStep
from lm_research.models.weight_drop import call_weight_dropped

Start = Literal["zeros", "learned"]
Init = Literal["torch", "keras", "uniform"]
LayerState = Tensor | tuple[Tensor, ...]
Layer = FusedRNN | FusedLSTM | FusedGRU | LayerNormRNN | LayerNormLSTM | LayerNormGRU


class Recurrent(SequenceModel):
    """A stack of recurrent layers, each built by ``make_layer(input_size, hidden_size)``.

    The state is a list with one entry a layer: h_BH, or (h_BH, c_BH) for the LSTM.

    Args:
        make_layer: builds one ``batch_first`` layer.
        input_size: D, the size of the vectors.
        hidden_size: H, of every layer and of the output.
        num_layers: layers of the stack.
        dropout: probability of dropping an entry between two layers.
        dropout_kind: ``standard`` (a mask a step) or ``variational`` (a mask a sequence, kept for
            the whole window), for all three places. What happens on the way from step to step
            (``state_dropout``, ``zoneout``) is the layer's own.
        input_dropout: the same on x, before the first layer.
        output_dropout: the same on y, after the last layer.
        weight_drop: probability of leaving an entry of every layer's recurrent matrix U out, the
            same ones at all steps of a window (DropConnect; Merity et al. 2017,
            https://arxiv.org/abs/1708.02182). In training alone; the others are divided by
            1 - weight_drop.
        start: the state before the first step: ``zeros``, or ``learned`` (zero at first; trained
            by windows that begin a stream).
        init: how weights begin: ``torch`` (U(-1/sqrt(H), 1/sqrt(H)) everywhere), ``keras``
            (Glorot-uniform over the whole (D, GH) kernel, orthogonal (H, GH) recurrent kernel,
            zero biases and an LSTM's forget bias of 1), ``uniform`` (U(-r, r) everywhere). Gains
            of layers with layer normalization begin at 1 in any case.
        init_range: r of ``init="uniform"``.
        residual: add each layer's input to its output, from the second layer on.
        last_hidden_size: H of the last layer, and of the output, where it is another one: that of
            the vectors, say, whose matrix the output layer shares.
    """

    states_per_layer = 1
    reads_rows = True

    def __init__(
        self,
        make_layer: Callable[[int, int], Layer],
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        dropout: float,
        dropout_kind: DropoutKind,
        input_dropout: float,
        output_dropout: float,
        weight_drop: float,
        start: Start,
        init: Init,
        init_range: float,
        residual: bool,
        last_hidden_size: int | None,
    ) -> None:
        super().__init__()
        last_size = hidden_size if last_hidden_size is None else last_hidden_size
        _check_sizes(hidden_size, num_layers, last_size, residual)
        check_dropout("dropout", dropout)
        check_dropout("input_dropout", input_dropout)
        check_dropout("output_dropout", output_dropout)
        check_dropout("weight_drop", weight_drop)
        if dropout_kind not in ("standard", "variational"):
            raise ValueError(
                f"dropout_kind is {dropout_kind!r}; choose 'standard' or 'variational'"
            )
        if start not in ("zeros", "learned"):
            raise ValueError(f"start is {start!r}; choose 'zeros' or 'learned'")
        self.output_size, self.residual = last_size, residual
        self.dropout, self.dropout_kind = dropout, dropout_kind
        self.input_dropout, self.output_dropout = input_dropout, output_dropout
        self.weight_drop = weight_drop
        sizes = [input_size, *[hidden_size] * (num_layers - 1), last_size]
        self.layers = nn.ModuleList(make_layer(*pair) for pair in pairwise(sizes))
        for layer in self._layers():
            initialize(layer, init, init_range)
        self.start_SH = self._learned_start() if start == "learned" else None

    def initial_state(self, batch: int) -> State:
        """Zeros, or the learned start, for ``batch`` rows."""
        return [self._initial_layer_state(index, batch) for index in range(len(self.layers))]

    def forward(
        self, x_BTD: Inputs, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps; see :meth:`SequenceModel.forward`."""
        y_BTH, state = self.features(x_BTD, state, lengths=lengths)
        return self.drop_outputs(y_BTH), state

    def features(
        self, x_BTD: Inputs, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """The last layer's y_BTH, without ``output_dropout``, and the state."""
        below = self._entering(x_BTD, lengths)
        if state is None:
            state = self.initial_state(below.shape[0])
        new_state: list[LayerState] = []
        for index, (layer, before) in enumerate(zip(self._layers(), state, strict=True)):
            inputs = self._drop(cast(Tensor, below), self.dropout) if index else below
            y_BTH, after = run_layer(self._called(layer), inputs, before, lengths)
            below = y_BTH + cast(Tensor, below) if self.residual and index else y_BTH
            new_state.append(after)
        return cast(Tensor, below), new_state

    def drop_outputs(self, y_BTH: Tensor) -> Tensor:
        """``output_dropout``, in training."""
        return self._drop(y_BTH, self.output_dropout)

    def _called(self, layer: Layer) -> Callable[..., Any]:
        """The layer, or in training the layer with weights dropped anew."""
        if self.training and self.weight_drop:
            return partial(call_weight_dropped, layer, self.weight_drop)
        return layer

    def _entering(self, x_BTD: Inputs, lengths: Tensor | None) -> Inputs:
        """What the first layer reads; vectors where each step's own is asked for."""
        if isinstance(x_BTD, TableRows):
            if lengths is None and not (self.training and self.input_dropout):
                return x_BTD
            x_BTD = x_BTD.vectors()
        if lengths is not None:
            check_lengths(lengths, x_BTD)
        return self._drop(x_BTD, self.input_dropout)

    def stepper(self) -> StateStep:
        """Each layer's step with its weights packed, where there is such a one."""
        steps = [prepared_step(layer) for layer in self._layers()]
        if self.training or None in steps:
            return self.step
        return partial(self._stepped, cast(list[Step], steps))

    def _stepped(
        self, steps: Sequence[Step], x_BD: Tensor, state: State | None
    ) -> tuple[Tensor, State]:
        if state is None:
            state = self.initial_state(len(x_BD))
        y_BH, new_state = x_BD, list[LayerState]()
        for index, (step, before) in enumerate(zip(steps, state, strict=True)):
            one = isinstance(before, Tensor)
            after = step(y_BH, (before,) if one else before)
            y_BH = y_BH + after[0] if self.residual and index else after[0]
            new_state.append(after[0] if one else after)
        return y_BH, new_state

    def _drop(self, x_BTD: Tensor, p: float) -> Tensor:
        return sequence_dropout(x_BTD, p, self.dropout_kind) if self.training else x_BTD

    def backend(self, device: torch.device, dtype: torch.dtype) -> dict[str, str]:
        """Which backend of ``lm_research.kernels`` serves a layer, and why."""
        choice = self._layers()[0].choice(torch.empty(0, device=device, dtype=dtype))
        return {"kernels/backend": choice.backend, "kernels/reason": choice.reason}

    def _layers(self) -> list[Layer]:
        return cast(list[Layer], list(self.layers))

    def _learned_start(self) -> nn.ParameterList:
        sizes = (layer.hidden_size for layer in self._layers())
        return nn.ParameterList(torch.zeros(self.states_per_layer, size) for size in sizes)

    def _initial_layer_state(self, index: int, batch: int) -> LayerState:
        layer = self._layers()[index]
        if self.start_SH is None:
            weight = cast(Tensor, layer.weight_hh_l0)
            parts = [weight.new_zeros(batch, layer.hidden_size)] * self.states_per_layer
        else:
            parts = [start_H.expand(batch, -1) for start_H in self.start_SH[index]]
        return parts[0] if self.states_per_layer == 1 else tuple(parts)


def _check_sizes(hidden_size: int, num_layers: int, last_size: int, residual: bool) -> None:
    sizes = {"hidden_size": hidden_size, "num_layers": num_layers, "last_hidden_size": last_size}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}; it must be at least 1")
    if residual and last_size != hidden_size:
        raise ValueError(
            f"residual=true adds a layer's input to its output: last_hidden_size is {last_size}, "
            f"and must be hidden_size, {hidden_size}, or null"
        )


def run_layer(
    layer: Callable[..., Any], x_BTD: Inputs, state: LayerState, lengths_B: Tensor | None
) -> tuple[Tensor, LayerState]:
    """One layer, or a call of it, over one window; its state batch-first before and after."""
    device = x_BTD.device.type
    if isinstance(x_BTD, Tensor) and torch.is_autocast_enabled(device):
        # torch 2.13's LSTM on CPU refuses float32 inputs under bfloat16 autocast.
        x_BTD = x_BTD.to(torch.get_autocast_dtype(device))
    if isinstance(state, Tensor):
        hidden: LayerState = _as_hidden(state, x_BTD)
    else:
        hidden = tuple(_as_hidden(part, x_BTD) for part in state)
    y_BTH, hidden = layer(x_BTD, hidden, lengths=lengths_B)
    if isinstance(hidden, Tensor):
        return y_BTH, hidden.squeeze(0)
    return y_BTH, tuple(part.squeeze(0) for part in hidden)


def _as_hidden(part_BH: Tensor, x_BTD: Inputs) -> Tensor:
    # torch.nn wants a layer dimension in front, cuDNN wants memory to be contiguous.
    if part_BH.dtype != x_BTD.dtype:
        part_BH = part_BH.to(x_BTD.dtype)
    return part_BH.unsqueeze(0).contiguous()


def initialize(layer: Layer, init: Init, init_range: float) -> None:
    """Draw the weights of one layer anew, in place; ``torch`` leaves them as they were built."""
    if init == "keras":
        _initialize_as_keras(layer)
    elif init == "uniform":
        for name, parameter in layer.named_parameters():
            if not name.startswith("gain"):
                nn.init.uniform_(parameter, -init_range, init_range)
    elif init != "torch":
        raise ValueError(f"init is {init!r}; choose 'torch', 'keras' or 'uniform'")


def _initialize_as_keras(layer: Layer) -> None:
    # Keras draws one kernel for all gates, so fan-out is GH, as in torch's stacked weight.
    nn.init.xavier_uniform_(cast(Tensor, layer.weight_ih_l0))
    nn.init.orthogonal_(cast(Tensor, layer.weight_hh_l0))
    bias = cast(Tensor, layer.bias_ih_l0)
    nn.init.zeros_(bias)
    nn.init.zeros_(cast(Tensor, layer.bias_hh_l0))
    if layer.mode == "LSTM":
        with torch.no_grad():
            bias[layer.hidden_size : 2 * layer.hidden_size] = 1.0
