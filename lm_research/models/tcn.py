"""The temporal convolutional network of Bai, Kolter and Koltun 2018 (https://arxiv.org/abs/1803.01271).

Block l has two causal convolutions of kernel size k and dilation d = 2^l, l = 0, 1, ...:

    (X * W)_t = sum_{i=0..k-1} W_i x_{t - d i} + b,         x_t = 0 before the stream begins
    a = dropout(relu(X * W)),    b = dropout(relu(A * V)),    y = relu(b + x)

Each row of W, one output channel over all taps and inputs, is g v / |v| (weight normalization,
Salimans and Kingma 2016, https://arxiv.org/abs/1602.07868). Where a block's width changes, x is
taken through a linear map of each step (a 1x1 convolution).

:class:`~lm_research.models.cnn.CausalCNN` is another network: one gated convolution a layer, no
weight normalization, nothing after the sum.

Shapes: B batch, T time, D input size, C and H channels into and out of a convolution, P history
kept, S = P + T.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.config.types import DropProbability, PositiveInt
from lm_research.models.cnn import side_by_side
from lm_research.models.dropout import check_dropout
from lm_research.models.lengths import check_lengths, last_steps, zero_padding
from lm_research.models.sequence_model import SequenceModel, State, StateStep

Init = Literal["torch", "normal", "authors"]
DEVIATION = 0.01
"""Of the authors' normal distribution."""


class NormalizedConvolution(nn.Module):
    """X * W + b, W = g v / |v| by output channel; drawn as ``torch.nn.Conv1d`` draws.

    ``direction`` is v as one matrix (H, kC), the oldest input first, ``gain`` is g (H).
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        drawn = nn.Linear(kernel_size * inputs, outputs)  # within 1 / sqrt(kC), as Conv1d
        self.direction, self.bias = drawn.weight, drawn.bias
        self.gain = nn.Parameter(drawn.weight.detach().norm(dim=1))

    def draw(self, deviation: float) -> None:
        """W from N(0, deviation^2)."""
        nn.init.normal_(self.direction, std=deviation)
        with torch.no_grad():
            self.gain.copy_(self.direction.norm(dim=1))

    @property
    def history(self) -> int:
        """P = (k - 1) d, the number of earlier inputs that an output depends on."""
        return (self.kernel_size - 1) * self.dilation

    def weight(self) -> Tensor:
        """W, (H, kC)."""
        return self.direction * (self.gain / self.direction.norm(dim=1))[:, None]

    def forward(self, x_BSC: Tensor, weight_HK: Tensor) -> Tensor:
        """y_BTH of inputs that begin with P earlier ones, by W as :meth:`weight` gives it."""
        return F.linear(side_by_side(x_BSC, self.history, self.dilation), weight_HK, self.bias)


class Block(nn.Module):
    """Two convolutions, and the input added to what they give."""

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int, dilation: int, dropout: float
    ) -> None:
        super().__init__()
        self.first = NormalizedConvolution(inputs, outputs, kernel_size, dilation)
        self.second = NormalizedConvolution(outputs, outputs, kernel_size, dilation)
        self.residual = nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(dropout)

    def weights(self) -> list[Tensor]:
        """W of either convolution."""
        return [self.first.weight(), self.second.weight()]

    def forward(
        self,
        x_BTC: Tensor,
        kept: Sequence[Tensor],
        lengths: Tensor | None,
        weights: Sequence[Tensor],
    ) -> tuple[Tensor, list[Tensor]]:
        """y_BTH, and what to keep of either convolution's inputs."""
        y_BTH, after = x_BTC, []
        convolutions = (self.first, self.second)
        for convolution, before_BPC, weight_HK in zip(convolutions, kept, weights, strict=True):
            x_BSC = torch.cat([before_BPC.to(y_BTH.dtype), y_BTH], dim=1)
            y_BTH = self.dropout(F.relu(convolution(x_BSC, weight_HK)))
            after.append(last_steps(x_BSC, convolution.history, lengths))
        return F.relu(y_BTH + self.residual(x_BTC)), after


class TCN(SequenceModel):
    """A stack of blocks.

    The state is a list of two tensors a block, the last (k - 1) d inputs of either convolution,
    (B, P, C); zeros in front of a stream are the usual left padding.

    Args:
        input_size: D.
        hidden_size: width of every block but the last.
        num_layers: blocks; block l has dilation 2^l.
        kernel_size: k, inputs that one output of a convolution looks at.
        output_size: width of the last block, as task.tie_weights without a projection needs it;
            None: ``hidden_size``.
        input_dropout: probability of dropping an entry of x.
        dropout: the same after each of a block's rectified convolutions.
        init: ``torch``: all as PyTorch draws convolutions; ``normal``: W and the 1x1 maps from
            N(0, 0.01^2), as the paper has it; ``authors``: the 1x1 maps alone, which is what the
            authors' code comes to, where weight normalization undoes the drawing of W.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: PositiveInt = 4,
        kernel_size: PositiveInt = 3,
        output_size: PositiveInt | None = None,
        input_dropout: DropProbability = 0.0,
        dropout: DropProbability = 0.0,
        init: Literal["torch", "normal", "authors"] = "torch",
    ) -> None:
        super().__init__()
        output_size = hidden_size if output_size is None else output_size
        if min(hidden_size, num_layers, kernel_size, output_size) < 1:
            raise ValueError(
                "hidden_size, num_layers, kernel_size and output_size must be at least 1; got "
                f"{hidden_size}, {num_layers}, {kernel_size}, {output_size}"
            )
        check_dropout("input_dropout", input_dropout)
        check_dropout("dropout", dropout)
        self.output_size = output_size
        widths = [input_size, *[hidden_size] * (num_layers - 1), output_size]
        self.blocks = nn.ModuleList(
            Block(widths[layer], widths[layer + 1], kernel_size, 2**layer, dropout)
            for layer in range(num_layers)
        )
        self.input_dropout = nn.Dropout(input_dropout)
        self._initialise(init)

    def _initialise(self, init: Init) -> None:
        if init not in ("torch", "normal", "authors"):
            raise ValueError(f"init is {init!r}; choose 'torch', 'normal' or 'authors'")
        for module in self.modules():
            if isinstance(module, nn.Linear) and init != "torch":
                nn.init.normal_(module.weight, std=DEVIATION)
            elif isinstance(module, NormalizedConvolution) and init == "normal":
                module.draw(DEVIATION)

    @property
    def receptive_field(self) -> int:
        """Inputs, the current one included, that an output depends on: 1 + 2 (k-1) (2^L - 1)."""
        return 1 + sum(one.history for one in self._convolutions())

    def initial_state(self, batch: int) -> State:
        """Zeros before the stream: (B, P, C) a convolution."""
        return [
            one.direction.new_zeros(batch, one.history, one.direction.shape[1] // one.kernel_size)
            for one in self._convolutions()
        ]

    def forward(
        self, x_BTD: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps; see :meth:`SequenceModel.forward`."""
        if lengths is not None:
            check_lengths(lengths, x_BTD)
        y_BTH, state = self._run(self._weights(), x_BTD, state, lengths)
        return (y_BTH if lengths is None else zero_padding(y_BTH, lengths)), state

    def stepper(self) -> StateStep:
        """Steps that share the normalized weights."""
        return self.step if self.training else partial(self._stepped, self._weights())

    def _stepped(
        self, weights: list[list[Tensor]], x_BD: Tensor, state: State | None
    ) -> tuple[Tensor, State]:
        y_B1H, state = self._run(weights, x_BD[:, None], state, None)
        return y_B1H[:, 0], state

    def _run(
        self,
        weights: list[list[Tensor]],
        x_BTD: Tensor,
        state: State | None,
        lengths: Tensor | None,
    ) -> tuple[Tensor, State]:
        kept = self.initial_state(x_BTD.shape[0]) if state is None else state
        y_BTH, after = self.input_dropout(x_BTD), []
        for index, (block, own) in enumerate(zip(self.blocks, weights, strict=True)):
            y_BTH, new = block(y_BTH, kept[2 * index : 2 * index + 2], lengths, own)
            after += new
        return y_BTH, after

    def _weights(self) -> list[list[Tensor]]:
        return [block.weights() for block in self.blocks if isinstance(block, Block)]

    def _convolutions(self) -> list[NormalizedConvolution]:
        return [one for one in self.modules() if isinstance(one, NormalizedConvolution)]
