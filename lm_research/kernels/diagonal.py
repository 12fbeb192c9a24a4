"""Diagonal scans: h_t = a_t h_{t-1} + b_t, every channel for itself, with the decay given as log a.

Three backends: ``reference`` walks step by step and defines the result; ``torch`` is the same by
pairs of steps in O(log T) rounds of PyTorch operations, on any device; ``triton`` is one kernel.

The pairs are scanned on log a, whose products are sums, and on b itself. The form that has all of
it in logarithms, log h_t = A_t + logcumsumexp(log b - A)_t with A = cumsum(log a) (Heinsen 2023,
arXiv 2311.06281), cancels large sums: at T = 16,384 in float32 its gradients are off by 3 %, where
these are off by 1e-7, and it knows no negative b.

Shapes: B batch, T time, H hidden size, G gates x hidden size.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from lm_research.kernels.checks import check_masks, check_name, check_size, real_steps
from lm_research.kernels.derivatives import refuse_differentiated
from lm_research.kernels.dispatch import Choice
from lm_research.kernels.obstacles import unavailable

Backend = Literal["auto", "reference", "torch", "triton"]


def explain_diagonal(
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    backend: Backend = "auto",
) -> Choice:
    """Which backend would serve a diagonal scan, and why.

    Raises:
        RuntimeError: ``triton`` was asked for by name and cannot serve the call.
        ValueError: ``backend`` is no backend's name.
    """
    check_name("backend", backend, get_args(Backend))
    obstacle = unavailable(torch.device(device), dtype)
    if backend == "triton" and obstacle:
        raise RuntimeError(f"backend='triton' cannot serve this call: {obstacle}; use 'auto'")
    if backend != "auto":
        return Choice(backend, "asked for by name")
    if obstacle or torch.device(device).type != "cuda":
        return Choice("torch", f"no fused kernel: {obstacle or 'the interpreter is for tests'}")
    return Choice("triton", "torch.nn has no such scan; one fused kernel reads every input once")


def linear_scan(
    log_a: Tensor,
    b: Tensor,
    h0: Tensor | None = None,
    *,
    lengths: Tensor | None = None,
    reset_mask: Tensor | None = None,
    reverse: bool = False,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """h_t = exp(log_a_t) h_{t-1} + b_t.

    Args:
        log_a: (B, T, H), at most 0 if the state is not to grow; -inf forgets all.
        b: (B, T, H), of any sign. Sums are in float32, or in float64 if an input is.
        h0: (B, H), zeros if not given; gradients flow to it.
        lengths: (B), int64: row b has ``lengths[b]`` real steps; beyond them y is zero and the
            state stays as it is.
        reset_mask: (B, T), bool: the state is cleared before step t.
        reverse: walk against time, from the last (real) step to the first.
        backend: ``reference``, ``torch``, ``triton``, or ``auto`` for what
            :func:`explain_diagonal` says.

    Returns:
        y (B, T, H) of b's type and the last state (B, H) of h0's.

    Raises:
        RuntimeError: sizes, types or devices do not fit.
        ValueError: ``backend`` is no backend's name.
    """
    if b.dim() != 3:
        raise RuntimeError(f"b must have 3 dimensions (B, T, H), got {b.dim()}")
    h0 = b.new_zeros(b.shape[0], b.shape[2]) if h0 is None else h0
    check_size("log_a", log_a, tuple(b.shape), b)
    check_size("h0", h0, (b.shape[0], b.shape[2]), b)
    check_masks(b, lengths, reset_mask)
    chosen = explain_diagonal(device=b.device, dtype=b.dtype, backend=backend).backend
    if chosen == "triton":
        from lm_research.kernels import minimal_ops

        refuse_differentiated(log_a, b, h0)
        return minimal_ops.linear_scan(log_a, b, h0, lengths, reset_mask, reverse)
    y, h = _scan(log_a, b, h0, lengths, reset_mask, reverse, pairs=chosen == "torch")
    return y.to(b.dtype), h.to(h0.dtype)


def minimal_scan(
    gates: Tensor,
    h0: Tensor,
    *,
    lengths: Tensor | None = None,
    reset_mask: Tensor | None = None,
    reverse: bool = False,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """The scan of minGRU over gates (B, T, 2 H), or of minLSTM over gates (B, T, 3 H).

    The gates, W x_t + b, are in the order z, v or f, i, v; their functions
    (:func:`decay_and_input`) are part of the scan. h0 (B, H) says how large H is; y is of the
    gates' type. Otherwise as :func:`linear_scan`.
    """
    if gates.dim() != 3:
        raise RuntimeError(f"gates must have 3 dimensions (B, T, 2 H or 3 H), got {gates.dim()}")
    hidden = h0.shape[-1]
    if gates.shape[2] not in (2 * hidden, 3 * hidden):
        raise RuntimeError(
            f"Expected gates' last size to be 2 or 3 times h0's {hidden}, got {gates.shape[2]}"
        )
    check_size("h0", h0, (gates.shape[0], hidden), gates)
    check_masks(gates, lengths, reset_mask)
    chosen = explain_diagonal(device=gates.device, dtype=gates.dtype, backend=backend).backend
    if chosen == "triton":
        from lm_research.kernels import minimal_ops

        refuse_differentiated(gates, h0)
        return minimal_ops.minimal_scan(gates, h0, lengths, reset_mask, reverse)
    log_a, b = decay_and_input(gates, hidden)
    y, h = _scan(log_a, b, h0, lengths, reset_mask, reverse, pairs=chosen == "torch")
    return y.to(gates.dtype), h.to(h0.dtype)


def decay_and_input(gates: Tensor, hidden_size: int) -> tuple[Tensor, Tensor]:
    """log a and b (B, T, H) of minGRU's gates (B, T, 2 H) or minLSTM's (B, T, 3 H).

    minGRU: log a = -softplus(z), b = sigmoid(z) g(v). minLSTM, with d = softplus(-f) -
    softplus(-i): log a = -softplus(d), b = sigmoid(d) g(v). Both in float32, or float64 if the
    gates are. See :mod:`lm_research.kernels.minimal` for where this comes from.
    """
    *given, v = _wide(gates).split(hidden_size, -1)
    d = given[0] if len(given) == 1 else F.logsigmoid(given[1]) - F.logsigmoid(given[0])
    candidate = torch.where(v >= 0, v + 0.5, v.sigmoid())
    return F.logsigmoid(-d), d.sigmoid() * candidate


def _wide(tensor: Tensor) -> Tensor:
    """In the type that sums are in."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _scan(
    log_a_BTH: Tensor,
    b_BTH: Tensor,
    h0_BH: Tensor,
    lengths_B: Tensor | None,
    reset_BT: Tensor | None,
    reverse: bool,
    pairs: bool,
) -> tuple[Tensor, Tensor]:
    log_a_BTH, b_BTH, h0_BH = _wide(log_a_BTH), _wide(b_BTH), _wide(h0_BH)
    steps, real_BT1 = b_BTH.shape[1], None
    if not steps:
        return b_BTH.clone(), h0_BH.clone()
    if reset_BT is not None:
        log_a_BTH = log_a_BTH.masked_fill(reset_BT[..., None], -torch.inf)
    if lengths_B is not None:
        # a step that is not real leaves the state as it is
        real_BT1 = real_steps(lengths_B, steps)[..., None]
        log_a_BTH = log_a_BTH.masked_fill(~real_BT1, 0)
        b_BTH = b_BTH.masked_fill(~real_BT1, 0)
    if reverse:
        log_a_BTH, b_BTH = log_a_BTH.flip(1), b_BTH.flip(1)
    walk = _by_pairs if pairs else _step_by_step
    y_BTH = walk(log_a_BTH, b_BTH, h0_BH, reset_BT is not None)
    h_BH = y_BTH[:, -1]
    y_BTH = y_BTH.flip(1) if reverse else y_BTH
    return (y_BTH if real_BT1 is None else y_BTH.masked_fill(~real_BT1, 0)), h_BH


def _step(log_a: Tensor, b: Tensor, before: Tensor, resets: bool) -> Tensor:
    """exp(log_a) before + b; where a state is cleared nothing passes, not even NaN."""
    if resets:
        before = before.masked_fill(log_a == -torch.inf, 0)
    return torch.addcmul(b, log_a.exp(), before)


def _step_by_step(log_a_BTH: Tensor, b_BTH: Tensor, h0_BH: Tensor, resets: bool) -> Tensor:
    states = [h0_BH]
    for log_a_BH, b_BH in zip(log_a_BTH.unbind(1), b_BTH.unbind(1), strict=True):
        states.append(_step(log_a_BH, b_BH, states[-1], resets))
    return torch.stack(states[1:], 1)


def _by_pairs(log_a_BTH: Tensor, b_BTH: Tensor, h0_BH: Tensor, resets: bool) -> Tensor:
    """Two steps are one step of a scan of half the length; what lies between follows from it."""
    first_B1H = _step(log_a_BTH[:, :1], b_BTH[:, :1], h0_BH[:, None], resets)
    steps = b_BTH.shape[1]
    if steps == 1:
        return first_B1H
    half = steps // 2
    log_odd, log_even = log_a_BTH[:, 1::2], log_a_BTH[:, 0::2]
    b_pair = _step(log_odd, b_BTH[:, 1::2], b_BTH[:, 0 : 2 * half : 2], resets)
    log_pair = log_odd + log_even[:, :half]
    if resets:  # -inf + NaN is NaN
        log_pair = log_pair.masked_fill(log_odd == -torch.inf, -torch.inf)
    odd = _by_pairs(log_pair, b_pair, h0_BH, resets)
    later = _step(log_even[:, 1:], b_BTH[:, 2::2], odd[:, : (steps - 1) // 2], resets)
    even = torch.cat([first_B1H, later], 1)
    y_BTH = torch.stack([even[:, :half], odd], 2).flatten(1, 2)
    return torch.cat([y_BTH, even[:, half:]], 1) if steps % 2 else y_BTH
