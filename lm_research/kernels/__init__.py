"""Fused recurrent layers: drop-in ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU``, these with layer
normalization, and the scans beneath.

Needs torch alone. Triton is imported at the first call that a fused kernel serves; a call that none
serves runs on PyTorch's own path, and :func:`explain` says which it would be, and why.
"""

from lm_research.kernels.diagonal import explain_diagonal, linear_scan, minimal_scan
from lm_research.kernels.dispatch import Choice, explain
from lm_research.kernels.functional import gru_scan, lstm_scan, rnn_scan
from lm_research.kernels.linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_with_hits,
    linear_cross_entropy_with_ranks,
)
from lm_research.kernels.minimal import MinGRU, MinLSTM
from lm_research.kernels.modules import FusedGRU, FusedLSTM, FusedRNN
from lm_research.kernels.normalized import (
    LayerNormGRU,
    LayerNormLSTM,
    LayerNormRNN,
    layer_norm_gru_scan,
    layer_norm_lstm_scan,
    layer_norm_rnn_scan,
)
from lm_research.kernels.table_rows import TableRows

__all__ = [
    "Choice",
    "FusedGRU",
    "FusedLSTM",
    "FusedRNN",
    "LayerNormGRU",
    "LayerNormLSTM",
    "LayerNormRNN",
    "MinGRU",
    "MinLSTM",
    "TableRows",
    "explain",
    "explain_diagonal",
    "gru_scan",
    "layer_norm_gru_scan",
    "layer_norm_lstm_scan",
    "layer_norm_rnn_scan",
    "linear_cross_entropy",
    "linear_cross_entropy_with_hits",
    "linear_cross_entropy_with_ranks",
    "linear_scan",
    "lstm_scan",
    "minimal_scan",
    "rnn_scan",
]
