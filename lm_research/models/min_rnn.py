"""What minGRU and minLSTM share: blocks around a cell whose gates depend on the input alone.

Feng et al. 2024, "Were RNNs All We Needed?" (https://arxiv.org/abs/2410.01201), train language
models of blocks (appendix C): a causal depthwise convolution of kernel size 4, the cell with an
inner width of ``expansion`` times H, and a perceptron. Each is a branch here, normalised in front
and added to its input:

    x <- x + dropout(conv(norm(x)))
    x <- x + dropout(W_o cell(norm(x)))
    x <- x + dropout(MLP(norm(x)))

A window is computed in parallel over time (:mod:`lm_research.kernels.minimal`), a single step of
generation as h_t = a_t h_{t-1} + b_t.

Shapes: B batch, T time, D input size, H hidden size, I = expansion H inner size, G = gates I,
k kernel size, P = k - 1 inputs kept, S = P + T.
"""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.config.types import DropProbability, NonNegativeInt, PositiveInt
from lm_research.kernels import MinGRU, MinLSTM
from lm_research.kernels.diagonal import decay_and_input
from lm_research.models.dropout import check_dropout
from lm_research.models.lengths import check_lengths, last_steps, zero_padding
from lm_research.models.sequence_model import SequenceModel, State, StateStep

Cell = MinGRU | MinLSTM
BlockState = tuple[Tensor, Tensor]
"""kept_BPH, the convolution's last inputs, and h_BI."""


class DepthwiseConvolution(nn.Module):
    """y_t = sum_i w_i * x_{t-i} + b, every channel for itself; ``weight`` (H, k), oldest first."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        bound = kernel_size**-0.5  # as torch.nn.Conv1d with as many groups as channels
        self.weight = nn.Parameter(torch.empty(channels, kernel_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def forward(self, x_BSH: Tensor) -> Tensor:
        """y_BTH of inputs that begin with P earlier ones."""
        weight_H1k = self.weight[:, None]
        y_BHT = F.conv1d(x_BSH.transpose(1, 2), weight_H1k, self.bias, groups=len(self.weight))
        return y_BHT.transpose(1, 2)

    def step(self, x_BkH: Tensor) -> Tensor:
        """y_BH of the last k inputs."""
        return (x_BkH * self.weight.t()).sum(1) + self.bias


class Block(nn.Module):
    """Convolution, cell and perceptron, each normalised in front and added to its input."""

    def __init__(
        self,
        make_cell: Callable[[int, int], Cell],
        size: int,
        inner_size: int,
        kernel_size: int,
        feedforward_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.kept = max(kernel_size - 1, 0)
        self.convolution_norm: nn.Module = nn.LayerNorm(size) if kernel_size else nn.Identity()
        self.convolution = DepthwiseConvolution(size, kernel_size) if kernel_size else None
        self.cell_norm, self.cell = nn.LayerNorm(size), make_cell(size, inner_size)
        self.cell_output = nn.Linear(inner_size, size)
        self.feedforward_norm = nn.LayerNorm(size)
        self.feedforward = nn.Sequential(
            nn.Linear(size, feedforward_size), nn.GELU(), nn.Linear(feedforward_size, size)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_BTH: Tensor, state: BlockState, lengths: Tensor | None
    ) -> tuple[Tensor, BlockState]:
        """y_BTH and the state after its last step."""
        kept_BPH, h_BI = state
        if self.convolution is not None:
            z_BTH = self.convolution_norm(x_BTH)
            z_BSH = torch.cat([kept_BPH.to(z_BTH.dtype), z_BTH], dim=1)
            x_BTH = x_BTH + self.dropout(self.convolution(z_BSH))
            kept_BPH = last_steps(z_BSH, self.kept, lengths)
        y_BTI, h_1BI = self.cell(self.cell_norm(x_BTH), h_BI[None], lengths=lengths)
        x_BTH = x_BTH + self.dropout(self.cell_output(y_BTI))
        x_BTH = x_BTH + self.dropout(self.feedforward(self.feedforward_norm(x_BTH)))
        return x_BTH, (kept_BPH, h_1BI[0].clone())

    def step(self, x_BH: Tensor, state: BlockState) -> tuple[Tensor, BlockState]:
        """One step, in evaluation mode."""
        kept_BPH, h_BI = state
        if self.convolution is not None:
            z_BH = self.convolution_norm(x_BH)
            z_BkH = torch.cat([kept_BPH.to(z_BH.dtype), z_BH[:, None]], dim=1)
            x_BH = x_BH + self.convolution.step(z_BkH)
            kept_BPH = z_BkH[:, 1:].clone()
        gates_BG = F.linear(self.cell_norm(x_BH), *self._gate_weights())
        log_a_BI, b_BI = decay_and_input(gates_BG, h_BI.shape[-1])
        h_BI = torch.addcmul(b_BI, log_a_BI.exp(), h_BI.to(b_BI.dtype)).to(h_BI.dtype)
        x_BH = x_BH + self.cell_output(h_BI.to(gates_BG.dtype))
        return x_BH + self.feedforward(self.feedforward_norm(x_BH)), (kept_BPH, h_BI)

    def _gate_weights(self) -> tuple[Tensor, Tensor]:
        return cast(Tensor, self.cell.weight_ih_l0), cast(Tensor, self.cell.bias_ih_l0)


class MinimalRNN(SequenceModel):
    """A stack of blocks, then a normalization.

    The state is a list of (kept_BPH, h_BI), one a block; without convolution P is 0.

    Args:
        make_cell: input and inner size -> one ``batch_first`` layer.
        input_size: D; a linear map comes first where it differs from ``hidden_size``.
        hidden_size: H, of every block and of the output.
        num_layers: blocks.
        expansion: I over H.
        kernel_size: k of the convolution; 0: there is none.
        feedforward_ratio: inner size of the perceptron over H.
        dropout: probability of dropping an entry of the input and of each branch's output.
    """

    def __init__(
        self,
        make_cell: Callable[[int, int], Cell],
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        expansion: PositiveInt,
        kernel_size: NonNegativeInt,
        feedforward_ratio: PositiveInt,
        dropout: DropProbability,
    ) -> None:
        super().__init__()
        if min(hidden_size, num_layers, expansion, feedforward_ratio) < 1 or kernel_size < 0:
            raise ValueError(
                "hidden_size, num_layers, expansion and feedforward_ratio must be at least 1, and "
                f"kernel_size 0 or more; got {hidden_size}, {num_layers}, {expansion}, "
                f"{feedforward_ratio} and {kernel_size}"
            )
        check_dropout("dropout", dropout)
        self.output_size, self.inner_size = hidden_size, expansion * hidden_size
        same = input_size == hidden_size
        self.project = nn.Identity() if same else nn.Linear(input_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        sizes = hidden_size, self.inner_size, kernel_size, feedforward_ratio * hidden_size
        self.blocks = nn.ModuleList(Block(make_cell, *sizes, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(hidden_size)

    def initial_state(self, batch: int) -> State:
        """Zeros, for ``batch`` rows."""
        like = self.norm.weight
        return [
            (
                like.new_zeros(batch, block.kept, self.output_size),
                like.new_zeros(batch, self.inner_size),
            )
            for block in self._blocks()
        ]

    def forward(
        self, x_BTD: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps; see :meth:`SequenceModel.forward`."""
        if lengths is not None:
            check_lengths(lengths, x_BTD)
            lengths = lengths.to(x_BTD.device)
        y_BTH, after = self.dropout(self.project(x_BTD)), []
        before = self.initial_state(x_BTD.shape[0]) if state is None else state
        for block, own in zip(self._blocks(), before, strict=True):
            y_BTH, new = block(y_BTH, own, lengths)
            after.append(new)
        y_BTH = self.norm(y_BTH)
        return (y_BTH if lengths is None else zero_padding(y_BTH, lengths)), after

    def backend(self, device: torch.device, dtype: torch.dtype) -> dict[str, str]:
        """Which backend of ``lm_research.kernels`` serves a cell, and why."""
        choice = self._blocks()[0].cell.choice(torch.empty(0, device=device, dtype=dtype))
        return {"kernels/backend": choice.backend, "kernels/reason": choice.reason}

    def stepper(self) -> StateStep:
        """Steps by the recurrence itself, without a scan."""
        return self.step if self.training else self._stepped

    def _stepped(self, x_BD: Tensor, state: State | None) -> tuple[Tensor, State]:
        y_BH, after = self.project(x_BD), []
        before = self.initial_state(len(x_BD)) if state is None else state
        for block, own in zip(self._blocks(), before, strict=True):
            y_BH, new = block.step(y_BH, own)
            after.append(new)
        return self.norm(y_BH), after

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]
