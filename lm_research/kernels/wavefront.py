"""Several layers as a wavefront: one scan in which each walks a step ahead of the one it feeds.

T + L - 1 steps instead of L T. The upper layers' W x is taken step by step within the scan; weight
gradients are one product a layer over all steps, after the backward scan.

Shapes: L layers, B batch, T time, G gates x hidden size, H hidden size.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from lm_research.kernels.checks import real_resets
from lm_research.kernels.fused.spread.plan import GATES
from lm_research.kernels.operators import not_twice
from lm_research.kernels.ops import previous, weight_gradient
from lm_research.kernels.walk import Walk

GIVEN = (
    "str cell, Tensor gates, Tensor between, Tensor bias, Tensor weight, Tensor h0, Tensor? c0, "
    "Tensor? bias_n, Tensor? feed, Tensor? lengths, Tensor? reset, bool save, bool relu"
)
MADE = "Tensor y, Tensor h, Tensor c, Tensor saved, Tensor before, Tensor fed"


def _kernels(cell: str) -> Any:
    """The module of a cell's kernels; here Triton is imported."""
    name = "elman" if cell == "rnn" else cell
    return import_module(f"lm_research.kernels.fused.spread.{name}")


def _walk(lengths: Tensor | None, reset: Tensor | None) -> Walk:
    return Walk(lengths_B=lengths, reset_BT=reset, precision="ieee", form="spread")


def _stack(*parts: Tensor | None) -> Any:
    from lm_research.kernels.fused.spread.launch import Stack

    return Stack(*parts)


def _forward(
    cell: str,
    gates: Tensor,
    between: Tensor,
    bias: Tensor,
    weight: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    bias_n: Tensor | None,
    feed: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
    save: bool,
    relu: bool,
) -> Any:
    """y (L, B, T, H), states, what the backward scan needs, what the upper layers were fed."""
    fed = None if feed is None else torch.empty_like(feed)
    options = {"stack": _stack(between, bias, feed, fed)}
    scan, walk = _kernels(cell).forward, _walk(lengths, reset)
    precise = torch.float64 if gates.dtype == torch.float64 else torch.float32
    c, saved, before = gates.new_empty(0), gates.new_empty(0), gates.new_empty(0, dtype=precise)
    if cell == "lstm":
        y, h, c, saved, before = scan(gates, weight, h0, c0, walk, save, **options)
    elif cell == "gru":
        y, h, saved = scan(gates, weight, h0, bias_n, walk, save, **options)
    else:
        y, h, _ = scan(gates, weight, h0, walk, save, relu, **options)
    return y, h, c, saved, before, gates.new_empty(0) if fed is None else fed


_scan = custom_op(
    "lm_research::wavefront",
    _forward,
    mutates_args=(),
    schema=f"({GIVEN}) -> ({MADE})",
)


@_scan.register_fake
def _(cell, gates, between, bias, weight, h0, c0, bias_n, feed, lengths, reset, save, relu):  # type: ignore[no-untyped-def]
    shape = (len(weight), *gates.shape[:2], h0.shape[-1])
    wide = (*shape[:3], 4 * shape[3])
    precise = torch.float64 if gates.dtype == torch.float64 else torch.float32
    return (
        gates.new_empty(shape),
        torch.empty_like(h0),
        gates.new_empty(h0.shape if cell == "lstm" else (0,)),
        gates.new_empty(wide if save and cell != "rnn" else (0,)),
        gates.new_empty(shape if save and cell == "lstm" else (0,), dtype=precise),
        gates.new_empty(0) if feed is None else torch.empty_like(feed),
    )


def _backward(
    cell: str,
    dy: Tensor,
    dh: Tensor,
    dc: Tensor,
    between: Tensor,
    bias: Tensor,
    weight: Tensor,
    h0: Tensor,
    bias_n: Tensor | None,
    feed: Tensor | None,
    lengths: Tensor | None,
    reset: Tensor | None,
    relu: bool,
    y: Tensor,
    saved: Tensor,
    before: Tensor,
    fed: Tensor,
) -> Any:
    """Gradients of gates, between, bias, weight, h0, c0, bias_n; ``dy`` (B, T, H) of the top's y.

    What a cell has not is empty.
    """
    scan, walk = _kernels(cell).backward, _walk(lengths, reset)
    options = {"stack": _stack(between, bias, feed, None)}
    hidden = [previous(*pair, walk) for pair in zip(y, h0, strict=True)]
    dc0, dbias_n = y.new_empty(0), y.new_empty(0)
    if cell == "lstm":
        dgates, dh0, dc0 = scan(dy, dh, dc, saved, before, None, weight, walk, **options)
    elif cell == "gru":
        before = torch.stack(hidden)
        dgates, dinner, dh0 = scan(dy, dh, saved, before, weight, bias_n, walk, **options)
        dbias_n = dinner.sum((1, 2))
    else:
        dgates, dh0 = scan(dy, dh, y, weight, walk, relu, **options)
    size = weight.shape[-1]
    through_u = dgates if cell != "gru" else torch.cat([dgates[..., : 2 * size], dinner], -1)
    dweight = [weight_gradient(*pair, size, walk) for pair in zip(through_u, hidden, strict=True)]
    inputs = y[:-1] if feed is None else fed
    dbetween = [weight_gradient(*pair, size, walk) for pair in zip(dgates[1:], inputs, strict=True)]
    dbias = dgates[1:].sum((1, 2))
    return (
        dgates[0],
        torch.stack(dbetween),
        dbias,
        torch.stack(dweight),
        dh0,
        dc0,
        dbias_n,
    )


_scan_backward = custom_op(
    "lm_research::wavefront_backward",
    _backward,
    mutates_args=(),
    schema=(
        "(str cell, Tensor dy, Tensor dh, Tensor dc, Tensor between, Tensor bias, Tensor weight, "
        "Tensor h0, Tensor? bias_n, Tensor? feed, Tensor? lengths, Tensor? reset, bool relu, "
        "Tensor y, Tensor saved, Tensor before, Tensor fed) -> "
        "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
)


@_scan_backward.register_fake
def _(cell, dy, dh, dc, between, bias, weight, h0, bias_n, *rest):  # type: ignore[no-untyped-def]
    dgates = dy.new_empty(*dy.shape[:2], GATES[cell] * dy.shape[2])
    like = map(torch.empty_like, (between, bias, weight, h0))
    dc0 = torch.empty_like(h0) if cell == "lstm" else dy.new_empty(0)
    return dgates, *like, dc0, dy.new_empty(0) if bias_n is None else torch.empty_like(bias_n)


def _context(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.cell, _, between, bias, weight, h0, _, bias_n, feed, lengths, reset, _, ctx.relu = inputs
    y, _, _, saved, before, fed = output
    ctx.mark_non_differentiable(saved, before, fed)
    given = between, bias, weight, h0, bias_n, feed, lengths, reset
    ctx.save_for_backward(*given, y, saved, before, fed)


def _gradient(ctx: Any, dy: Tensor, dh: Tensor, dc: Tensor, *rest: Any) -> Any:
    *given, y, saved, before, fed = ctx.saved_tensors
    top = dy[-1].contiguous()  # no other layer's y is handed out
    made = _scan_backward(ctx.cell, top, dh, dc, *given, ctx.relu, y, saved, before, fed)
    dgates, dbetween, dbias, dweight, dh0, dc0, dbias_n = made
    lstm, gru = ctx.cell == "lstm", ctx.cell == "gru"
    states = dh0, dc0 if lstm else None, dbias_n if gru else None
    return None, dgates, dbetween, dbias, dweight, *states, *(None,) * 5


_scan.register_autograd(_gradient, setup_context=_context)
not_twice(_scan_backward)


def wavefront(
    cell: str,
    x: Tensor,
    w: Sequence[Tensor],
    u: Sequence[Tensor],
    bias: Sequence[Tensor | None],
    bias_n: Sequence[Tensor | None],
    states: Sequence[Tensor],
    *,
    dropout: float = 0.0,
    lengths: Tensor | None = None,
    reset_mask: Tensor | None = None,
    relu: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """L layers of one head and one direction in one launch.

    Args:
        cell: ``rnn``, ``lstm``, ``gru``.
        x: (B, T, I).
        w: W of each layer, (G, I) and then (G, H).
        u: U of each, (G, H).
        bias: of each one's gates, (G), or None.
        bias_n: the GRU's b' of n, (H), or None.
        states: h0, and the LSTM's c0, (L, B, H).
        dropout: probability of dropping a unit of y on its way up; drawn for all steps beforehand.
        lengths, reset_mask: as for ``rnn_scan``.
        relu: for the RNN.

    Returns:
        y of the top layer (B, T, H), and the last states (L, B, H).
    """
    gates = F.linear(x, w[0], bias[0])
    upper = [gates.new_zeros(gates.shape[-1]) if b is None else b for b in bias[1:]]
    stacked = [torch.stack(list(w[1:])), torch.stack(upper), torch.stack(list(u)), *states]
    inner = None
    if cell == "gru":
        none = gates.new_zeros(u[0].shape[1])
        inner = torch.stack([none if b is None else b for b in bias_n])
    tensors = [gates, *stacked] if inner is None else [gates, *stacked, inner]
    save = torch.is_grad_enabled() and any(part.requires_grad for part in tensors)
    between, b, weight, h0, *c0 = (part.to(gates.dtype) for part in stacked)
    inner = inner if inner is None else inner.to(gates.dtype)
    feed = None
    if dropout:
        feed = F.dropout(gates.new_ones(len(between), *gates.shape[:2], h0.shape[-1]), dropout)
    reset = real_resets(reset_mask, lengths)
    given = h0, c0[0] if c0 else None, inner, feed, lengths, reset
    y, h, c, *_ = _scan(cell, gates, between, b, weight, *given, save, relu)
    return y[-1], (h, c) if cell == "lstm" else (h,)
