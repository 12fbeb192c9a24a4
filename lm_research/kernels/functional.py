"""The scans for people who write their own layers: gates in, states out.

``gates`` are the inputs' share, W x_t + b + b' (the GRU's b' of n apart), as one product for all
steps makes it. The recurrent weight may be block-diagonal: (gates x H, D), H / D heads of D units.

Two directions lie beside each other, the one in time's order first: gates (B, T, R x gates x H),
weight (R x gates x H, D), states (B, R x H).

Shapes: B batch, T time, H hidden size, D head size, R directions.
"""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from lm_research.kernels import reference
from lm_research.kernels.checks import check_bias, check_scan, real_resets
from lm_research.kernels.dispatch import (
    GLUON,
    ScanBackend,
    can_recompute,
    in_form,
    scan_backend,
)
from lm_research.kernels.obstacles import Cell, Precision
from lm_research.kernels.tracing import is_recorded
from lm_research.kernels.walk import Walk

States = Tensor | tuple[Tensor, Tensor]


def rnn_scan(
    gates: Tensor,
    weight: Tensor,
    h0: Tensor | None = None,
    *,
    nonlinearity: str = "tanh",
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
    """h_t = f(gates_t + U h_{t-1}), f being ``tanh`` or ``relu``.

    Args:
        gates: (B, T, R x H).
        weight: U, (R x H, D).
        h0: (B, R x H), zeros if not given; gradients flow to it.
        lengths: (B), int64: row b has ``lengths[b]`` real steps; beyond them y is zero and the
            state stays as it is.
        reset_mask: (B, T), for two directions (2, B, T), bool: the state is cleared before step t
            is walked.
        reverse: walk against time, from the last (real) step to the first.
        bidirectional: walk both ways in one scan; R is 2 then, and 1 otherwise.
        dropout_mask: (B, R x H): what h is multiplied with before U at every step; 0 or
            1 / (1 - p) for variational state dropout (Gal and Ghahramani 2016).
        zoneout_h: (B, T, R x H), bool: units that keep their h at step t (Krueger et al. 2017); or
            the share of itself that every h keeps, zoneout's expectation.
        recompute: keep less for the gradient: the gates' values are computed anew from ``gates``
            (which is kept instead) in the backward scan. An Elman network has none to keep; where U
            is too large to be held straight and turned, they are kept all the same.
        backend: ``reference``, ``triton``, or ``auto`` for what :func:`explain` says;
            ``triton:single``, ``triton:registers``, ``triton:spread`` or ``triton:polled`` for
            one form of kernels.
        precision: of float32 products in ``triton``: ``tf32x3`` (float32's accuracy on tensor
            cores), ``tf32`` (three digits), ``ieee`` (no tensor cores).

    Returns:
        y (B, T, R x H) and the last state (B, R x H).

    Raises:
        RuntimeError: sizes, types or devices do not fit.
        ValueError: an unknown nonlinearity, or ``reverse`` of two directions.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"Unknown nonlinearity '{nonlinearity}': 'tanh' or 'relu'")
    directions = 2 if bidirectional else 1
    walk = Walk(
        lengths,
        reset_mask,
        reverse,
        directions,
        dropout_mask,
        zoneout_h,
        None,
        precision,
        recompute,
    )
    h0 = _zeros(gates, 1) if h0 is None else h0
    check_scan(gates, weight, 1, (h0,), walk)
    weight, h0 = weight.to(gates.dtype), h0.to(gates.dtype)
    served, walk = _served("rnn", gates, weight, walk, backend)
    if served == "reference":
        return reference.rnn_scan(gates, weight, h0, walk, nonlinearity)
    from lm_research.kernels import ops

    save, relu = _needs_gradient(gates, weight, h0), nonlinearity == "relu"
    y, h, _ = ops.rnn(gates, weight, h0, save, relu, *walk.flat())
    return y, h


def lstm_scan(
    gates: Tensor,
    weight: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
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

    ``weight`` is (R x 4 H, D), ``state`` (h0, c0), each (B, R x H). ``zoneout_c`` is to the cell
    what ``zoneout_h`` is to h, which is made from the cell before it. Returns y (B, T, R x H) and
    (h, c). Otherwise as :func:`rnn_scan`.
    """
    directions, zoneouts = 2 if bidirectional else 1, (zoneout_h, zoneout_c)
    walk = Walk(
        lengths, reset_mask, reverse, directions, dropout_mask, *zoneouts, precision, recompute
    )
    h0, c0 = state if state is not None else (_zeros(gates, 4), _zeros(gates, 4))
    check_scan(gates, weight, 4, (h0, c0), walk)
    weight, h0, c0 = (part.to(gates.dtype) for part in (weight, h0, c0))
    served, walk = _served("lstm", gates, weight, walk, backend)
    if served == "reference":
        y, h, c = reference.lstm_scan(gates, weight, h0, c0, walk)
        return y, (h, c)
    from lm_research.kernels import ops

    save = _needs_gradient(gates, weight, h0, c0)
    y, h, c, *_ = ops.lstm(gates, weight, h0, c0, save, *walk.flat())
    return y, (h, c)


def gru_scan(
    gates: Tensor,
    weight: Tensor,
    h0: Tensor | None = None,
    *,
    bias_n: Tensor | None = None,
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

    ``weight`` is (R x 3 H, D); ``bias_n`` (R x H) is the recurrent bias of n, which stands inside
    r * (U h + b'). Otherwise as :func:`rnn_scan`.
    """
    directions = 2 if bidirectional else 1
    walk = Walk(
        lengths,
        reset_mask,
        reverse,
        directions,
        dropout_mask,
        zoneout_h,
        None,
        precision,
        recompute,
    )
    h0 = _zeros(gates, 3) if h0 is None else h0
    check_scan(gates, weight, 3, (h0,), walk)
    check_bias(bias_n, h0)
    bias_n = torch.zeros_like(h0[0]) if bias_n is None else bias_n
    weight, h0, bias_n = (part.to(gates.dtype) for part in (weight, h0, bias_n))
    served, walk = _served("gru", gates, weight, walk, backend)
    if served == "reference":
        return reference.gru_scan(gates, weight, h0, bias_n, walk)
    from lm_research.kernels import ops

    save = _needs_gradient(gates, weight, bias_n, h0)
    y, h, _ = ops.gru(gates, weight, h0, bias_n, save, *walk.flat())
    return y, h


def _served(
    cell: Cell, gates: Tensor, weight: Tensor, walk: Walk, backend: ScanBackend
) -> tuple[str, Walk]:
    """The backend that serves a scan, and the walk as its kernels take it.

    With resets of real steps alone, dropout in the gates' type, recomputing only what fits.
    """
    precision = cast(Precision, walk.precision)
    chosen = scan_backend(cell, gates, weight, backend, precision, walk.masks, walk.directions)
    reset, dropout = real_resets(walk.reset_BT, walk.lengths_B), walk.dropout_BH
    if reset is not None or dropout is not None or walk.recompute:
        fits = chosen.form != "single" or can_recompute(cell, gates, weight, precision, walk.masks)
        walk = replace(
            walk,
            reset_BT=reset,
            dropout_BH=dropout if dropout is None else dropout.to(gates.dtype),
            recompute=walk.recompute and fits,
        )
    return chosen.backend, in_form(walk, _form_for_steps(chosen.form, gates.shape[1]))


def _form_for_steps(form: str | None, steps: int) -> str | None:
    """Of no step: one that reads nothing ahead."""
    return "spread" if form in GLUON and not steps else form


def _zeros(gates: Tensor, count: int) -> Tensor:
    return gates.new_zeros(gates.shape[0], gates.shape[-1] // count)


def _needs_gradient(*tensors: Tensor) -> bool:
    """Whether a gradient may be asked for; the answer is part of a recorded graph."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return wanted or is_recorded()
