"""minLSTM (Feng et al. 2024, https://arxiv.org/abs/2410.01201): gates of the input alone.

h_t = f'_t h_{t-1} + i'_t g(v_t),    f'_t = f_t / (f_t + i_t), i'_t = i_t / (f_t + i_t),
f_t = sigmoid(W_f x_t + b_f), i_t = sigmoid(W_i x_t + b_i), v_t = W_h x_t + b_h,

with g(v) = v + 0.5 for v >= 0 and sigmoid(v) otherwise (:mod:`lm_research.kernels.minimal`).
"""

from functools import partial
from typing import Literal

from lm_research.config.types import DropProbability, NonNegativeInt, PositiveInt
from lm_research.kernels import MinLSTM as Cell
from lm_research.models.min_rnn import MinimalRNN


class MinLSTM(MinimalRNN):
    """Blocks around minLSTM. Arguments as in :class:`MinimalRNN`; backend is the cell's."""

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        num_layers: PositiveInt = 3,
        expansion: PositiveInt = 2,
        kernel_size: NonNegativeInt = 4,
        feedforward_ratio: PositiveInt = 4,
        dropout: DropProbability = 0.0,
        backend: Literal["auto", "reference", "torch", "triton"] = "auto",
    ) -> None:
        super().__init__(
            partial(Cell, batch_first=True, backend=backend),
            input_size,
            hidden_size,
            num_layers,
            expansion,
            kernel_size,
            feedforward_ratio,
            dropout,
        )
