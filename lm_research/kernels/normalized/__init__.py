"""Recurrent cells with layer normalization (Ba, Kiros and Hinton 2016, arXiv 1607.06450).

LN(v) = (v - mean(v)) / sqrt(var(v) + eps), statistics jointly over all gates and units of a head;
* is elementwise, g a gain (ones at first), b a bias:

    p_t = g * LN(U h_{t-1})                  a_t = g' * LN(W x_t) + b

    RNN   h_t = f(a_t + p_t + b')
    LSTM  i, f, o = sigmoid(a_t + p_t + b'), g = tanh(a_t + p_t + b'), each its quarter
          c_t = f * c_{t-1} + i * g          h_t = o * tanh(g'' * LN(c_t) + b'')
    GRU   r, z = sigmoid(a_t + p_t + b'), n = tanh(a_t + r * (p_t + b')), each its third
          h_t = (1 - z) * n + z * h_{t-1}

The LSTM is the paper's (equations 20 to 22) with the biases that LN(U h), LN(W x) and the gates
have there added up in one. The GRU takes the reset gate after the product, as ``nn.GRU`` does, and
one set of statistics for all three gates (as the ``haste`` library documents), where the paper has
one for r and z and one for n. The paper has no equations for the Elman cell's two terms; they are
treated as the LSTM's are.

LN makes a layer blind to the scale of W and U, and LN(0) = 0, so that a state of zeros gives p = 0.
There and near it the gradient through p is about 1 / sqrt(eps) = 316 times as large: in float16
that may ask for a smaller loss scale.

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
