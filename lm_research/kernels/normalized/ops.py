"""The fused scans with layer normalization as PyTorch operators, as ``kernels.ops`` has the others.

``weight`` is U less its mean row (:func:`lm_research.kernels.normalized.scans.centred`); gains and
the biases inside a scan are in float32 (float64 for float64 gates). Beside its inputs and y the
forward scan keeps 1 / sigma alone (the LSTM c and its statistics, too): U h of all steps is one
product before the backward scan, the gradient of U one after it.

Shapes: B batch, T time, G gates x H, H hidden size, D head size, R directions, P heads of all
directions.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from lm_research.kernels.operators import empty_as, not_twice
from lm_research.kernels.ops import previous, weight_gradient
from lm_research.kernels.walk import SCHEMA, TENSORS, VALUES, Walk

_WALK_HAS_NONE = (None,) * (TENSORS + VALUES)
"""Gradients of a walk's arguments."""


def products(before_BTH: Tensor, weight_GD: Tensor, walk: Walk) -> Tensor:
    """U h_{t-1} (B, T, G) of all steps, each head and direction for itself."""
    if walk.dropout_BH is not None:
        before_BTH = before_BTH * walk.dropout_BH[:, None]
    width, size = before_BTH.shape[-1], weight_GD.shape[1]
    if width == size:
        return F.linear(before_BTH, weight_GD)
    heads = width // size // walk.directions
    blocks = weight_GD.view(walk.directions, -1, heads, size, size)
    parts = before_BTH.unflatten(-1, (walk.directions, heads, size))
    return torch.einsum("btrnj,rgnij->btrgni", parts, blocks).flatten(2)


def _filled(part: Tensor | None, like: Tensor) -> Tensor:
    """An empty tensor where a scan has nothing to give: operators return no None."""
    return like.new_empty(0) if part is None else part


def _per_head(gates: Tensor, weight: Tensor, h0: Tensor, gain: Tensor, save: bool) -> Tensor:
    """A statistic (B, T, P) in fake mode; nothing without ``save``."""
    heads = h0.shape[1] // weight.shape[1]
    return gain.new_empty((*gates.shape[:2], heads) if save else (0,))


# --- Elman


def _rnn(
    gates: Tensor,
    weight: Tensor,
    h0: Tensor,
    gain: Tensor,
    save: bool,
    relu: bool,
    eps: float,
    *walk: Any,
) -> Any:
    """y_BTH, h_BH and, with ``save``, what the backward scan needs beside y."""
    from lm_research.kernels.fused.normalized import elman

    given = (gates, weight, h0, gain, Walk.of(*walk), save, relu, eps)
    y, h, values, scale = elman.forward(*given)
    return y, h, _filled(values, gates), _filled(scale, gain)


rnn_scan = custom_op(
    "lm_research::layer_norm_rnn_scan",
    _rnn,
    mutates_args=(),
    schema=(
        "(Tensor gates, Tensor weight, Tensor h0, Tensor gain, bool save, bool relu, float eps, "
        f"{SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor)"
    ),
)


@rnn_scan.register_fake
def _(gates, weight, h0, gain, save, relu, eps, *walk):  # type: ignore[no-untyped-def]
    kept = save and Walk.of(*walk).share_h is not None
    values = empty_as(gates) if kept else gates.new_empty(0)
    return empty_as(gates), empty_as(h0), values, _per_head(gates, weight, h0, gain, save)


def _rnn_backward(
    dy: Tensor,
    dh: Tensor,
    y: Tensor,
    values: Tensor,
    scale: Tensor,
    weight: Tensor,
    h0: Tensor,
    gain: Tensor,
    relu: bool,
    *flat: Any,
) -> Any:
    """Gradients of gates, weight, h0 and gain."""
    from lm_research.kernels.fused.normalized import elman

    walk = Walk.of(*flat)
    seen = previous(y, h0, walk)
    kept = (y if walk.share_h is None else values, products(seen, weight, walk), scale)
    dgates, dproducts, *others = elman.backward((dy, dh), kept, (weight, gain), walk, relu)
    return dgates, weight_gradient(dproducts, seen, weight.shape[1], walk), *others


rnn_scan_backward = custom_op(
    "lm_research::layer_norm_rnn_scan_backward",
    _rnn_backward,
    mutates_args=(),
    schema=(
        "(Tensor dy, Tensor dh, Tensor y, Tensor values, Tensor scale, Tensor weight, Tensor h0, "
        f"Tensor gain, bool relu, {SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor)"
    ),
)


@rnn_scan_backward.register_fake
def _(dy, dh, y, values, scale, weight, h0, gain, *rest):  # type: ignore[no-untyped-def]
    return tuple(map(empty_as, (y, weight, dh, gain)))


def _rnn_context(ctx: Any, inputs: Any, output: Any) -> None:
    _, weight, h0, gain, _, ctx.relu, _, *walk = inputs
    y, _, *kept = output
    ctx.values = walk[TENSORS:]
    ctx.mark_non_differentiable(*kept)
    ctx.save_for_backward(*walk[:TENSORS], y, *kept, weight, h0, gain)


def _rnn_gradient(ctx: Any, dy: Tensor, dh: Tensor, *rest: Any) -> Any:
    masks, kept = ctx.saved_tensors[:TENSORS], ctx.saved_tensors[TENSORS:]
    gradients = rnn_scan_backward(dy, dh, *kept, ctx.relu, *masks, *ctx.values)
    return *gradients, None, None, None, *_WALK_HAS_NONE


rnn_scan.register_autograd(_rnn_gradient, setup_context=_rnn_context)
not_twice(rnn_scan_backward)


# --- LSTM


def _lstm(
    gates: Tensor,
    weight: Tensor,
    h0: Tensor,
    c0: Tensor,
    gain: Tensor,
    gain_c: Tensor,
    bias_c: Tensor,
    save: bool,
    eps: float,
    *walk: Any,
) -> Any:
    """y_BTH, h_BH, c_BH and, with ``save``, c_{t-1} and the statistics of U h and of c."""
    from lm_research.kernels.fused.normalized import lstm

    given = (gates, weight, (h0, c0), (gain, gain_c, bias_c), Walk.of(*walk), save, eps)
    return tuple(_filled(part, gain) for part in lstm.forward(*given))


lstm_scan = custom_op(
    "lm_research::layer_norm_lstm_scan",
    _lstm,
    mutates_args=(),
    schema=(
        "(Tensor gates, Tensor weight, Tensor h0, Tensor c0, Tensor gain, Tensor gain_c, "
        f"Tensor bias_c, bool save, float eps, {SCHEMA}) "
        "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
)


@lstm_scan.register_fake
def _(gates, weight, h0, c0, gain, gain_c, bias_c, save, *rest):  # type: ignore[no-untyped-def]
    shape = (*gates.shape[:2], h0.shape[1])
    before = gain.new_empty(shape if save else (0,))
    statistics = [_per_head(gates, weight, h0, gain, save) for _ in range(3)]
    return gates.new_empty(shape), empty_as(h0), empty_as(c0), before, *statistics


def _lstm_backward(
    dy: Tensor,
    dh: Tensor,
    dc: Tensor,
    gates: Tensor,
    y: Tensor,
    before: Tensor,
    scale: Tensor,
    mean_c: Tensor,
    scale_c: Tensor,
    weight: Tensor,
    h0: Tensor,
    gain: Tensor,
    gain_c: Tensor,
    bias_c: Tensor,
    *flat: Any,
) -> Any:
    """Gradients of gates, weight, h0, c0, the gains and LN(c)'s bias."""
    from lm_research.kernels.fused.normalized import lstm

    walk = Walk.of(*flat)
    seen = previous(y, h0, walk)
    given = products(seen, weight, walk)
    kept, weights = (gates, given, before, scale, mean_c, scale_c), (weight, gain, gain_c, bias_c)
    dgates, dproducts, dh0, dc0, *dnorms = lstm.backward((dy, dh, dc), kept, weights, walk)
    blocks = given.unflatten(-1, (walk.directions, 4, -1, weight.shape[1]))
    blocks.mul_(scale.unflatten(-1, (walk.directions, 1, -1, 1)))
    dgain = given.mul_(dgates).sum((0, 1), dtype=gain.dtype)
    dweight = weight_gradient(dproducts, seen, weight.shape[1], walk)
    return dgates, dweight, dh0, dc0, dgain, *dnorms


lstm_scan_backward = custom_op(
    "lm_research::layer_norm_lstm_scan_backward",
    _lstm_backward,
    mutates_args=(),
    schema=(
        "(Tensor dy, Tensor dh, Tensor dc, Tensor gates, Tensor y, Tensor before, Tensor scale, "
        "Tensor mean_c, Tensor scale_c, Tensor weight, Tensor h0, Tensor gain, Tensor gain_c, "
        f"Tensor bias_c, {SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
)


@lstm_scan_backward.register_fake
def _(dy, dh, dc, gates, y, before, *rest):  # type: ignore[no-untyped-def]
    _, _, _, weight, _, gain, gain_c, bias_c, *_ = rest
    return tuple(map(empty_as, (gates, weight, dh, dc, gain, gain_c, bias_c)))


def _lstm_context(ctx: Any, inputs: Any, output: Any) -> None:
    gates, weight, h0, _, *norms, _, _ = inputs[:9]
    y, _, _, *kept = output
    walk = inputs[9:]
    ctx.values = walk[TENSORS:]
    ctx.mark_non_differentiable(*kept)
    ctx.save_for_backward(gates, y, *kept, weight, h0, *norms, *walk[:TENSORS])


def _lstm_gradient(ctx: Any, dy: Tensor, dh: Tensor, dc: Tensor, *rest: Any) -> Any:
    gradients = lstm_scan_backward(dy, dh, dc, *ctx.saved_tensors, *ctx.values)
    return *gradients, None, None, *_WALK_HAS_NONE


lstm_scan.register_autograd(_lstm_gradient, setup_context=_lstm_context)
not_twice(lstm_scan_backward)


# --- GRU


def _gru(
    gates: Tensor,
    weight: Tensor,
    h0: Tensor,
    gain: Tensor,
    bias_n: Tensor,
    save: bool,
    eps: float,
    *walk: Any,
) -> Any:
    """y_BTH, h_BH and, with ``save``, 1 / sigma of U h."""
    from lm_research.kernels.fused.normalized import gru

    given = (gates, weight, h0, gain, bias_n, Walk.of(*walk), save, eps)
    return tuple(_filled(part, gain) for part in gru.forward(*given))


gru_scan = custom_op(
    "lm_research::layer_norm_gru_scan",
    _gru,
    mutates_args=(),
    schema=(
        "(Tensor gates, Tensor weight, Tensor h0, Tensor gain, Tensor bias_n, bool save, "
        f"float eps, {SCHEMA}) -> (Tensor, Tensor, Tensor)"
    ),
)


@gru_scan.register_fake
def _(gates, weight, h0, gain, bias_n, save, *rest):  # type: ignore[no-untyped-def]
    y = gates.new_empty(*gates.shape[:2], h0.shape[1])
    return y, empty_as(h0), _per_head(gates, weight, h0, gain, save)


def _gru_backward(
    dy: Tensor,
    dh: Tensor,
    gates: Tensor,
    y: Tensor,
    scale: Tensor,
    weight: Tensor,
    h0: Tensor,
    gain: Tensor,
    bias_n: Tensor,
    *flat: Any,
) -> Any:
    """Gradients of gates, weight, h0, gain and n's inner bias."""
    from lm_research.kernels.fused.normalized import gru

    walk = Walk.of(*flat)
    seen = previous(y, h0, walk)
    kept = (gates, products(seen, weight, walk), seen, scale)
    dgates, dproducts, *others = gru.backward((dy, dh), kept, (weight, gain, bias_n), walk)
    return dgates, weight_gradient(dproducts, seen, weight.shape[1], walk), *others


gru_scan_backward = custom_op(
    "lm_research::layer_norm_gru_scan_backward",
    _gru_backward,
    mutates_args=(),
    schema=(
        "(Tensor dy, Tensor dh, Tensor gates, Tensor y, Tensor scale, Tensor weight, Tensor h0, "
        f"Tensor gain, Tensor bias_n, {SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
)


@gru_scan_backward.register_fake
def _(dy, dh, gates, y, scale, weight, h0, gain, bias_n, *walk):  # type: ignore[no-untyped-def]
    return tuple(map(empty_as, (gates, weight, dh, gain, bias_n)))


def _gru_context(ctx: Any, inputs: Any, output: Any) -> None:
    gates, weight, h0, gain, bias_n, _, _, *walk = inputs
    y, _, scale = output
    ctx.values = walk[TENSORS:]
    ctx.mark_non_differentiable(scale)
    ctx.save_for_backward(gates, y, scale, weight, h0, gain, bias_n, *walk[:TENSORS])


def _gru_gradient(ctx: Any, dy: Tensor, dh: Tensor, *rest: Any) -> Any:
    gradients = gru_scan_backward(dy, dh, *ctx.saved_tensors, *ctx.values)
    return *gradients, None, None, *_WALK_HAS_NONE


gru_scan.register_autograd(_gru_gradient, setup_context=_gru_context)
not_twice(gru_scan_backward)
