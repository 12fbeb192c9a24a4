"""The GRU scan, forward and backward, one program a batch tile, head and direction.

A direction's gates lie as r, z, n, each (B, T, H), in one (B, T, R x 3 H) tensor. The recurrent
bias of n stands inside r * (U h + b'), as in cuDNN and PyTorch, so it cannot be part of the gates.

Shapes: B batch, T time, H hidden size, D head size (H if there is one head), R directions.
"""

import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.fused.arithmetic import product, sigmoid, tanh
from lm_research.kernels.fused.launch import Launch, turned
from lm_research.kernels.fused.tile import direction, kept, matrix, parted, tile, zoned
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@triton.jit(do_not_specialize=["B", "T", "reverse"])
def forward_kernel(
    gates_ptr,
    turned_ptr,
    h0_ptr,
    bias_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    y_ptr,
    h_ptr,
    saved_ptr,
    B,
    T,
    H,
    D,
    reverse,
    SHARE_H: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """All steps; see ``tile`` for the layout."""
    local, rows, columns, units, inside = tile(B, D, BLOCK_B, BLOCK_D)
    second, against = direction(H, D, reverse)
    W = tl.num_programs(1) * D
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    state = rows.to(tl.int64)[:, None] * W + units[None, :]
    narrow = local[:, None] * (T * W) + units[None, :]
    wide = local[:, None] * (T * 3 * W) + (units + second * (2 * H))[None, :]
    saved_wide = local[:, None] * (T * 4 * W) + (units + second * (3 * H))[None, :]

    outputs = units + second * (2 * H)
    u_r = matrix(turned_ptr, outputs, columns, D)
    u_z = matrix(turned_ptr + H * D, outputs, columns, D)
    u_n = matrix(turned_ptr + 2 * H * D, outputs, columns, D)
    bias = tl.load(bias_ptr + units, mask=columns < D, other=0.0).to(ACC)[None, :]

    h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=rows < B, other=0)
    if reset_ptr is not None:
        reset_ptr += second.to(tl.int64) * B * T
    for step in range(T):
        t = tl.where(against, T - 1 - step, step)
        now = first + t
        if reset_ptr is not None:
            h = tl.where(kept(reset_ptr, now, local, rows, B, T), h, 0.0)
        place = now * (3 * W)
        a_r = tl.load(gates_ptr + place + wide, mask=inside, other=0.0).to(ACC)
        a_z = tl.load(gates_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
        a_n = tl.load(gates_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
        seen = h
        if dropout_ptr is not None:
            seen *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
        operand = seen.to(u_r.dtype)
        r = sigmoid(a_r + product(operand, u_r, ACC, PRECISION, UPCAST))
        z = sigmoid(a_z + product(operand, u_z, ACC, PRECISION, UPCAST))
        inner = product(operand, u_n, ACC, PRECISION, UPCAST) + bias
        n = tanh(a_n + r * inner)
        if saved_ptr is not None:
            saved = now * (4 * W)
            tl.store(saved_ptr + saved + saved_wide, r, mask=inside)
            tl.store(saved_ptr + saved + H + saved_wide, z, mask=inside)
            tl.store(saved_ptr + saved + 2 * H + saved_wide, n, mask=inside)
            tl.store(saved_ptr + saved + 3 * H + saved_wide, inner, mask=inside)
        out = now * W + narrow
        new_h = zoned(h, n + z * (h - n), zoneout_h_ptr, SHARE_H, out, inside)
        if lengths_ptr is not None:
            real = (t < lengths)[:, None]
            tl.store(y_ptr + out, tl.where(real, new_h, 0.0), mask=inside)
            h = tl.where(real, new_h, h)
        else:
            tl.store(y_ptr + out, new_h, mask=inside)
            h = new_h
    tl.store(h_ptr + state, h, mask=inside)


@triton.jit(do_not_specialize=["B", "T", "reverse"])
def backward_kernel(
    dy_ptr,
    dh_ptr,
    saved_ptr,
    before_ptr,
    bias_ptr,
    weight_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    dgates_ptr,
    dinner_ptr,
    dh0_ptr,
    B,
    T,
    H,
    D,
    reverse,
    SHARE_H: tl.constexpr,
    RECOMPUTE: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """All steps against the forward scan's order; writes gradients before the gates' f.

    ``saved_ptr`` holds r, z, n and U h + b'; or, to ``RECOMPUTE`` them, the inputs' share of gates.
    """
    local, rows, columns, units, inside = tile(B, D, BLOCK_B, BLOCK_D)
    second, against = direction(H, D, reverse)
    W = tl.num_programs(1) * D
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    state = rows.to(tl.int64)[:, None] * W + units[None, :]
    narrow = local[:, None] * (T * W) + units[None, :]
    wide = local[:, None] * (T * 3 * W) + (units + second * (2 * H))[None, :]
    saved_wide = local[:, None] * (T * 4 * W) + (units + second * (3 * H))[None, :]

    outputs = units + second * (2 * H)
    u_r = matrix(weight_ptr, outputs, columns, D)
    u_z = matrix(weight_ptr + H * D, outputs, columns, D)
    u_n = matrix(weight_ptr + 2 * H * D, outputs, columns, D)

    if RECOMPUTE:
        bias = tl.load(bias_ptr + units, mask=columns < D, other=0.0).to(ACC)[None, :]
    dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=rows < B, other=0)
    if reset_ptr is not None:
        reset_ptr += second.to(tl.int64) * B * T
    for step in range(T):
        t = tl.where(against, step, T - 1 - step)
        now = first + t
        saved = now * (4 * W)
        out = now * W + narrow
        place = now * (3 * W)
        before = tl.load(before_ptr + out, mask=inside, other=0.0).to(ACC)
        if RECOMPUTE:
            a_r = tl.load(saved_ptr + place + wide, mask=inside, other=0.0).to(ACC)
            a_z = tl.load(saved_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
            a_n = tl.load(saved_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
            seen = before
            if dropout_ptr is not None:
                seen *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
            operand = seen.to(u_r.dtype)
            r = sigmoid(a_r + product(operand, tl.trans(u_r), ACC, PRECISION, UPCAST))
            z = sigmoid(a_z + product(operand, tl.trans(u_z), ACC, PRECISION, UPCAST))
            inner = product(operand, tl.trans(u_n), ACC, PRECISION, UPCAST) + bias
            n = tanh(a_n + r * inner)
        else:
            r = tl.load(saved_ptr + saved + saved_wide, mask=inside, other=0.0).to(ACC)
            z = tl.load(saved_ptr + saved + H + saved_wide, mask=inside, other=0.0).to(ACC)
            n = tl.load(saved_ptr + saved + 2 * H + saved_wide, mask=inside, other=0.0).to(ACC)
            inner = tl.load(saved_ptr + saved + 3 * H + saved_wide, mask=inside, other=0.0).to(ACC)
        dout = dh + tl.load(dy_ptr + out, mask=inside, other=0.0).to(ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            stays, dout = parted(dout, zoneout_h_ptr, SHARE_H, out, inside)
        direct = dout * z
        if zoneout_h_ptr is not None or SHARE_H is not None:
            direct += stays
        d_z = dout * (before - n) * z * (1.0 - z)
        d_n = dout * (1.0 - z) * (1.0 - n * n)
        d_r = d_n * inner * r * (1.0 - r)
        d_inner = d_n * r
        if lengths_ptr is not None:
            real = (t < lengths)[:, None]
            d_r = tl.where(real, d_r, 0.0)
            d_z = tl.where(real, d_z, 0.0)
            d_n = tl.where(real, d_n, 0.0)
            d_inner = tl.where(real, d_inner, 0.0)
        d_inner = d_inner.to(u_r.dtype)
        d_r = d_r.to(u_r.dtype)
        d_z = d_z.to(u_r.dtype)
        tl.store(dgates_ptr + place + wide, d_r, mask=inside)
        tl.store(dgates_ptr + place + H + wide, d_z, mask=inside)
        tl.store(dgates_ptr + place + 2 * H + wide, d_n, mask=inside)
        tl.store(dinner_ptr + out, d_inner, mask=inside)
        new_dh = direct if dropout_ptr is None else tl.zeros_like(direct)
        new_dh += product(d_r, u_r, ACC, PRECISION, UPCAST)
        new_dh += product(d_z, u_z, ACC, PRECISION, UPCAST)
        new_dh += product(d_inner, u_n, ACC, PRECISION, UPCAST)
        if dropout_ptr is not None:
            new_dh *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
            new_dh += direct
        if lengths_ptr is not None:
            new_dh = tl.where(real, new_dh, dh)
        if reset_ptr is not None:
            new_dh = tl.where(kept(reset_ptr, now, local, rows, B, T), new_dh, 0.0)
        dh = new_dh
    tl.store(dh0_ptr + state, dh, mask=inside)


def forward(
    gates_BTG: Tensor, weight_GD: Tensor, h0_BH: Tensor, bias_n_H: Tensor, walk: Walk, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and, to ``save`` but not to recompute, r, z, n, U h + b' of every step.

    These lie as gates do: (B, T, R x 4 H).
    """
    launch = Launch(gates_BTG, weight_GD, 3, walk)
    batch, steps, hidden = launch.batch, launch.steps, h0_BH.shape[1]
    y_BTH, h_BH = gates_BTG.new_empty(batch, steps, hidden), empty_as(h0_BH)
    keep = save and not walk.recompute
    saved_BT4 = gates_BTG.new_empty((batch, steps, 4 * hidden) if keep else (0,))
    launch(
        forward_kernel,
        (gates_BTG, turned(weight_GD), h0_BH, bias_n_H),
        (y_BTH, h_BH, saved_BT4 if keep else None),
    )
    return y_BTH, h_BH, saved_BT4


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    saved: Tensor,
    before_BTH: Tensor,
    weight_GD: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, of n's inner product U h + b', and of h0.

    Args:
        saved: what the forward scan saved; to recompute it the gates that it took.
        before_BTH: h_{t-1}, as it was before dropout.
    """
    batch, steps, hidden = before_BTH.shape
    dgates_BTG = before_BTH.new_empty(batch, steps, 3 * hidden)
    dinner_BTH, dh0_BH = empty_as(before_BTH), empty_as(dh_BH)
    Launch(dgates_BTG, weight_GD, 3, walk)(
        backward_kernel,
        (dy_BTH, dh_BH, saved, before_BTH, bias_n_H, weight_GD),
        (dgates_BTG, dinner_BTH, dh0_BH),
        RECOMPUTE=walk.recompute,
    )
    return dgates_BTG, dinner_BTH, dh0_BH
