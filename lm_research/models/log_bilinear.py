"""The log-bilinear language model of Mnih and Hinton (2007).

    q_t = sum_{k=1..N} C_k e(w_{t-k}),     p(w_t = w) = softmax_w(q_t . e(w) + b_w)

(ICML 2007, https://doi.org/10.1145/1273496.1273577): the vector of the next word is predicted by
one matrix for each position, without a nonlinearity, and compared with the same vectors e(w) that
were read. That is ``task.tie_weights=true`` with ``hidden_size`` equal to the vectorizer's ``dim``;
without it the next word has a vector of its own.

Shapes: B batch, T time, D input size, N words of context, C = N D, H hidden size.
"""

from torch import Tensor, nn

from lm_research.config.types import DropProbability, PositiveInt
from lm_research.models.context import ContextModel
from lm_research.models.dropout import check_dropout


class LogBilinear(ContextModel):
    """q_t of the last N inputs.

    ``positions.weight`` is [C_1, ..., C_N] side by side, (H, C), the nearest position first.

    Args:
        input_size: D.
        hidden_size: H, the size of q.
        context: N.
        input_dropout: probability of dropping an entry of an input.
        dropout: probability of dropping an entry of q.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        context: PositiveInt = 4,
        input_dropout: DropProbability = 0.0,
        dropout: DropProbability = 0.0,
    ) -> None:
        super().__init__(input_size, context)
        if hidden_size < 1:
            raise ValueError(f"hidden_size is {hidden_size}; it must be at least 1")
        check_dropout("input_dropout", input_dropout)
        check_dropout("dropout", dropout)
        self.output_size = hidden_size
        self.positions = nn.Linear(context * input_size, hidden_size, bias=False)
        self.input_dropout, self.dropout = nn.Dropout(input_dropout), nn.Dropout(dropout)

    def of_context(self, x_BTC: Tensor) -> Tensor:
        """q_BTH = sum_k C_k x_k."""
        q_BTH: Tensor = self.dropout(self.positions(self.input_dropout(x_BTC)))
        return q_BTH
