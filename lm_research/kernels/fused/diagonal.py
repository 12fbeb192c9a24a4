"""The diagonal scan h_t = a_t h_{t-1} + b_t, forward and backward, gates' functions included.

A program has one row of the batch and a tile of channels. It reads a tile of steps at once, scans
it by ``tl.associative_scan`` and hands the last state on to the next tile: every value is read once
(forward) or, gates that decays are made of, twice (backward).

A decay is kept as a and as what it lacks of 1: a near 1 is rounded, and where it is the same at
every step the errors add up (to 9e-5 over 16,384 steps of log a = -1e-5).

KIND says what a and b are made of: 0 log a and b themselves, 1 minGRU's gates (z, v), 2 minLSTM's
gates (f, i, v); ``p``, ``q``, ``r`` are the inputs in this order.

Shapes: B batch, T time, H channels.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.fused.arithmetic import sigmoid
from lm_research.kernels.fused.launch import INTERPRETED
from lm_research.kernels.operators import empty_as

LINEAR, GRU, LSTM = 0, 1, 2
BLOCK_H, WARPS = 32, 4
BLOCK_T = 32
"""Steps of a tile. Of 64 steps minLSTM's backward kernel and all forward kernels for any number of
channels would spill registers; not yet timed."""


@triton.jit
def softplus(x):
    """log(1 + exp(x)), without overflow for any x."""
    return tl.maximum(x, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(x)))


@triton.jit
def lack(x):
    """1 - exp(x) without its cancellation: where |x| < 0.25 the series, to float64's last digit."""
    series = x / 12.0
    for i in tl.static_range(11, 1, -1):
        series = x / i * (1.0 + series)
    return tl.where(tl.abs(x) < 0.25, -x * (1.0 + series), 1.0 - tl.exp(x))


@triton.jit
def decayed(h, a, lost):
    """a h, of a and 1 - a by the one that has more digits."""
    return tl.where(lost < 0.5, h - lost * h, a * h)


@triton.jit
def then(a, lost, b, next_a, next_lost, next_b):
    """Two steps as one: h -> next_a (a h + b) + next_b."""
    return next_a * a, lost + next_lost * (1.0 - lost), decayed(b, next_a, next_lost) + next_b


@triton.jit
def then_or_reset(a, lost, b, next_a, next_lost, next_b):
    """As ``then``; nothing passes where the state is cleared, not even NaN."""
    cleared = next_a == 0.0
    both_a, both_lost, both_b = then(a, lost, b, next_a, next_lost, next_b)
    return (
        tl.where(cleared, 0.0, both_a),
        tl.where(cleared, 1.0, both_lost),
        tl.where(cleared, next_b, both_b),
    )


@triton.jit
def decay(p, q, KIND: tl.constexpr):
    """a of a step, and 1 - a."""
    if KIND == 0:
        a = tl.exp(p)
        lost = lack(p)
    elif KIND == 1:
        a = sigmoid(-p)
        lost = sigmoid(p)
    else:
        d = softplus(-p) - softplus(-q)
        a = sigmoid(-d)
        lost = sigmoid(d)
    return a, lost


@triton.jit
def candidate(v):
    """g(v) = v + 0.5 where v >= 0, else sigmoid(v)."""
    return tl.where(v >= 0.0, v + 0.5, sigmoid(v))


@triton.jit
def candidate_slope(v):
    """g'(v)."""
    e = sigmoid(v)
    return tl.where(v >= 0.0, 1.0, e * (1.0 - e))


@triton.jit
def scanned(a, lost, b, before, HAS_RESET: tl.constexpr):
    """All states of a tile (steps, channels) and the last, from the state before it."""
    if HAS_RESET:
        a, lost, b = tl.associative_scan((a, lost, b), 0, then_or_reset)
        h = tl.where(a == 0.0, 0.0, decayed(before[None, :], a, lost)) + b
    else:
        a, lost, b = tl.associative_scan((a, lost, b), 0, then)
        h = decayed(before[None, :], a, lost) + b
    rows = tl.arange(0, h.shape[0])[:, None]
    return h, tl.sum(tl.where(rows == h.shape[0] - 1, h, 0.0), 0)


@triton.jit(do_not_specialize=["T"])
def forward_kernel(
    p_ptr,
    q_ptr,
    r_ptr,
    h0_ptr,
    lengths_ptr,
    reset_ptr,
    y_ptr,
    h_ptr,
    T,
    H,
    STRIDE,
    HAS_LENGTHS: tl.constexpr,
    HAS_RESET: tl.constexpr,
    REVERSE: tl.constexpr,
    KIND: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_H: tl.constexpr,
    ACC: tl.constexpr,
):
    """All steps of a row and channel tile; STRIDE is from a step to the next in p, q and r."""
    row = tl.program_id(0).to(tl.int64)
    channels = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    here = channels < H
    h = tl.load(h0_ptr + row * H + channels, mask=here, other=0.0).to(ACC)
    end = T
    if HAS_LENGTHS:
        end = tl.minimum(tl.load(lengths_ptr + row), T)
    start = 0
    while start < T:
        step = start + tl.arange(0, BLOCK_T)
        t = T - 1 - step if REVERSE else step
        real = (step < T) & (t < end)
        inside = real[:, None] & here[None, :]
        when = row * T + t
        place = when[:, None] * STRIDE + channels[None, :]
        p = tl.load(p_ptr + place, mask=inside, other=0.0).to(ACC)
        q = tl.load(q_ptr + place, mask=inside, other=0.0).to(ACC)
        a, lost = decay(p, q, KIND)
        b = q
        if KIND == 1:
            b = lost * candidate(q)
        elif KIND == 2:
            v = tl.load(r_ptr + place, mask=inside, other=0.0).to(ACC)
            b = lost * candidate(v)
        if HAS_RESET:
            fresh = tl.load(reset_ptr + when, mask=real, other=0) != 0
            a = tl.where(fresh[:, None], 0.0, a)
            lost = tl.where(fresh[:, None], 1.0, lost)
        # steps that are not real leave the state as it is
        a = tl.where(inside, a, 1.0)
        lost = tl.where(inside, lost, 0.0)
        b = tl.where(inside, b, 0.0)
        y, h = scanned(a, lost, b, h, HAS_RESET)
        out = when[:, None] * H + channels[None, :]
        written = (step < T)[:, None] & here[None, :]
        tl.store(y_ptr + out, tl.where(inside, y, 0.0), mask=written)
        start += BLOCK_T
    tl.store(h_ptr + row * H + channels, h, mask=here)


@triton.jit(do_not_specialize=["T"])
def backward_kernel(
    p_ptr,
    q_ptr,
    r_ptr,
    y_ptr,
    h0_ptr,
    dy_ptr,
    dh_ptr,
    lengths_ptr,
    reset_ptr,
    dp_ptr,
    dq_ptr,
    dr_ptr,
    dh0_ptr,
    T,
    H,
    STRIDE,
    HAS_LENGTHS: tl.constexpr,
    HAS_RESET: tl.constexpr,
    REVERSE: tl.constexpr,
    KIND: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_H: tl.constexpr,
    ACC: tl.constexpr,
):
    """All steps against the forward scan's order: dh_t = dy_t + a_{t+1} dh_{t+1}."""
    row = tl.program_id(0).to(tl.int64)
    channels = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    here = channels < H
    h0 = tl.load(h0_ptr + row * H + channels, mask=here, other=0.0).to(ACC)
    dh = tl.load(dh_ptr + row * H + channels, mask=here, other=0.0).to(ACC)
    end = T
    if HAS_LENGTHS:
        end = tl.minimum(tl.load(lengths_ptr + row), T)
    start = 0
    while start < T:
        step = start + tl.arange(0, BLOCK_T)
        t = step if REVERSE else T - 1 - step
        exists = step < T
        real = exists & (t < end)
        inside = real[:, None] & here[None, :]
        when = row * T + t

        # a of the step after this one in the scan's order, 1 if there is none
        after = t - 1 if REVERSE else t + 1
        follows = exists & (after >= 0) & (after < end)
        there = follows[:, None] & here[None, :]
        place = (row * T + after)[:, None] * STRIDE + channels[None, :]
        p = tl.load(p_ptr + place, mask=there, other=0.0).to(ACC)
        q = tl.load(q_ptr + place, mask=there, other=0.0).to(ACC)
        a, lost = decay(p, q, KIND)
        if HAS_RESET:
            fresh = tl.load(reset_ptr + row * T + after, mask=follows, other=0) != 0
            a = tl.where(fresh[:, None], 0.0, a)
            lost = tl.where(fresh[:, None], 1.0, lost)
        a = tl.where(there, a, 1.0)
        lost = tl.where(there, lost, 0.0)
        out = when[:, None] * H + channels[None, :]
        dy = tl.load(dy_ptr + out, mask=inside, other=0.0).to(ACC)
        d, dh = scanned(a, lost, dy, dh, HAS_RESET)

        # the state as this step saw it
        before = t + 1 if REVERSE else t - 1
        first = (before < 0) | (before >= end)
        earlier = (row * T + before)[:, None] * H + channels[None, :]
        seen = tl.load(y_ptr + earlier, mask=inside & (~first)[:, None], other=0.0).to(ACC)
        seen = tl.where(first[:, None], h0[None, :], seen)
        if HAS_RESET:
            fresh = tl.load(reset_ptr + when, mask=real, other=0) != 0
            seen = tl.where(fresh[:, None], 0.0, seen)

        place = when[:, None] * STRIDE + channels[None, :]
        written = exists[:, None] & here[None, :]
        p = tl.load(p_ptr + place, mask=inside, other=0.0).to(ACC)
        q = tl.load(q_ptr + place, mask=inside, other=0.0).to(ACC)
        a, z = decay(p, q, KIND)
        if KIND == 0:
            dp = d * a * seen
            dq = d
        else:
            v = q
            if KIND == 2:
                v = tl.load(r_ptr + place, mask=inside, other=0.0).to(ACC)
            dv = d * z * candidate_slope(v)
            dp = d * (candidate(v) - seen) * a * z
            if KIND == 1:
                dq = dv
            else:
                dq = dp * sigmoid(-q)
                dp = -dp * sigmoid(-p)
                tl.store(dr_ptr + place, tl.where(inside, dv, 0.0), mask=written)
        tl.store(dp_ptr + place, tl.where(inside, dp, 0.0), mask=written)
        tl.store(dq_ptr + place, tl.where(inside, dq, 0.0), mask=written)
        start += BLOCK_T

    # dh is now the gradient after the scan's first step; before it, a of that step
    first = channels * 0 + (T - 1 if REVERSE else 0)
    stepped = here & (first >= 0) & (first < end)
    when = row * T + first
    p = tl.load(p_ptr + when * STRIDE + channels, mask=stepped, other=0.0).to(ACC)
    q = tl.load(q_ptr + when * STRIDE + channels, mask=stepped, other=0.0).to(ACC)
    a, lost = decay(p, q, KIND)
    dh = tl.where(stepped, decayed(dh, a, lost), dh)
    if HAS_RESET:
        fresh = tl.load(reset_ptr + when, mask=stepped, other=0) != 0
        dh = tl.where(fresh, 0.0, dh)
    tl.store(dh0_ptr + row * H + channels, dh, mask=here)


Parts = tuple[Tensor, Tensor, Tensor | None]


def forward(
    parts: Parts,
    h0_BH: Tensor,
    lengths_B: Tensor | None,
    reset_BT: Tensor | None,
    reverse: bool,
    kind: int,
) -> tuple[Tensor, Tensor]:
    """Returns y_BTH, of the second part's type, and h_BH; parts are (B, T, H), laid out alike."""
    h_BH = empty_as(h0_BH)
    y_BTH = torch.empty(parts[1].shape, dtype=parts[1].dtype, device=parts[1].device)
    given = (*parts, *map(_contiguous, (h0_BH, lengths_B, reset_BT)), y_BTH, h_BH)
    _launch(forward_kernel, given, parts, lengths_B, reset_BT, reverse, kind)
    return y_BTH, h_BH


def backward(
    parts: Parts,
    y_BTH: Tensor,
    h0_BH: Tensor,
    dy_BTH: Tensor,
    dh_BH: Tensor,
    lengths_B: Tensor | None,
    reset_BT: Tensor | None,
    reverse: bool,
    kind: int,
    gradients: Parts,
) -> Tensor:
    """Writes the parts' ``gradients``, laid out as the parts; returns that of h0."""
    dh0_BH = empty_as(h0_BH)
    inputs = map(_contiguous, (y_BTH, h0_BH, dy_BTH, dh_BH, lengths_B, reset_BT))
    given = (*parts, *inputs, *gradients, dh0_BH)
    _launch(backward_kernel, given, parts, lengths_B, reset_BT, reverse, kind)
    return dh0_BH


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def options_of(amd: bool) -> dict[str, int]:
    """Warps; on NVIDIA's chips all registers that a thread may have (see ``launch``)."""
    return {"num_warps": WARPS} if amd else {"num_warps": WARPS, "maxnreg": 255}


def tile(steps: int, channels: int) -> tuple[int, int]:
    """Steps and channels of a tile; the interpreter scans one by one, so there no padding."""
    if not INTERPRETED:
        return BLOCK_T, BLOCK_H
    most = triton.next_power_of_2(max(1, steps)), triton.next_power_of_2(max(1, channels))
    return min(8, most[0]), min(BLOCK_H, most[1])


def _launch(
    kernel: Any,
    given: tuple[Tensor | None, ...],
    parts: Parts,
    lengths_B: Tensor | None,
    reset_BT: Tensor | None,
    reverse: bool,
    kind: int,
) -> None:
    batch, steps, channels = parts[0].shape
    block_t, block_h = tile(steps, channels)
    if not batch * channels:
        return
    double = torch.float64 in (parts[0].dtype, parts[1].dtype)
    kernel[(batch, triton.cdiv(channels, block_h))](
        *given,
        steps,
        channels,
        parts[0].stride(1),
        HAS_LENGTHS=lengths_B is not None,
        HAS_RESET=reset_BT is not None,
        REVERSE=reverse,
        KIND=kind,
        BLOCK_T=block_t,
        BLOCK_H=block_h,
        ACC=tl.float64 if double else tl.float32,
        **options_of(torch.version.hip is not None or INTERPRETED),
    )
