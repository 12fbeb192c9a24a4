"""The neural probabilistic language model of Bengio, Ducharme, Vincent and Jauvin (2003).

    y = b + W x + U tanh(d + H x),     x = [e(w_{t-1}); e(w_{t-2}); ...; e(w_{t-n+1})]

(JMLR 3, https://www.jmlr.org/papers/v3/bengio03a.html, equations 5 and 6), with one vector a word
and weights of their own for each position. The vectorizer gives e(w), the output layer holds b, U
and, where there are direct connections, W.

Shapes: B batch, T time, D input size, N = n - 1 words of context, C = N D.
"""

import torch
from torch import Tensor, nn

from lm_research.config.types import DropProbability, PositiveInt
from lm_research.models.context import ContextModel
from lm_research.models.dropout import check_dropout


class NPLM(ContextModel):
    """tanh(d + H x) of the last N inputs, and with ``direct`` x itself beside it.

    Args:
        input_size: D.
        hidden_size: hidden units.
        context: N, one less than the paper's n.
        direct: whether x goes to the output layer, too, as the paper's W x; ``output_size`` is
            ``hidden_size`` + C then.
        input_dropout: probability of dropping an entry of x.
        dropout: probability of dropping a hidden unit's output.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        context: PositiveInt = 4,
        direct: bool = False,
        input_dropout: DropProbability = 0.0,
        dropout: DropProbability = 0.0,
    ) -> None:
        super().__init__(input_size, context)
        if hidden_size < 1:
            raise ValueError(f"hidden_size is {hidden_size}; it must be at least 1")
        check_dropout("input_dropout", input_dropout)
        check_dropout("dropout", dropout)
        width = context * input_size
        self.direct, self.output_size = direct, hidden_size + (width if direct else 0)
        self.hidden = nn.Linear(width, hidden_size)
        self.input_dropout, self.dropout = nn.Dropout(input_dropout), nn.Dropout(dropout)

    def of_context(self, x_BTC: Tensor) -> Tensor:
        """[tanh(d + H x); x], or its first part alone."""
        x_BTC = self.input_dropout(x_BTC)
        h_BTH = self.dropout(self.hidden(x_BTC).tanh())
        return torch.cat([h_BTH, x_BTC.to(h_BTH.dtype)], dim=-1) if self.direct else h_BTH
