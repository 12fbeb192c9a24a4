"""The GRU scan, forward and backward, one program a batch tile and head.

Gates lie as r, z, n, each (B, T, H), in one (B, T, 3 H) tensor. The recurrent bias of n stands
inside r * (U h + b'), as in cuDNN and PyTorch, so it cannot be part of the gates.

Shapes: B batch, T time, H hidden size, D head size (H if there is one head).
"""

import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.fused.arithmetic import product, sigmoid, tanh
from lm_research.kernels.fused.launch import Launch, turned
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@triton.jit(do_not_specialize=["B", "T"])
def forward_kernel(
    gates_ptr,
    turned_ptr,
    h0_ptr,
    bias_ptr,
    lengths_ptr,
    reset_ptr,
    y_ptr,
    h_ptr,
    saved_ptr,
    B,
    T,
    H,
    D,
    HAS_LENGTHS: tl.constexpr,
    HAS_RESET: tl.constexpr,
    REVERSE: tl.constexpr,
    SAVE: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """All steps of a batch tile and head; see the module for the layout."""
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    local = tl.arange(0, BLOCK_B)
    rows = tl.program_id(0) * BLOCK_B + local
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    columns = tl.arange(0, BLOCK_D)
    units = tl.program_id(1) * D + columns
    here = rows < B
    inside = here[:, None] & (columns < D)[None, :]
    state = rows.to(tl.int64)[:, None] * H + units[None, :]
    narrow = local[:, None] * (T * H) + units[None, :]
    wide = local[:, None] * (T * 3 * H) + units[None, :]
    kept_wide = local[:, None] * (T * 4 * H) + units[None, :]
    square = (columns < D)[:, None] & (columns < D)[None, :]
    straight = units[:, None] * D + columns[None, :]
    u_r = tl.load(turned_ptr + straight, mask=square, other=0.0)
    u_z = tl.load(turned_ptr + H * D + straight, mask=square, other=0.0)
    u_n = tl.load(turned_ptr + 2 * H * D + straight, mask=square, other=0.0)
    bias = tl.load(bias_ptr + units, mask=columns < D, other=0.0).to(ACC)[None, :]

    h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    for step in range(T):
        t = T - 1 - step if REVERSE else step
        now = first + t
        if HAS_RESET:
            kept = tl.load(reset_ptr + now + local * T, mask=here, other=0) == 0
            h = tl.where(kept[:, None], h, 0.0)
        place = now * (3 * H)
        a_r = tl.load(gates_ptr + place + wide, mask=inside, other=0.0).to(ACC)
        a_z = tl.load(gates_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
        a_n = tl.load(gates_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
        operand = h.to(u_r.dtype)
        r = sigmoid(a_r + product(operand, u_r, ACC, PRECISION, UPCAST))
        z = sigmoid(a_z + product(operand, u_z, ACC, PRECISION, UPCAST))
        inner = product(operand, u_n, ACC, PRECISION, UPCAST) + bias
        n = tanh(a_n + r * inner)
        if SAVE:
            keep = now * (4 * H)
            tl.store(saved_ptr + keep + kept_wide, r, mask=inside)
            tl.store(saved_ptr + keep + H + kept_wide, z, mask=inside)
            tl.store(saved_ptr + keep + 2 * H + kept_wide, n, mask=inside)
            tl.store(saved_ptr + keep + 3 * H + kept_wide, inner, mask=inside)
        new_h = n + z * (h - n)
        out = now * H
        if HAS_LENGTHS:
            real = (t < lengths)[:, None]
            tl.store(y_ptr + out + narrow, tl.where(real, new_h, 0.0), mask=inside)
            h = tl.where(real, new_h, h)
        else:
            tl.store(y_ptr + out + narrow, new_h, mask=inside)
            h = new_h
    tl.store(h_ptr + state, h, mask=inside)


@triton.jit(do_not_specialize=["B", "T"])
def backward_kernel(
    dy_ptr,
    dh_ptr,
    saved_ptr,
    before_ptr,
    weight_ptr,
    lengths_ptr,
    reset_ptr,
    dgates_ptr,
    dinner_ptr,
    dh0_ptr,
    B,
    T,
    H,
    D,
    HAS_LENGTHS: tl.constexpr,
    HAS_RESET: tl.constexpr,
    REVERSE: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """All steps against the forward scan's order; writes gradients before the gates' f."""
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    local = tl.arange(0, BLOCK_B)
    rows = tl.program_id(0) * BLOCK_B + local
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    columns = tl.arange(0, BLOCK_D)
    units = tl.program_id(1) * D + columns
    here = rows < B
    inside = here[:, None] & (columns < D)[None, :]
    state = rows.to(tl.int64)[:, None] * H + units[None, :]
    narrow = local[:, None] * (T * H) + units[None, :]
    wide = local[:, None] * (T * 3 * H) + units[None, :]
    kept_wide = local[:, None] * (T * 4 * H) + units[None, :]
    square = (columns < D)[:, None] & (columns < D)[None, :]
    straight = units[:, None] * D + columns[None, :]
    u_r = tl.load(weight_ptr + straight, mask=square, other=0.0)
    u_z = tl.load(weight_ptr + H * D + straight, mask=square, other=0.0)
    u_n = tl.load(weight_ptr + 2 * H * D + straight, mask=square, other=0.0)

    dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    for step in range(T):
        t = step if REVERSE else T - 1 - step
        now = first + t
        keep = now * (4 * H)
        out = now * H
        r = tl.load(saved_ptr + keep + kept_wide, mask=inside, other=0.0).to(ACC)
        z = tl.load(saved_ptr + keep + H + kept_wide, mask=inside, other=0.0).to(ACC)
        n = tl.load(saved_ptr + keep + 2 * H + kept_wide, mask=inside, other=0.0).to(ACC)
        inner = tl.load(saved_ptr + keep + 3 * H + kept_wide, mask=inside, other=0.0).to(ACC)
        before = tl.load(before_ptr + out + narrow, mask=inside, other=0.0).to(ACC)
        dout = dh + tl.load(dy_ptr + out + narrow, mask=inside, other=0.0).to(ACC)
        d_z = dout * (before - n) * z * (1.0 - z)
        d_n = dout * (1.0 - z) * (1.0 - n * n)
        if HAS_LENGTHS:
            real = (t < lengths)[:, None]
            d_z = tl.where(real, d_z, 0.0)
            d_n = tl.where(real, d_n, 0.0)
        d_r = d_n * inner * r * (1.0 - r)
        d_inner = (d_n * r).to(u_r.dtype)
        d_r = d_r.to(u_r.dtype)
        d_z = d_z.to(u_r.dtype)
        place = now * (3 * H)
        tl.store(dgates_ptr + place + wide, d_r, mask=inside)
        tl.store(dgates_ptr + place + H + wide, d_z, mask=inside)
        tl.store(dgates_ptr + place + 2 * H + wide, d_n, mask=inside)
        tl.store(dinner_ptr + out + narrow, d_inner, mask=inside)
        new_dh = dout * z
        new_dh += product(d_r, u_r, ACC, PRECISION, UPCAST)
        new_dh += product(d_z, u_z, ACC, PRECISION, UPCAST)
        new_dh += product(d_inner, u_n, ACC, PRECISION, UPCAST)
        if HAS_LENGTHS:
            new_dh = tl.where(real, new_dh, dh)
        if HAS_RESET:
            kept = tl.load(reset_ptr + now + local * T, mask=here, other=0) == 0
            new_dh = tl.where(kept[:, None], new_dh, 0.0)
        dh = new_dh
    tl.store(dh0_ptr + state, dh, mask=inside)


def forward(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and, for the backward pass, r, z, n and U h + b' of every step."""
    launch = Launch(gates_BTG, weight_GD, 3, walk)
    batch, steps, hidden = launch.batch, launch.steps, launch.hidden
    y_BTH, h_BH = gates_BTG.new_empty(batch, steps, hidden), empty_as(h0_BH)
    saved = gates_BTG.new_empty((batch, steps, 4 * hidden) if save else (0,))
    launch(
        forward_kernel,
        (gates_BTG, turned(weight_GD), h0_BH, bias_n_H),
        (y_BTH, h_BH, saved),
        SAVE=save,
    )
    return y_BTH, h_BH, saved


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    saved_BT4: Tensor,
    before_BTH: Tensor,
    weight_GD: Tensor,
    walk: Walk,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, of n's inner product U h + b', and of h0."""
    batch, steps, hidden = before_BTH.shape
    dgates_BTG = saved_BT4.new_empty(batch, steps, 3 * hidden)
    dinner_BTH, dh0_BH = empty_as(before_BTH), empty_as(dh_BH)
    Launch(dgates_BTG, weight_GD, 3, walk)(
        backward_kernel,
        (dy_BTH, dh_BH, saved_BT4, before_BTH, weight_GD),
        (dgates_BTG, dinner_BTH, dh0_BH),
    )
    return dgates_BTG, dinner_BTH, dh0_BH
