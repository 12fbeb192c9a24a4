"""The scans with layer normalization, for people who write their own layers: gates in, states out.

``gates`` are the inputs' share, LN(W x_t) + b + b' (the GRU's b' of n apart); the recurrent weight
may be block-diagonal: (gates x H, D), N = H / D heads of D units, each with statistics of its own.
The formulas are in :mod:`lm_research.kernels.normalized`.

Shapes: B batch, T time, G gates x H, H hidden size, D head size, N heads.
"""

import torch
from torch import Tensor

from lm_research.kernels.checks import check_bias, check_scan, check_size, real_resets
from lm_research.kernels.dispatch import Cell, Precision, ScanBackend, scan_backend
from lm_research.kernels.functional import _needs_gradient, _zeros
from lm_research.kernels.normalized import reference
from lm_research.kernels.walk import Walk

EPS = 1e-5
"""Added to a variance: that of ``nn.LayerNorm``."""


def centred(weight_GD: Tensor, hidden: int) -> Tensor:
    """U less its mean row, for each head over all its gates and units; in float32 at least.

    The mean of U h over a head's rows is (mean row of U) h, whatever h is. Without its mean row U
    gives U h - mean(U h) at once, so that a scan needs no mean at any step.
    """
    size = weight_GD.shape[1]
    wide = torch.promote_types(weight_GD.dtype, torch.float32)
    parts_GNDD = weight_GD.to(wide).view(-1, hidden // size, size, size)
    return (parts_GNDD - parts_GNDD.mean((0, 2), keepdim=True)).view_as(weight_GD)


def layer_norm_rnn_scan(
    gates: Tensor,
    weight: Tensor,
    gain: Tensor,
    h0: Tensor | None = None,
    *,
    nonlinearity: str = "tanh",
    eps: float = EPS,
    lengths: Tensor | None = None,
    reset_mask: Tensor | None = None,
    reverse: bool = False,
    backend: ScanBackend = "auto",
    precision: Precision = "tf32x3",
) -> tuple[Tensor, Tensor]:
    """h_t = f(gates_t + LN(U h_{t-1})), f being ``tanh`` or ``relu``.

    Args:
        gates: (B, T, H).
        weight: U, (H, D).
        gain: (H), what the normalized U h is multiplied with.
        h0: (B, H), zeros if not given; gradients flow to it.
        nonlinearity: f.
        eps: added to the variance of U h.
        lengths, reset_mask, reverse, backend, precision: as in
            :func:`~lm_research.kernels.functional.rnn_scan`.

    Returns:
        y (B, T, H) and the last state (B, H).

    Raises:
        RuntimeError: sizes, types or devices do not fit.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"Unknown nonlinearity '{nonlinearity}': 'tanh' or 'relu'")
    h0 = _zeros(gates, 1) if h0 is None else h0
    check_scan(gates, weight, 1, (h0,), lengths, reset_mask)
    check_size("gain", gain, gates.shape[2:], gates)
    walk = Walk(lengths, real_resets(reset_mask, lengths), reverse, precision=precision)
    if scan_backend("layer_norm_rnn", gates, weight, backend, precision).backend == "reference":
        weight, gain = weight.to(gates.dtype), gain.to(gates.dtype)
        return reference.rnn_scan(gates, weight, h0, gain, walk, nonlinearity, eps)
    from lm_research.kernels.normalized import ops

    save = _needs_gradient(gates, weight, gain, h0)
    weight, gain = centred(weight, h0.shape[1]).to(gates.dtype), _wide(gain, gates)
    relu = nonlinearity == "relu"
    y, h, _ = ops.rnn_scan(gates, weight, h0, gain, relu, save, eps, *walk.flat())
    return y, h


def layer_norm_lstm_scan(
    gates: Tensor,
    weight: Tensor,
    gain: Tensor,
    gain_c: Tensor,
    bias_c: Tensor | None = None,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    eps: float = EPS,
    lengths: Tensor | None = None,
    reset_mask: Tensor | None = None,
    reverse: bool = False,
    backend: ScanBackend = "auto",
    precision: Precision = "tf32x3",
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The LSTM's recurrence over gates (B, T, 4 H) in the order i, f, g, o; weight (4 H, D).

    ``gain`` (4 H) is that of LN(U h), ``gain_c`` (H) and ``bias_c`` (H, zero if not given) are
    those of LN(c). ``state`` is (h0, c0), each (B, H). Returns y (B, T, H) and (h, c). Otherwise
    as :func:`layer_norm_rnn_scan`.
    """
    h0, c0 = state if state is not None else (_zeros(gates, 4), _zeros(gates, 4))
    bias_c = torch.zeros_like(gain_c) if bias_c is None else bias_c
    check_scan(gates, weight, 4, (h0, c0), lengths, reset_mask)
    check_size("gain", gain, gates.shape[2:], gates)
    for name, part in (("gain_c", gain_c), ("bias_c", bias_c)):
        check_size(name, part, h0.shape[1:], gates)
    walk = Walk(lengths, real_resets(reset_mask, lengths), reverse, precision=precision)
    norms = (gain, gain_c, bias_c)
    if scan_backend("layer_norm_lstm", gates, weight, backend, precision).backend == "reference":
        weight, *norms = (part.to(gates.dtype) for part in (weight, *norms))
        y, h, c = reference.lstm_scan(gates, weight, h0, c0, *norms, walk, eps)
        return y, (h, c)
    from lm_research.kernels.normalized import ops

    save = _needs_gradient(gates, weight, *norms, h0, c0)
    weight = centred(weight, h0.shape[1]).to(gates.dtype)
    wide = (_wide(part, gates) for part in norms)
    y, h, c, *_ = ops.lstm_scan(gates, weight, h0, c0, *wide, save, eps, *walk.flat())
    return y, (h, c)


def layer_norm_gru_scan(
    gates: Tensor,
    weight: Tensor,
    gain: Tensor,
    h0: Tensor | None = None,
    *,
    bias_n: Tensor | None = None,
    eps: float = EPS,
    lengths: Tensor | None = None,
    reset_mask: Tensor | None = None,
    reverse: bool = False,
    backend: ScanBackend = "auto",
    precision: Precision = "tf32x3",
) -> tuple[Tensor, Tensor]:
    """The GRU's recurrence over gates (B, T, 3 H) in the order r, z, n; weight (3 H, D).

    ``gain`` (3 H) is that of LN(U h); ``bias_n`` (H) is the recurrent bias of n, which stands
    inside r * (LN(U h) + b'). Otherwise as :func:`layer_norm_rnn_scan`.
    """
    h0 = _zeros(gates, 3) if h0 is None else h0
    check_scan(gates, weight, 3, (h0,), lengths, reset_mask)
    check_bias(bias_n, gates)
    check_size("gain", gain, gates.shape[2:], gates)
    bias_n = gain.new_zeros(h0.shape[1]) if bias_n is None else bias_n
    walk = Walk(lengths, real_resets(reset_mask, lengths), reverse, precision=precision)
    if scan_backend("layer_norm_gru", gates, weight, backend, precision).backend == "reference":
        weight, gain, bias_n = (part.to(gates.dtype) for part in (weight, gain, bias_n))
        return reference.gru_scan(gates, weight, h0, gain, bias_n, walk, eps)
    from lm_research.kernels.normalized import ops

    save = _needs_gradient(gates, weight, gain, bias_n, h0)
    weight = centred(weight, h0.shape[1]).to(gates.dtype)
    wide = (_wide(part, gates) for part in (gain, bias_n))
    y, h, _ = ops.gru_scan(gates, weight, h0, *wide, save, eps, *walk.flat())
    return y, h


def _wide(part: Tensor, gates: Tensor) -> Tensor:
    """In the type that a kernel computes in."""
    return part.to(torch.promote_types(gates.dtype, torch.float32))
