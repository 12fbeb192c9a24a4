"""Fused recurrent layers: drop-in ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU``, and the scans beneath.

Needs torch alone. Triton is imported at the first call that a fused kernel serves; a call that none
serves runs on PyTorch's own path, and :func:`explain` says which it would be, and why.
"""

from lm_research.kernels.diagonal import explain_diagonal, linear_scan, minimal_scan
from lm_research.kernels.dispatch import Choice, explain
from lm_research.kernels.functional import gru_scan, lstm_scan, rnn_scan
from lm_research.kernels.minimal import MinGRU, MinLSTM
from lm_research.kernels.modules import FusedGRU, FusedLSTM, FusedRNN

__all__ = [
    "Choice",
    "FusedGRU",
    "FusedLSTM",
    "FusedRNN",
    "MinGRU",
    "MinLSTM",
    "explain",
    "explain_diagonal",
    "gru_scan",
    "linear_scan",
    "lstm_scan",
    "minimal_scan",
    "rnn_scan",
]
