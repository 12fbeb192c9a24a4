"""The pointer-generator's mixture: a token of the vocabulary, or one of the source.

See, Liu and Manning 2017 (https://arxiv.org/abs/1704.04368)::

    p(y) = g_t p_t(y) + (1 - g_t) sum_s a_ts [source_s = y],    g_t = sigmoid(gate_t)

Shapes: B batch, S source tokens, T target tokens, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

NOTHING = 1e-20
"""Probability of a token that the source does not hold: its logarithm has a gradient of 0."""


def mixed(log_p_BTV: Tensor, gate_BT1: Tensor, weight_BTS: Tensor, source_BS: Tensor) -> Tensor:
    """log p_BTV of every token, in nats.

    Args:
        log_p_BTV: of the vocabulary's.
        gate_BT1: before the sigmoid.
        weight_BTS: attention, 0 where the source has no token.
        source_BS: ids, negative where there is none.
    """
    source_BTS = source_BS.clamp(min=0)[:, None].expand_as(weight_BTS)
    copied_BTV = torch.zeros_like(log_p_BTV).scatter_add(
        -1, source_BTS, weight_BTS.to(log_p_BTV.dtype)
    )
    return _mixture(log_p_BTV, gate_BT1, copied_BTV)


def mixed_at(
    log_p_BTV: Tensor, gate_BT1: Tensor, weight_BTS: Tensor, source_BS: Tensor, target_BT: Tensor
) -> Tensor:
    """log p_BT of one token at each place, as in :func:`mixed`, whose other tokens are not built.

    Args:
        target_BT: ids; what is said of negative ones means nothing.
    """
    log_p_BT1 = log_p_BTV.gather(-1, target_BT.clamp(min=0)[..., None])
    same_BTS = source_BS[:, None] == target_BT[..., None]
    copied_BT1 = (weight_BTS * same_BTS).sum(-1, keepdim=True)
    return _mixture(log_p_BT1, gate_BT1, copied_BT1)[..., 0]


def _mixture(log_p: Tensor, gate_BT1: Tensor, copied: Tensor) -> Tensor:
    gate_BT1, copied = gate_BT1.to(log_p.dtype), copied.to(log_p.dtype)
    log_copied = copied.clamp(min=NOTHING).log()
    return torch.logaddexp(F.logsigmoid(gate_BT1) + log_p, F.logsigmoid(-gate_BT1) + log_copied)
