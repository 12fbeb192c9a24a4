"""The fused scans as PyTorch operators: known to autograd, to torch.compile and to autocast.

Weight gradients are one product over all steps after the backward scan. The backward operators have
no gradient of their own.

Shapes: B batch, T time, G gates x hidden size, H hidden size, D head size.
"""

from typing import Any

import torch
from torch import Tensor

from lm_research.kernels.operators import empty_as, not_twice


def previous(
    y_BTH: Tensor,
    h0_BH: Tensor,
    lengths_B: Tensor | None,
    reset_BT: Tensor | None,
    reverse: bool,
) -> Tensor:
    """h_{t-1} as step t saw it: y a step earlier, h0 at first, zero after a reset."""
    first_B1H = h0_BH[:, None].to(y_BTH.dtype)
    if not reverse:
        before_BTH = torch.cat([first_B1H, y_BTH[:, :-1]], 1)
    else:
        before_BTH = torch.cat([y_BTH[:, 1:], first_B1H], 1)
        if lengths_B is not None:
            last_BT = torch.arange(y_BTH.shape[1], device=y_BTH.device) == lengths_B[:, None] - 1
            before_BTH = torch.where(last_BT[..., None], first_B1H, before_BTH)
    return before_BTH if reset_BT is None else before_BTH.masked_fill(reset_BT[..., None], 0)


def weight_gradient(dgates_BTG: Tensor, before_BTH: Tensor, size: int) -> Tensor:
    """dU (G, D): dgates^T h over all rows and steps, each head for itself."""
    hidden = before_BTH.shape[-1]
    heads, gates = hidden // size, dgates_BTG.shape[-1] // hidden
    if heads == 1:
        return dgates_BTG.flatten(0, 1).t() @ before_BTH.flatten(0, 1)
    dgates = dgates_BTG.reshape(-1, gates, heads, size).permute(2, 1, 3, 0).flatten(1, 2)
    before = before_BTH.reshape(-1, heads, size).transpose(0, 1)
    dweight_NGD = torch.bmm(dgates, before).unflatten(1, (gates, size))
    return dweight_NGD.transpose(0, 1).reshape(-1, size)


# --- Elman


@torch.library.custom_op("lm_research::rnn_scan", mutates_args=())
def rnn_scan(
    gates: Tensor,
    weight: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
    relu: bool,
    precision: str,
) -> tuple[Tensor, Tensor]:
    """y_BTH and h_BH."""
    from lm_research.kernels.fused import elman

    return elman.forward(gates, weight, h0, lengths, reset, reverse, relu, precision)


@rnn_scan.register_fake
def _(gates, weight, h0, lengths, reset, reverse, relu, precision):  # type: ignore[no-untyped-def]
    return empty_as(gates), empty_as(h0)


@torch.library.custom_op("lm_research::rnn_scan_backward", mutates_args=())
def rnn_scan_backward(
    dy: Tensor,
    dh: Tensor,
    y: Tensor,
    weight: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
    relu: bool,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of gates, weight and h0."""
    from lm_research.kernels.fused import elman

    dgates, dh0 = elman.backward(dy, dh, y, weight, lengths, reset, reverse, relu, precision)
    before = previous(y, h0, lengths, reset, reverse)
    return dgates, weight_gradient(dgates, before, weight.shape[1]), dh0


@rnn_scan_backward.register_fake
def _(dy, dh, y, weight, h0, *rest):  # type: ignore[no-untyped-def]
    return empty_as(y), empty_as(weight), empty_as(dh)


def _rnn_context(ctx: Any, inputs: Any, output: Any) -> None:
    _, weight, h0, lengths, reset, *ctx.options = inputs
    ctx.save_for_backward(output[0], weight, h0, lengths, reset)


def _rnn_gradient(ctx: Any, dy: Tensor, dh: Tensor) -> Any:
    y, weight, h0, lengths, reset = ctx.saved_tensors
    given = (y, weight, h0, lengths, reset)
    dgates, dweight, dh0 = rnn_scan_backward(dy, dh, *given, *ctx.options)
    return dgates, dweight, dh0, None, None, None, None, None


rnn_scan.register_autograd(_rnn_gradient, setup_context=_rnn_context)
not_twice(rnn_scan_backward)


# --- LSTM


@torch.library.custom_op("lm_research::lstm_scan", mutates_args=())
def lstm_scan(
    gates: Tensor,
    weight: Tensor,
    h0: Tensor,
    c0: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
    save: bool,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y_BTH, h_BH, c_BH and, with ``save``, what the backward scan needs."""
    from lm_research.kernels.fused import lstm

    y, h, c, *kept = lstm.forward(gates, weight, h0, c0, lengths, reset, reverse, save, precision)
    return y, h, c, kept[0], kept[1]


@lstm_scan.register_fake
def _(gates, weight, h0, c0, lengths, reset, reverse, save, precision):  # type: ignore[no-untyped-def]
    batch, steps, width = gates.shape
    shape = (batch, steps, width // 4)
    accumulator = torch.float64 if gates.dtype == torch.float64 else torch.float32
    return (
        gates.new_empty(shape),
        empty_as(h0),
        empty_as(c0),
        empty_as(gates) if save else gates.new_empty(0),
        gates.new_empty(shape if save else (0,), dtype=accumulator),
    )


@torch.library.custom_op("lm_research::lstm_scan_backward", mutates_args=())
def lstm_scan_backward(
    dy: Tensor,
    dh: Tensor,
    dc: Tensor,
    y: Tensor,
    saved: Tensor,
    before: Tensor,
    weight: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of gates, weight, h0 and c0."""
    from lm_research.kernels.fused import lstm

    dgates, dh0, dc0 = lstm.backward(
        dy, dh, dc, saved, before, weight, lengths, reset, reverse, precision
    )
    seen = previous(y, h0, lengths, reset, reverse)
    return dgates, weight_gradient(dgates, seen, weight.shape[1]), dh0, dc0


@lstm_scan_backward.register_fake
def _(dy, dh, dc, y, saved, before, weight, *rest):  # type: ignore[no-untyped-def]
    return tuple(map(empty_as, (saved, weight, dh, dc)))


def _lstm_context(ctx: Any, inputs: Any, output: Any) -> None:
    _, weight, h0, _, lengths, reset, reverse, _, precision = inputs
    y, _, _, saved, before = output
    ctx.options = (reverse, precision)
    ctx.mark_non_differentiable(saved, before)
    ctx.save_for_backward(y, saved, before, weight, h0, lengths, reset)


def _lstm_gradient(ctx: Any, dy: Tensor, dh: Tensor, dc: Tensor, *rest: Any) -> Any:
    gradients = lstm_scan_backward(dy, dh, dc, *ctx.saved_tensors, *ctx.options)
    return *gradients, None, None, None, None, None


lstm_scan.register_autograd(_lstm_gradient, setup_context=_lstm_context)
not_twice(lstm_scan_backward)


# --- GRU


@torch.library.custom_op("lm_research::gru_scan", mutates_args=())
def gru_scan(
    gates: Tensor,
    weight: Tensor,
    bias_n: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
    save: bool,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """y_BTH, h_BH and, with ``save``, what the backward scan needs."""
    from lm_research.kernels.fused import gru

    return gru.forward(gates, weight, bias_n, h0, lengths, reset, reverse, save, precision)


@gru_scan.register_fake
def _(gates, weight, bias_n, h0, lengths, reset, reverse, save, precision):  # type: ignore[no-untyped-def]
    batch, steps, width = gates.shape
    hidden = width // 3
    saved = gates.new_empty((batch, steps, 4 * hidden) if save else (0,))
    return gates.new_empty(batch, steps, hidden), empty_as(h0), saved


@torch.library.custom_op("lm_research::gru_scan_backward", mutates_args=())
def gru_scan_backward(
    dy: Tensor,
    dh: Tensor,
    y: Tensor,
    saved: Tensor,
    weight: Tensor,
    bias_n: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of gates, weight, n's inner bias and h0."""
    from lm_research.kernels.fused import gru

    seen = previous(y, h0, lengths, reset, reverse)
    dgates, dinner, dh0 = gru.backward(
        dy, dh, saved, seen, weight, lengths, reset, reverse, precision
    )
    hidden, size = seen.shape[-1], weight.shape[1]
    outer = weight_gradient(dgates[..., : 2 * hidden], seen, size)
    dweight = torch.cat([outer, weight_gradient(dinner, seen, size)])
    return dgates, dweight, dinner.sum((0, 1)), dh0


@gru_scan_backward.register_fake
def _(dy, dh, y, saved, weight, bias_n, *rest):  # type: ignore[no-untyped-def]
    dgates = y.new_empty(*y.shape[:2], 3 * y.shape[2])
    return dgates, empty_as(weight), empty_as(bias_n), empty_as(dh)


def _gru_context(ctx: Any, inputs: Any, output: Any) -> None:
    _, weight, bias_n, h0, lengths, reset, reverse, _, precision = inputs
    y, _, saved = output
    ctx.options = (reverse, precision)
    ctx.mark_non_differentiable(saved)
    ctx.save_for_backward(y, saved, weight, bias_n, h0, lengths, reset)


def _gru_gradient(ctx: Any, dy: Tensor, dh: Tensor, *rest: Any) -> Any:
    gradients = gru_scan_backward(dy, dh, *ctx.saved_tensors, *ctx.options)
    return *gradients, None, None, None, None, None


gru_scan.register_autograd(_gru_gradient, setup_context=_gru_context)
not_twice(gru_scan_backward)
