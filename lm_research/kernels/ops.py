"""The fused scans as PyTorch operators: known to autograd, to torch.compile and to autocast.

Weight gradients are one product over all steps after the backward scan. The backward operators have
no gradient of their own. ``rnn``, ``lstm`` and ``gru`` are what a layer calls: the operator only
where it has to be seen (:mod:`.direct`). Every operator ends with the walk's flat arguments
(``walk.SCHEMA``).

Shapes: B batch, T time, G gates x hidden size, H hidden size, D head size.
"""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from lm_research.kernels.direct import direct
from lm_research.kernels.operators import empty_as, not_twice, or_zeros, refuse, remember_nothing
from lm_research.kernels.walk import SCHEMA, TENSORS, VALUES, Walk

_WALK_HAS_NONE = (None,) * (TENSORS + VALUES)
"""Gradients of a walk's arguments."""


def _kernels(walk: Walk, cell: str) -> Any:
    """The module of a cell's kernels in the form that the walk names; here Triton is imported."""
    form = "" if walk.form == "single" else f".{walk.form}"
    return import_module(f"lm_research.kernels.fused{form}.{cell}")


def previous(y_BTH: Tensor, h0_BH: Tensor, walk: Walk) -> Tensor:
    """h_{t-1} as step t met it: y a step earlier, h0 at first, zero after a reset."""
    count, parts = walk.directions, walk.parts()
    pairs = zip(y_BTH.chunk(count, -1), h0_BH.to(y_BTH.dtype).chunk(count, -1), parts, strict=True)
    before = [_one_earlier(y, h0[:, None], part) for y, h0, part in pairs]
    return before[0] if count == 1 else torch.cat(before, -1)


def _one_earlier(y_BTH: Tensor, first_B1H: Tensor, walk: Walk) -> Tensor:
    if not y_BTH.shape[1]:
        return y_BTH
    if not walk.reverse:
        before_BTH = torch.cat([first_B1H, y_BTH[:, :-1]], 1)
    else:
        before_BTH = torch.cat([y_BTH[:, 1:], first_B1H], 1)
        if walk.lengths_B is not None:
            steps = torch.arange(y_BTH.shape[1], device=y_BTH.device)
            last_BT = steps == walk.lengths_B[:, None] - 1
            before_BTH = torch.where(last_BT[..., None], first_B1H, before_BTH)
    if walk.reset_BT is None:
        return before_BTH
    return before_BTH.masked_fill(walk.reset_BT[..., None], 0)


def weight_gradient(dgates_BTG: Tensor, before_BTH: Tensor, size: int, walk: Walk) -> Tensor:
    """dU (G, D): dgates^T h over all rows and steps, each head and direction for itself."""
    if walk.dropout_BH is not None:
        before_BTH = before_BTH * walk.dropout_BH[:, None]
    width = before_BTH.shape[-1]
    heads, gates = width // size // walk.directions, dgates_BTG.shape[-1] // width
    if width == size:
        return dgates_BTG.flatten(0, 1).t() @ before_BTH.flatten(0, 1)
    dgates = dgates_BTG.reshape(-1, walk.directions, gates, heads, size).permute(1, 3, 2, 4, 0)
    before = before_BTH.reshape(-1, width // size, size).transpose(0, 1)
    dweight = torch.bmm(dgates.flatten(0, 1).flatten(1, 2), before)
    blocks = dweight.view(walk.directions, heads, gates, size, size)
    return blocks.transpose(1, 2).reshape(-1, size)


def _keep_apart(ctx: Any, *saved: Tensor) -> None:
    """Outputs that are for the backward scan alone: no zeros as large are made as gradients."""
    ctx.mark_non_differentiable(*saved)
    ctx.set_materialize_grads(False)


def _check_saved(ctx: Any) -> None:
    if not ctx.save:
        raise RuntimeError(
            "this scan was called without gradients and kept nothing for them: call, compile or "
            "trace the layer where torch.is_grad_enabled()"
        )


# --- Elman


def _rnn(gates: Tensor, weight: Tensor, h0: Tensor, save: bool, relu: bool, *walk: Any) -> Any:
    """y_BTH, h_BH and, with ``save``, what the backward scan needs beside y."""
    walked = Walk.of(*walk)
    return _kernels(walked, "elman").forward(gates, weight, h0, walked, save, relu)


rnn_scan = custom_op(
    "lm_research::rnn_scan",
    _rnn,
    mutates_args=(),
    schema=(
        "(Tensor gates, Tensor weight, Tensor h0, bool save, bool relu, "
        f"{SCHEMA}) -> (Tensor, Tensor, Tensor)"
    ),
)


@rnn_scan.register_fake
def _(gates, weight, h0, save, relu, *walk):  # type: ignore[no-untyped-def]
    kept = save and Walk.of(*walk).share_h is not None
    return empty_as(gates), empty_as(h0), empty_as(gates) if kept else gates.new_empty(0)


def _rnn_backward(
    dy: Tensor,
    dh: Tensor,
    y: Tensor,
    saved: Tensor,
    weight: Tensor,
    h0: Tensor,
    relu: bool,
    *flat: Any,
) -> Any:
    """Gradients of gates, weight and h0."""
    walk = Walk.of(*flat)
    values = y if walk.share_h is None else saved
    dgates, dh0 = _kernels(walk, "elman").backward(dy, dh, values, weight, walk, relu)
    return dgates, weight_gradient(dgates, previous(y, h0, walk), weight.shape[1], walk), dh0


rnn_scan_backward = custom_op(
    "lm_research::rnn_scan_backward",
    _rnn_backward,
    mutates_args=(),
    schema=(
        "(Tensor dy, Tensor dh, Tensor y, Tensor saved, Tensor weight, Tensor h0, bool relu, "
        f"{SCHEMA}) -> (Tensor, Tensor, Tensor)"
    ),
)


@rnn_scan_backward.register_fake
def _(dy, dh, y, saved, weight, h0, *rest):  # type: ignore[no-untyped-def]
    return empty_as(y), empty_as(weight), empty_as(dh)


def _rnn_context(ctx: Any, inputs: Any, output: Any) -> None:
    _, weight, h0, ctx.save, ctx.relu, *walk = inputs
    y, _, saved = output
    ctx.values = walk[TENSORS:]
    _keep_apart(ctx, saved)
    ctx.save_for_backward(y, saved, weight, h0, *walk[:TENSORS])


def _rnn_gradient(ctx: Any, dy: Tensor | None, dh: Tensor | None, *rest: Any) -> Any:
    _check_saved(ctx)
    y, saved, weight, h0, *masks = ctx.saved_tensors
    dy, dh = or_zeros(dy, y), or_zeros(dh, h0)
    gradients = _rnn_back(dy, dh, y, saved, weight, h0, ctx.relu, *masks, *ctx.values)
    return *gradients, None, None, *_WALK_HAS_NONE


rnn_scan.register_autograd(_rnn_gradient, setup_context=_rnn_context)
not_twice(rnn_scan_backward)
rnn = direct(rnn_scan, _rnn, _rnn_context, _rnn_gradient)
_rnn_back = direct(rnn_scan_backward, _rnn_backward, remember_nothing, refuse)


# --- LSTM


def _lstm(gates: Tensor, weight: Tensor, h0: Tensor, c0: Tensor, save: bool, *walk: Any) -> Any:
    """y_BTH, h_BH, c_BH and, with ``save``, what the backward scan needs."""
    walked = Walk.of(*walk)
    return _kernels(walked, "lstm").forward(gates, weight, h0, c0, walked, save)


lstm_scan = custom_op(
    "lm_research::lstm_scan",
    _lstm,
    mutates_args=(),
    schema=(
        "(Tensor gates, Tensor weight, Tensor h0, Tensor c0, bool save, "
        f"{SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
)


@lstm_scan.register_fake
def _(gates, weight, h0, c0, save, *walk):  # type: ignore[no-untyped-def]
    shape = (*gates.shape[:2], h0.shape[1])
    accumulator = torch.float64 if gates.dtype == torch.float64 else torch.float32
    return (
        gates.new_empty(shape),
        empty_as(h0),
        empty_as(c0),
        empty_as(gates) if save and not Walk.of(*walk).recompute else gates.new_empty(0),
        gates.new_empty(shape if save else (0,), dtype=accumulator),
    )


def _lstm_backward(
    dy: Tensor,
    dh: Tensor,
    dc: Tensor,
    y: Tensor,
    saved: Tensor,
    before: Tensor,
    weight: Tensor,
    h0: Tensor,
    *flat: Any,
) -> Any:
    """Gradients of gates, weight, h0 and c0."""
    walk = Walk.of(*flat)
    hidden = previous(y, h0, walk)
    given = hidden if walk.recompute else None
    dgates, dh0, dc0 = _kernels(walk, "lstm").backward(
        dy, dh, dc, saved, before, given, weight, walk
    )
    return dgates, weight_gradient(dgates, hidden, weight.shape[1], walk), dh0, dc0


lstm_scan_backward = custom_op(
    "lm_research::lstm_scan_backward",
    _lstm_backward,
    mutates_args=(),
    schema=(
        "(Tensor dy, Tensor dh, Tensor dc, Tensor y, Tensor saved, Tensor before, Tensor weight, "
        f"Tensor h0, {SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor)"
    ),
)


@lstm_scan_backward.register_fake
def _(dy, dh, dc, y, saved, before, weight, *rest):  # type: ignore[no-untyped-def]
    return tuple(map(empty_as, (saved, weight, dh, dc)))


def _lstm_context(ctx: Any, inputs: Any, output: Any) -> None:
    gates, weight, h0, _, ctx.save, *walk = inputs
    y, _, _, saved, before = output
    ctx.values = walk[TENSORS:]
    _keep_apart(ctx, saved, before)
    saved = gates if Walk.of(*walk).recompute else saved
    ctx.save_for_backward(y, saved, before, weight, h0, *walk[:TENSORS])


def _lstm_gradient(
    ctx: Any, dy: Tensor | None, dh: Tensor | None, dc: Tensor | None, *rest: Any
) -> Any:
    _check_saved(ctx)
    kept = y, _, _, _, h0, *_ = ctx.saved_tensors  # to be asked for once
    given = or_zeros(dy, y), or_zeros(dh, h0), or_zeros(dc, h0)
    gradients = _lstm_back(*given, *kept, *ctx.values)
    return *gradients, None, *_WALK_HAS_NONE


lstm_scan.register_autograd(_lstm_gradient, setup_context=_lstm_context)
not_twice(lstm_scan_backward)
lstm = direct(lstm_scan, _lstm, _lstm_context, _lstm_gradient)
_lstm_back = direct(lstm_scan_backward, _lstm_backward, remember_nothing, refuse)


# --- GRU


def _gru(gates: Tensor, weight: Tensor, h0: Tensor, bias_n: Tensor, save: bool, *walk: Any) -> Any:
    """y_BTH, h_BH and, with ``save``, what the backward scan needs."""
    walked = Walk.of(*walk)
    return _kernels(walked, "gru").forward(gates, weight, h0, bias_n, walked, save)


gru_scan = custom_op(
    "lm_research::gru_scan",
    _gru,
    mutates_args=(),
    schema=(
        "(Tensor gates, Tensor weight, Tensor h0, Tensor bias_n, bool save, "
        f"{SCHEMA}) -> (Tensor, Tensor, Tensor)"
    ),
)


@gru_scan.register_fake
def _(gates, weight, h0, bias_n, save, *walk):  # type: ignore[no-untyped-def]
    batch, steps, _ = gates.shape
    hidden = h0.shape[1]
    kept = save and not Walk.of(*walk).recompute
    saved = gates.new_empty((batch, steps, 4 * hidden) if kept else (0,))
    return gates.new_empty(batch, steps, hidden), empty_as(h0), saved


def _gru_backward(
    dy: Tensor,
    dh: Tensor,
    y: Tensor,
    saved: Tensor,
    weight: Tensor,
    h0: Tensor,
    bias_n: Tensor,
    *flat: Any,
) -> Any:
    """Gradients of gates, weight, h0 and n's inner bias."""
    walk = Walk.of(*flat)
    before, size = previous(y, h0, walk), weight.shape[1]
    dgates, dinner, dh0 = _kernels(walk, "gru").backward(
        dy, dh, saved, before, weight, bias_n, walk
    )
    outer = dgates.unflatten(-1, (walk.directions, 3, -1))[..., :2, :].flatten(2)
    inner = weight_gradient(dinner, before, size, walk)
    dweights = [weight_gradient(outer, before, size, walk), inner]
    dweight = torch.cat([d.unflatten(0, (walk.directions, -1)) for d in dweights], 1).flatten(0, 1)
    return dgates, dweight, dh0, dinner.sum((0, 1))


gru_scan_backward = custom_op(
    "lm_research::gru_scan_backward",
    _gru_backward,
    mutates_args=(),
    schema=(
        "(Tensor dy, Tensor dh, Tensor y, Tensor saved, Tensor weight, Tensor h0, "
        f"Tensor bias_n, {SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor)"
    ),
)


@gru_scan_backward.register_fake
def _(dy, dh, y, saved, weight, h0, bias_n, *walk):  # type: ignore[no-untyped-def]
    dgates = y.new_empty(*y.shape[:2], 3 * y.shape[2])
    return dgates, empty_as(weight), empty_as(dh), empty_as(bias_n)


def _gru_context(ctx: Any, inputs: Any, output: Any) -> None:
    gates, weight, h0, bias_n, ctx.save, *walk = inputs
    y, _, saved = output
    ctx.values = walk[TENSORS:]
    _keep_apart(ctx, saved)
    saved = gates if Walk.of(*walk).recompute else saved
    ctx.save_for_backward(y, saved, weight, h0, bias_n, *walk[:TENSORS])


def _gru_gradient(ctx: Any, dy: Tensor | None, dh: Tensor | None, *rest: Any) -> Any:
    _check_saved(ctx)
    kept = y, _, _, h0, *_ = ctx.saved_tensors  # to be asked for once
    given = or_zeros(dy, y), or_zeros(dh, h0)
    gradients = _gru_back(*given, *kept, *ctx.values)
    return *gradients, None, *_WALK_HAS_NONE


gru_scan.register_autograd(_gru_gradient, setup_context=_gru_context)
not_twice(gru_scan_backward)
gru = direct(gru_scan, _gru, _gru_context, _gru_gradient)
_gru_back = direct(gru_scan_backward, _gru_backward, remember_nothing, refuse)


def operator(cell: str) -> Any:
    """The operator of a cell's scan, by which checkpointing knows what to keep."""
    return getattr(torch.ops.lm_research, f"{cell}_scan").default
