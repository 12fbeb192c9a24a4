"""A causal, dilated, gated convolutional network over a sequence.

Convolutional language models are sometimes written down as h_t = f(W x_t + U h_{t-1}). That is
the recurrent network: a convolution feeds no output back. Its output is a function of a finite
window of inputs, and all steps can be computed at once:

    (X * W)_t = sum_{i=0..k-1} W_i x_{t - d i},       x_t = 0 before the stream begins
    h(X) = (X * W + b) * sigmoid(X * V + c)           gated linear unit, Dauphin et al. 2016

(https://arxiv.org/abs/1612.08083), with kernel size k and dilation d = 1, 2, 4, ... layer by
layer (van den Oord et al. 2016, https://arxiv.org/abs/1609.03499).

Shapes: B batch, T time, D input size, H hidden size, P history kept, S = P + T.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.config.types import DropProbability, PositiveInt
from lm_research.models.dropout import check_dropout
from lm_research.models.lengths import check_lengths, last_steps, zero_padding
from lm_research.models.sequence_model import SequenceModel, State


def side_by_side(x_BSC: Tensor, history: int, dilation: int) -> Tensor:
    """Each step's inputs of a convolution, oldest first: (B, T, kC); history = (k - 1) dilation."""
    steps = x_BSC.shape[1] - history
    shifts = range(0, history + 1, dilation)
    return torch.cat([x_BSC[:, shift : shift + steps] for shift in shifts], dim=-1)


class GatedConvolution(nn.Module):
    """(X * W + b) * sigmoid(X * V + c) over H channels.

    ``taps`` holds W and V as one matrix (2H, kH), the oldest input first: ``taps.weight.view(2H,
    k, H).transpose(1, 2)`` is the weight of the equal ``torch.nn.Conv1d``. One matrix product over
    k shifted copies keeps channels last, and was the faster way on a CPU at every size tried.
    """

    def __init__(self, channels: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.taps = nn.Linear(kernel_size * channels, 2 * channels)

    @property
    def history(self) -> int:
        """P = (k - 1) d, the number of earlier inputs that an output depends on."""
        return (self.kernel_size - 1) * self.dilation

    def forward(self, x_BSH: Tensor) -> Tensor:
        """h_BTH of inputs that begin with P earlier ones."""
        return F.glu(self.taps(side_by_side(x_BSH, self.history, self.dilation)), dim=-1)


class CausalCNN(SequenceModel):
    """Gated convolutions with residual connections: x <- x + dropout(h(x)), layer by layer.

    The state is a list with each layer's last (k - 1) d inputs, (B, P, H); zeros in front of a
    stream are the usual left padding.

    Args:
        input_size: D; a linear map comes first where it differs from ``hidden_size``.
        hidden_size: H, of every layer and of the output.
        num_layers: layers of the stack.
        kernel_size: k, inputs that one output of a layer looks at.
        dilation_growth: layer l has dilation ``dilation_growth ** l``; 1 dilates nothing.
        dropout: probability of dropping an entry of each layer's output.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: PositiveInt = 4,
        kernel_size: PositiveInt = 3,
        dilation_growth: PositiveInt = 2,
        dropout: DropProbability = 0.0,
    ) -> None:
        super().__init__()
        if min(hidden_size, num_layers, kernel_size, dilation_growth) < 1:
            raise ValueError(
                "hidden_size, num_layers, kernel_size and dilation_growth must be at least 1; got "
                f"{hidden_size}, {num_layers}, {kernel_size}, {dilation_growth}"
            )
        check_dropout("dropout", dropout)
        self.output_size = hidden_size
        same = input_size == hidden_size
        self.project = nn.Identity() if same else nn.Linear(input_size, hidden_size)
        self.convolutions = nn.ModuleList(
            GatedConvolution(hidden_size, kernel_size, dilation_growth**layer)
            for layer in range(num_layers)
        )
        self.dropout = nn.Dropout(dropout)

    @property
    def receptive_field(self) -> int:
        """Inputs, the current one included, that an output depends on: 1 + (k-1) sum_l d_l."""
        return 1 + sum(self._histories())

    def initial_state(self, batch: int) -> State:
        """Zeros before the stream: (B, P, H) a layer."""
        weight = next(self.convolutions.parameters())
        return [weight.new_zeros(batch, kept, self.output_size) for kept in self._histories()]

    def forward(
        self, x_BTD: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps; see :meth:`SequenceModel.forward`."""
        if lengths is not None:
            check_lengths(lengths, x_BTD)
        if state is None:
            state = self.initial_state(x_BTD.shape[0])
        y_BTH, new_state = self.project(x_BTD), []
        for convolution, before_BPH in zip(self.convolutions, state, strict=True):
            x_BSH = torch.cat([before_BPH.to(y_BTH.dtype), y_BTH], dim=1)
            y_BTH = y_BTH + self.dropout(convolution(x_BSH))
            new_state.append(last_steps(x_BSH, before_BPH.shape[1], lengths))
        return (y_BTH if lengths is None else zero_padding(y_BTH, lengths)), new_state

    def _histories(self) -> list[int]:
        return [layer.history for layer in self.convolutions if isinstance(layer, GatedConvolution)]
