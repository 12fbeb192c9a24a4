"""What models of a fixed number of preceding inputs share: the window, and the state behind it.

Shapes: B batch, T time, D input size, N inputs of a context, P = N - 1 inputs kept, S = P + T,
H output size.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from lm_research.models.lengths import check_lengths, last_steps, zero_padding
from lm_research.models.sequence_model import SequenceModel, State


class ContextModel(SequenceModel):
    """y_t is a function of x_t, x_{t-1}, ..., x_{t-N+1}; zeros stand before the stream.

    The state is the last N - 1 inputs, (B, P, D), oldest first. Of a model that reads tokens,
    y_t predicts token t + 1, so N is the n - 1 of an n-gram model.

    Args:
        input_size: D.
        context: N.
    """

    def __init__(self, input_size: int, context: int) -> None:
        super().__init__()
        if context < 1:
            raise ValueError(f"context is {context}; it must be at least 1")
        self.input_size, self.context = input_size, context

    @abstractmethod
    def of_context(self, x_BTC: Tensor) -> Tensor:
        """y_BTH of the N inputs side by side, C = N D, the nearest first."""

    def initial_state(self, batch: int) -> State:
        """Zeros before the stream, (B, P, D)."""
        return next(self.parameters()).new_zeros(batch, self.context - 1, self.input_size)

    def forward(
        self, x_BTD: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run T steps; see :meth:`SequenceModel.forward`."""
        if lengths is not None:
            check_lengths(lengths, x_BTD)
        before_BPD = self.initial_state(x_BTD.shape[0]) if state is None else state
        x_BSD, steps = torch.cat([before_BPD.to(x_BTD.dtype), x_BTD], dim=1), x_BTD.shape[1]
        shifted = [x_BSD[:, at : at + steps] for at in range(self.context - 1, -1, -1)]
        y_BTH = self.of_context(torch.cat(shifted, dim=-1))
        state = last_steps(x_BSD, self.context - 1, lengths)
        return (y_BTH if lengths is None else zero_padding(y_BTH, lengths)), state
