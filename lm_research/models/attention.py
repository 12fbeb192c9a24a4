"""Attention of a decoder over what an encoder has read.

Shapes: B batch, T steps of the decoder, S steps of the encoder, Q query size, M memory size.
"""

from typing import Literal

import torch
from torch import Tensor, nn

AttentionKind = Literal["additive", "multiplicative"]


class Attention(nn.Module):
    """q_BTQ over m_BSM: the weights a_ts = softmax_s score(q_t, m_s), and sum_s a_ts m_s.

    additive (Bahdanau et al. 2015, https://arxiv.org/abs/1409.0473), of width Q::

        score(q, m) = u . tanh(W q + U m + b)

    multiplicative ("general" of Luong et al. 2015, https://arxiv.org/abs/1508.04025)::

        score(q, m) = q . W m

    Args:
        kind: which score.
        query_size: Q.
        memory_size: M.
    """

    def __init__(self, kind: AttentionKind, query_size: int, memory_size: int) -> None:
        super().__init__()
        self.kind = kind
        self.key = nn.Linear(memory_size, query_size, bias=kind == "additive")
        if kind == "additive":
            self.query = nn.Linear(query_size, query_size, bias=False)
            self.score = nn.Linear(query_size, 1, bias=False)

    def keys(self, memory_BSM: Tensor) -> Tensor:
        """W m or U m + b of a memory, (B, S, Q): computed once for all steps."""
        return self.key(memory_BSM)

    def forward(
        self, query_BTQ: Tensor, keys_BSQ: Tensor, memory_BSM: Tensor, none_BS: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Context (B, T, M) and weights (B, T, S); none of the weight goes where ``none_BS``."""
        if self.kind == "additive":
            both_BTSQ = (self.query(query_BTQ)[:, :, None] + keys_BSQ[:, None]).tanh()
            score_BTS = self.score(both_BTSQ)[..., 0]
        else:
            score_BTS = query_BTQ @ keys_BSQ.transpose(1, 2)
        weight_BTS = score_BTS.masked_fill(none_BS[:, None], -torch.inf).softmax(-1)
        return weight_BTS @ memory_BSM, weight_BTS
