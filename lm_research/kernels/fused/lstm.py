"""The LSTM scan, forward and backward, one program a batch tile and head.

Gates lie as i, f, g, o, each (B, T, H), in one (B, T, 4 H) tensor. The state is kept in registers
in ACC (float32; float64 for float64 inputs), products take it in the weights' type.

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
    c0_ptr,
    lengths_ptr,
    reset_ptr,
    y_ptr,
    h_ptr,
    c_ptr,
    saved_ptr,
    before_ptr,
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
    wide = local[:, None] * (T * 4 * H) + units[None, :]

    square = (columns < D)[:, None] & (columns < D)[None, :]
    straight = units[:, None] * D + columns[None, :]
    u_i = tl.load(turned_ptr + straight, mask=square, other=0.0)
    u_f = tl.load(turned_ptr + H * D + straight, mask=square, other=0.0)
    u_g = tl.load(turned_ptr + 2 * H * D + straight, mask=square, other=0.0)
    u_o = tl.load(turned_ptr + 3 * H * D + straight, mask=square, other=0.0)

    h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
    c = tl.load(c0_ptr + state, mask=inside, other=0.0).to(ACC)
    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    for step in range(T):
        t = T - 1 - step if REVERSE else step
        now = first + t
        if HAS_RESET:
            kept = tl.load(reset_ptr + now + local * T, mask=here, other=0) == 0
            h = tl.where(kept[:, None], h, 0.0)
            c = tl.where(kept[:, None], c, 0.0)
        place = now * (4 * H)
        a_i = tl.load(gates_ptr + place + wide, mask=inside, other=0.0).to(ACC)
        a_f = tl.load(gates_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
        a_g = tl.load(gates_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
        a_o = tl.load(gates_ptr + place + 3 * H + wide, mask=inside, other=0.0).to(ACC)
        operand = h.to(u_i.dtype)
        i = sigmoid(a_i + product(operand, u_i, ACC, PRECISION, UPCAST))
        f = sigmoid(a_f + product(operand, u_f, ACC, PRECISION, UPCAST))
        g = tanh(a_g + product(operand, u_g, ACC, PRECISION, UPCAST))
        o = sigmoid(a_o + product(operand, u_o, ACC, PRECISION, UPCAST))
        out = now * H
        if SAVE:
            tl.store(saved_ptr + place + wide, i, mask=inside)
            tl.store(saved_ptr + place + H + wide, f, mask=inside)
            tl.store(saved_ptr + place + 2 * H + wide, g, mask=inside)
            tl.store(saved_ptr + place + 3 * H + wide, o, mask=inside)
            tl.store(before_ptr + out + narrow, c, mask=inside)
        new_c = f * c + i * g
        new_h = o * tanh(new_c)
        if HAS_LENGTHS:
            real = (t < lengths)[:, None]
            tl.store(y_ptr + out + narrow, tl.where(real, new_h, 0.0), mask=inside)
            h = tl.where(real, new_h, h)
            c = tl.where(real, new_c, c)
        else:
            tl.store(y_ptr + out + narrow, new_h, mask=inside)
            h = new_h
            c = new_c
    tl.store(h_ptr + state, h, mask=inside)
    tl.store(c_ptr + state, c, mask=inside)


@triton.jit(do_not_specialize=["B", "T"])
def backward_kernel(
    dy_ptr,
    dh_ptr,
    dc_ptr,
    saved_ptr,
    before_ptr,
    weight_ptr,
    lengths_ptr,
    reset_ptr,
    dgates_ptr,
    dh0_ptr,
    dc0_ptr,
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
    wide = local[:, None] * (T * 4 * H) + units[None, :]

    square = (columns < D)[:, None] & (columns < D)[None, :]
    straight = units[:, None] * D + columns[None, :]
    u_i = tl.load(weight_ptr + straight, mask=square, other=0.0)
    u_f = tl.load(weight_ptr + H * D + straight, mask=square, other=0.0)
    u_g = tl.load(weight_ptr + 2 * H * D + straight, mask=square, other=0.0)
    u_o = tl.load(weight_ptr + 3 * H * D + straight, mask=square, other=0.0)

    dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    dc = tl.load(dc_ptr + state, mask=inside, other=0.0).to(ACC)
    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    for step in range(T):
        t = step if REVERSE else T - 1 - step
        now = first + t
        place = now * (4 * H)
        out = now * H
        i = tl.load(saved_ptr + place + wide, mask=inside, other=0.0).to(ACC)
        f = tl.load(saved_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
        g = tl.load(saved_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
        o = tl.load(saved_ptr + place + 3 * H + wide, mask=inside, other=0.0).to(ACC)
        before = tl.load(before_ptr + out + narrow, mask=inside, other=0.0)
        dout = dh + tl.load(dy_ptr + out + narrow, mask=inside, other=0.0).to(ACC)
        squashed = tanh(f * before + i * g)
        dcell = dc + dout * o * (1.0 - squashed * squashed)
        d_i = dcell * g * i * (1.0 - i)
        d_f = dcell * before * f * (1.0 - f)
        d_g = dcell * i * (1.0 - g * g)
        d_o = dout * squashed * o * (1.0 - o)
        if HAS_LENGTHS:
            real = (t < lengths)[:, None]
            d_i = tl.where(real, d_i, 0.0)
            d_f = tl.where(real, d_f, 0.0)
            d_g = tl.where(real, d_g, 0.0)
            d_o = tl.where(real, d_o, 0.0)
        d_i = d_i.to(u_i.dtype)
        d_f = d_f.to(u_i.dtype)
        d_g = d_g.to(u_i.dtype)
        d_o = d_o.to(u_i.dtype)
        tl.store(dgates_ptr + place + wide, d_i, mask=inside)
        tl.store(dgates_ptr + place + H + wide, d_f, mask=inside)
        tl.store(dgates_ptr + place + 2 * H + wide, d_g, mask=inside)
        tl.store(dgates_ptr + place + 3 * H + wide, d_o, mask=inside)
        new_dh = product(d_i, u_i, ACC, PRECISION, UPCAST)
        new_dh += product(d_f, u_f, ACC, PRECISION, UPCAST)
        new_dh += product(d_g, u_g, ACC, PRECISION, UPCAST)
        new_dh += product(d_o, u_o, ACC, PRECISION, UPCAST)
        new_dc = dcell * f
        if HAS_LENGTHS:
            new_dh = tl.where(real, new_dh, dh)
            new_dc = tl.where(real, new_dc, dc)
        if HAS_RESET:
            kept = (tl.load(reset_ptr + now + local * T, mask=here, other=0) == 0)[:, None]
            new_dh = tl.where(kept, new_dh, 0.0)
            new_dc = tl.where(kept, new_dc, 0.0)
        dh = new_dh
        dc = new_dc
    tl.store(dh0_ptr + state, dh, mask=inside)
    tl.store(dc0_ptr + state, dc, mask=inside)


def forward(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    c0_BH: Tensor,
    walk: Walk,
    save: bool,
) -> tuple[Tensor, ...]:
    """Returns y_BTH, h_BH, c_BH and, for the backward pass, the gates' values and c_{t-1}."""
    launch = Launch(gates_BTG, weight_GD, 4, walk)
    batch, steps, hidden = launch.batch, launch.steps, launch.hidden
    y_BTH = gates_BTG.new_empty(batch, steps, hidden)
    h_BH, c_BH = empty_as(h0_BH), empty_as(c0_BH)
    saved = empty_as(gates_BTG) if save else gates_BTG.new_empty(0)
    kept = (batch, steps, hidden) if save else (0,)
    before = gates_BTG.new_empty(kept, dtype=launch.accumulator)
    launch(
        forward_kernel,
        (gates_BTG, turned(weight_GD), h0_BH, c0_BH),
        (y_BTH, h_BH, c_BH, saved, before),
        SAVE=save,
    )
    return y_BTH, h_BH, c_BH, saved, before


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    dc_BH: Tensor,
    saved_BTG: Tensor,
    before_BTH: Tensor,
    weight_GD: Tensor,
    walk: Walk,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, h0 and c0."""
    launch = Launch(saved_BTG, weight_GD, 4, walk)
    dgates_BTG = empty_as(saved_BTG)
    dh0_BH, dc0_BH = empty_as(dh_BH), empty_as(dc_BH)
    launch(
        backward_kernel,
        (dy_BTH, dh_BH, dc_BH, saved_BTG, before_BTH, weight_GD),
        (dgates_BTG, dh0_BH, dc0_BH),
    )
    return dgates_BTG, dh0_BH, dc0_BH
