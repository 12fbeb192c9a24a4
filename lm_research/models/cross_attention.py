"""Attention of a decoder's layer over what an encoder has read, with several heads.

    x <- x + dropout(W_o attention(W_q norm(x), W_k m, W_v m))

(Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.3; the normalisation in front as
in Xiong et al. 2020, https://arxiv.org/abs/2002.04745). The memory is taken as it comes.

Shapes: B batch, T steps of the decoder, S of the encoder, H hidden size, M memory size, N heads,
E = H / N.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CrossAttention(nn.Module):
    """x_BTH over keys and values of a memory, normalised in front and added to its input.

    Args:
        size: H, a multiple of ``num_heads``.
        memory_size: M.
        num_heads: N.
        dropout: probability of dropping an entry of the branch's output.
        attention_dropout: the same of the attention weights.
        bias: of linear maps and normalization.
    """

    def __init__(
        self,
        size: int,
        memory_size: int,
        num_heads: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_heads, self.attention_dropout = num_heads, attention_dropout
        self.norm = nn.LayerNorm(size, bias=bias)
        self.query = nn.Linear(size, size, bias)
        self.key_value = nn.Linear(memory_size, 2 * size, bias)
        self.output = nn.Linear(size, size, bias)
        self.dropout = nn.Dropout(dropout)

    def keys(self, memory_BSM: Tensor) -> Tensor:
        """Keys and values of a memory side by side, (B, S, 2H)."""
        return self.key_value(memory_BSM)

    def forward(
        self, x_BTH: Tensor, kv_BS2H: Tensor, none_BS: Tensor, weighed: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """y_BTH; and if ``weighed`` the weights (B, T, S), the mean of the heads, before dropout.

        None of the weight goes where ``none_BS``.
        """
        query_BNTE = self._heads(self.query(self.norm(x_BTH)))
        key_BNSE, value_BNSE = (self._heads(part) for part in kv_BS2H.chunk(2, dim=-1))
        given = query_BNTE, key_BNSE, value_BNSE, ~none_BS[:, None, None]
        y_BNTE, weight_BTS = self._weighed(*given) if weighed else (self._fused(*given), None)
        y_BTH = self.output(y_BNTE.transpose(1, 2).flatten(2))
        return x_BTH + self.dropout(y_BTH), weight_BTS

    def _fused(self, query_BNTE: Tensor, key_BNSE: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        dropped = self.attention_dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query_BNTE, key_BNSE, value, mask, dropped)

    def _weighed(
        self, query_BNTE: Tensor, key_BNSE: Tensor, value_BNSE: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same, with the weights, which PyTorch's does not give."""
        scale = 1 / math.sqrt(query_BNTE.shape[-1])
        score_BNTS = (query_BNTE * scale) @ key_BNSE.transpose(2, 3)
        weight_BNTS = score_BNTS.masked_fill(~mask, -torch.inf).softmax(-1)
        dropped_BNTS = F.dropout(weight_BNTS, self.attention_dropout, self.training)
        return dropped_BNTS.to(value_BNSE.dtype) @ value_BNSE, weight_BNTS.mean(1)

    def _heads(self, x_BSH: Tensor) -> Tensor:
        batch, steps = x_BSH.shape[:2]
        return x_BSH.reshape(batch, steps, self.num_heads, -1).transpose(1, 2)
