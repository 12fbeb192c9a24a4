"""The diagonal scans as PyTorch operators, as :mod:`lm_research.kernels.ops` has the others.

Two pairs: ``linear_scan`` over log a and b, ``minimal_scan`` over the gates of minGRU (2 H) or
minLSTM (3 H), whose functions are then computed inside the kernel. y alone is saved beside the
inputs; the backward operators have no gradient of their own.

Shapes: B batch, T time, G gates x hidden size, H hidden size.
"""

from typing import Any

import torch
from torch import Tensor

from lm_research.kernels.operators import empty_as, not_twice


def _parts(gates_BTG: Tensor, hidden: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gates one by one, without a copy."""
    parts = gates_BTG.split(hidden, -1)
    return parts[0], parts[1], parts[2] if len(parts) == 3 else None


# --- log a and b


@torch.library.custom_op("lm_research::linear_scan", mutates_args=())
def linear_scan(
    log_a: Tensor,
    b: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """y_BTH and h_BH."""
    from lm_research.kernels.fused import diagonal

    parts = (log_a.contiguous(), b.contiguous(), None)
    return diagonal.forward(parts, h0, lengths, reset, reverse, diagonal.LINEAR)


@linear_scan.register_fake
def _(log_a, b, h0, lengths, reset, reverse):  # type: ignore[no-untyped-def]
    return empty_as(b), empty_as(h0)


@torch.library.custom_op("lm_research::linear_scan_backward", mutates_args=())
def linear_scan_backward(
    dy: Tensor,
    dh: Tensor,
    log_a: Tensor,
    b: Tensor,
    y: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of log a, b and h0."""
    from lm_research.kernels.fused import diagonal

    parts = (log_a.contiguous(), b.contiguous(), None)
    dlog_a, db = empty_as(log_a), empty_as(b)
    given = (parts, y, h0, dy, dh, lengths, reset, reverse, diagonal.LINEAR)
    return dlog_a, db, diagonal.backward(*given, (dlog_a, db, None))


@linear_scan_backward.register_fake
def _(dy, dh, log_a, b, y, h0, lengths, reset, reverse):  # type: ignore[no-untyped-def]
    return empty_as(log_a), empty_as(b), empty_as(h0)


def _linear_context(ctx: Any, inputs: Any, output: Any) -> None:
    log_a, b, h0, lengths, reset, ctx.reverse = inputs
    ctx.save_for_backward(log_a, b, output[0], h0, lengths, reset)


def _linear_gradient(ctx: Any, dy: Tensor, dh: Tensor) -> Any:
    gradients = linear_scan_backward(dy, dh, *ctx.saved_tensors, ctx.reverse)
    return *gradients, None, None, None


linear_scan.register_autograd(_linear_gradient, setup_context=_linear_context)
not_twice(linear_scan_backward)


# --- gates


@torch.library.custom_op("lm_research::minimal_scan", mutates_args=())
def minimal_scan(
    gates: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """y_BTH and h_BH."""
    from lm_research.kernels.fused import diagonal

    parts = _parts(gates.contiguous(), h0.shape[1])
    kind = diagonal.GRU if parts[2] is None else diagonal.LSTM
    return diagonal.forward(parts, h0, lengths, reset, reverse, kind)


@minimal_scan.register_fake
def _(gates, h0, lengths, reset, reverse):  # type: ignore[no-untyped-def]
    return gates.new_empty(*gates.shape[:2], h0.shape[1]), empty_as(h0)


@torch.library.custom_op("lm_research::minimal_scan_backward", mutates_args=())
def minimal_scan_backward(
    dy: Tensor,
    dh: Tensor,
    gates: Tensor,
    y: Tensor,
    h0: Tensor,
    lengths: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of gates and h0."""
    from lm_research.kernels.fused import diagonal

    hidden = h0.shape[1]
    parts, dgates = _parts(gates.contiguous(), hidden), empty_as(gates)
    kind = diagonal.GRU if parts[2] is None else diagonal.LSTM
    given = (parts, y, h0, dy, dh, lengths, reset, reverse, kind)
    return dgates, diagonal.backward(*given, _parts(dgates, hidden))


@minimal_scan_backward.register_fake
def _(dy, dh, gates, y, h0, lengths, reset, reverse):  # type: ignore[no-untyped-def]
    return empty_as(gates), empty_as(h0)


def _minimal_context(ctx: Any, inputs: Any, output: Any) -> None:
    gates, h0, lengths, reset, ctx.reverse = inputs
    ctx.save_for_backward(gates, output[0], h0, lengths, reset)


def _minimal_gradient(ctx: Any, dy: Tensor, dh: Tensor) -> Any:
    gradients = minimal_scan_backward(dy, dh, *ctx.saved_tensors, ctx.reverse)
    return *gradients, None, None, None


minimal_scan.register_autograd(_minimal_gradient, setup_context=_minimal_context)
not_twice(minimal_scan_backward)
