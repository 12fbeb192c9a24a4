"""Recurrent cells with layer normalization (Ba, Kiros and Hinton 2016, arXiv 1607.06450).

LN(v) = (v - mean(v)) / sqrt(var(v) + eps), statistics jointly over all gates and units of a head;
* is elementwise, gains are 1 at first:

    p_t = gain_hh * LN(U h_{t-1})            a_t = gain_ih * LN(W x_t) + b

    RNN   h_t = f(a_t + p_t + b')
    LSTM  i, f, o = sigmoid(a_t + p_t + b'), g = tanh(a_t + p_t + b'), each its quarter
          c_t = f * c_{t-1} + i * g          h_t = o * tanh(gain_c * LN(c_t) + bias_c)
    GRU   r, z = sigmoid(a_t + p_t + b'), n = tanh(a_t + r * (p_t + b')), each its third
          h_t = (1 - z) * n + z * h_{t-1}

The LSTM is the paper's (equations 20 to 22), the biases that LN(U h), LN(W x) and the gates have
there added up. The GRU takes the reset gate after the product, as ``nn.GRU`` does, and one set of
statistics for all three gates (as the ``haste`` library does), where the paper has one for r and z
and one for n. The RNN normalizes its two terms apart, as the LSTM does, where the paper (equation
4) normalizes their sum.

But for eps the scale of W and U does not matter. LN(0) = 0, so that a state of zeros gives p = 0;
there and near it the gradient through p is about 1 / sqrt(eps) = 316 times as large as where U h
varies by 1: in float16 that may ask for a smaller loss scale.

A layer with N heads is N layers of H / N units side by side: every head has statistics of its own,
in LN(W x) and LN(c), too.
"""

from lm_research.kernels.normalized.modules import LayerNormGRU, LayerNormLSTM, LayerNormRNN
from lm_research.kernels.normalized.scans import (
    layer_norm_gru_scan,
    layer_norm_lstm_scan,
    layer_norm_rnn_scan,
)

__all__ = [
    "LayerNormGRU",
    "LayerNormLSTM",
    "LayerNormRNN",
    "layer_norm_gru_scan",
    "layer_norm_lstm_scan",
    "layer_norm_rnn_scan",
]
