"""The scans with layer normalization, for people who write their own layers: gates in, states out.

``gates`` are the inputs' share, LN(W x_t) + b + b' (the GRU's b' of n apart); the recurrent weight
may be block-diagonal: (gates x H, D), N = H / D heads of D units, each with statistics of its own.
Two directions lie beside each other, as in :mod:`lm_research.kernels.functional`. The formulas are
in :mod:`lm_research.kernels.normalized`.

Shapes: B batch, T time, G gates x H, H hidden size, D head size, N heads, R directions.
"""

import torch
from torch import Tensor

from lm_research.kernels.checks import check_bias, check_scan, check_size
from lm_research.kernels.dispatch import ScanBackend
from lm_research.kernels.functional import _needs_gradient, _served, _zeros
from lm_research.kernels.normalized import ops, reference
from lm_research.kernels.obstacles import Precision
from lm_research.kernels.walk import Walk

EPS = 1e-5
"""Added to a variance: that of ``nn.LayerNorm``."""


def centred(weight_GD: Tensor, width: int, directions: int) -> Tensor:
    """U less its mean row, for each head over all its gates and units; in float32 at least.

    The mean of U h over a head's rows is (mean row of U) h, whatever h is. Without its mean row U
    gives U h - mean(U h) at once, so that a scan needs no mean at any step.

    Args:
        weight_GD: (R x G, D).
        width: R x H.
        directions: R.
    """
    size = weight_GD.shape[1]
    wide = torch.promote_types(weight_GD.dtype, torch.float32)
    heads = width // size // directions
    blocks = weight_GD.to(wide).view(directions, -1, heads, size, size)
    return (blocks - blocks.mean((1, 3), keepdim=True)).view_as(weight_GD)


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
    bidirectional: bool = False,
    dropout_mask: Tensor | None = None,
    zoneout_h: Tensor | float | None = None,
    recompute: bool = False,
    backend: ScanBackend = "auto",
    precision: Precision = "tf32x3",
) -> tuple[Tensor, Tensor]:
    """h_t = f(gates_t + gain * LN(U h_{t-1})), f being ``tanh`` or ``relu``.

    Args:
        gates: (B, T, R x H).
        weight: U, (R x H, D).
        gain: (R x H).
        h0: (B, R x H), zeros if not given; gradients flow to it.
        nonlinearity: f.
        eps: added to the variance of U h.
        lengths, reset_mask, reverse, bidirectional, dropout_mask, zoneout_h, backend, precision:
            as in :func:`~lm_research.kernels.functional.rnn_scan`.
        recompute: no difference: the fused scans always compute the gates anew.

    Returns:
        y (B, T, R x H) and the last state (B, R x H).

    Raises:
        RuntimeError: sizes, types or devices do not fit.
        ValueError: an unknown nonlinearity, or ``reverse`` of two directions.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"Unknown nonlinearity '{nonlinearity}': 'tanh' or 'relu'")
    directions, zoneouts = 2 if bidirectional else 1, (zoneout_h, None)
    walk = Walk(
        lengths, reset_mask, reverse, directions, dropout_mask, *zoneouts, precision, recompute
    )
    h0 = _zeros(gates, 1) if h0 is None else h0
    check_scan(gates, weight, 1, (h0,), walk)
    check_size("gain", gain, gates.shape[2:], gates)
    h0 = h0.to(gates.dtype)
    served, walk = _served("layer_norm_rnn", gates, weight, walk, backend)
    if served == "reference":
        weight, gain = weight.to(gates.dtype), gain.to(gates.dtype)
        return reference.rnn_scan(gates, weight, h0, gain, walk, nonlinearity, eps)
    save, relu = _needs_gradient(gates, weight, gain, h0), nonlinearity == "relu"
    given = (gates, _centred(weight, h0, gates, walk), h0, _wide(gain, gates))
    y, h, *_ = ops.rnn_scan(*given, save, relu, eps, *walk.flat())
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
    bidirectional: bool = False,
    dropout_mask: Tensor | None = None,
    zoneout_h: Tensor | float | None = None,
    zoneout_c: Tensor | float | None = None,
    recompute: bool = False,
    backend: ScanBackend = "auto",
    precision: Precision = "tf32x3",
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The LSTM's recurrence over gates (B, T, R x 4 H) in the order i, f, g, o.

    ``weight`` is (R x 4 H, D), ``gain`` (R x 4 H) that of LN(U h); ``gain_c`` (R x H) and
    ``bias_c`` (R x H, zero if not given) are those of LN(c). ``state`` is (h0, c0), each
    (B, R x H). Returns y (B, T, R x H) and (h, c). Otherwise as :func:`layer_norm_rnn_scan`.
    """
    directions, zoneouts = 2 if bidirectional else 1, (zoneout_h, zoneout_c)
    walk = Walk(
        lengths, reset_mask, reverse, directions, dropout_mask, *zoneouts, precision, recompute
    )
    h0, c0 = state if state is not None else (_zeros(gates, 4), _zeros(gates, 4))
    bias_c = torch.zeros_like(gain_c) if bias_c is None else bias_c
    check_scan(gates, weight, 4, (h0, c0), walk)
    check_size("gain", gain, gates.shape[2:], gates)
    for name, part in (("gain_c", gain_c), ("bias_c", bias_c)):
        check_size(name, part, h0.shape[1:], gates)
    h0, c0 = h0.to(gates.dtype), c0.to(gates.dtype)
    served, walk = _served("layer_norm_lstm", gates, weight, walk, backend)
    norms = gain, gain_c, bias_c
    if served == "reference":
        weight, gain, gain_c, bias_c = (part.to(gates.dtype) for part in (weight, *norms))
        norms = gain, gain_c, bias_c
        y, h, c = reference.lstm_scan(gates, weight, (h0, c0), norms, walk, eps)
        return y, (h, c)
    save = _needs_gradient(gates, weight, *norms, h0, c0)
    wide = (_wide(part, gates) for part in norms)
    given = (gates, _centred(weight, h0, gates, walk), h0, c0, *wide)
    y, h, c, *_ = ops.lstm_scan(*given, save, eps, *walk.flat())
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
    bidirectional: bool = False,
    dropout_mask: Tensor | None = None,
    zoneout_h: Tensor | float | None = None,
    recompute: bool = False,
    backend: ScanBackend = "auto",
    precision: Precision = "tf32x3",
) -> tuple[Tensor, Tensor]:
    """The GRU's recurrence over gates (B, T, R x 3 H) in the order r, z, n.

    ``weight`` is (R x 3 H, D), ``gain`` (R x 3 H) that of LN(U h); ``bias_n`` (R x H) is the
    recurrent bias of n, which stands inside r * (LN(U h) + b'). Otherwise as
    :func:`layer_norm_rnn_scan`.
    """
    directions, zoneouts = 2 if bidirectional else 1, (zoneout_h, None)
    walk = Walk(
        lengths, reset_mask, reverse, directions, dropout_mask, *zoneouts, precision, recompute
    )
    h0 = _zeros(gates, 3) if h0 is None else h0
    bias_n = torch.zeros_like(h0[0]) if bias_n is None else bias_n
    check_scan(gates, weight, 3, (h0,), walk)
    check_bias(bias_n, h0)
    check_size("gain", gain, gates.shape[2:], gates)
    h0 = h0.to(gates.dtype)
    served, walk = _served("layer_norm_gru", gates, weight, walk, backend)
    if served == "reference":
        weight, gain, bias_n = (part.to(gates.dtype) for part in (weight, gain, bias_n))
        return reference.gru_scan(gates, weight, h0, gain, bias_n, walk, eps)
    save = _needs_gradient(gates, weight, gain, bias_n, h0)
    wide = (_wide(part, gates) for part in (gain, bias_n))
    given = (gates, _centred(weight, h0, gates, walk), h0, *wide)
    y, h, _ = ops.gru_scan(*given, save, eps, *walk.flat())
    return y, h


def _centred(weight: Tensor, h0: Tensor, gates: Tensor, walk: Walk) -> Tensor:
    return centred(weight, h0.shape[1], walk.directions).to(gates.dtype)


def _wide(part: Tensor, gates: Tensor) -> Tensor:
    """In the type that a kernel computes in."""
    return part.to(torch.promote_types(gates.dtype, torch.float32))
