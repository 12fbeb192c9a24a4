"""The LSTM scan, forward and backward, one program a batch tile, head and direction.

A direction's gates lie as i, f, g, o, each (B, T, H), in one (B, T, R x 4 H) tensor. The state is
kept in registers in ACC (float32; float64 for float64 inputs), products take it in the weights'
type. h is o tanh(c) of the cell before zoneout, as in Krueger et al. 2017.

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
    c0_ptr,
    zoneout_c_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    y_ptr,
    h_ptr,
    c_ptr,
    saved_ptr,
    before_ptr,
    B,
    T,
    H,
    D,
    reverse,
    SHARE_H: tl.constexpr,
    SHARE_C: tl.constexpr,
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
    wide = local[:, None] * (T * 4 * W) + (units + second * (3 * H))[None, :]

    outputs = units + second * (3 * H)
    u_i = matrix(turned_ptr, outputs, columns, D)
    u_f = matrix(turned_ptr + H * D, outputs, columns, D)
    u_g = matrix(turned_ptr + 2 * H * D, outputs, columns, D)
    u_o = matrix(turned_ptr + 3 * H * D, outputs, columns, D)

    h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
    c = tl.load(c0_ptr + state, mask=inside, other=0.0).to(ACC)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=rows < B, other=0)
    if reset_ptr is not None:
        reset_ptr += second.to(tl.int64) * B * T
    for step in range(T):
        t = tl.where(against, T - 1 - step, step)
        now = first + t
        if reset_ptr is not None:
            goes_on = kept(reset_ptr, now, local, rows, B, T)
            h = tl.where(goes_on, h, 0.0)
            c = tl.where(goes_on, c, 0.0)
        place = now * (4 * W)
        a_i = tl.load(gates_ptr + place + wide, mask=inside, other=0.0).to(ACC)
        a_f = tl.load(gates_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
        a_g = tl.load(gates_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
        a_o = tl.load(gates_ptr + place + 3 * H + wide, mask=inside, other=0.0).to(ACC)
        seen = h
        if dropout_ptr is not None:
            seen *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
        operand = seen.to(u_i.dtype)
        i = sigmoid(a_i + product(operand, u_i, ACC, PRECISION, UPCAST))
        f = sigmoid(a_f + product(operand, u_f, ACC, PRECISION, UPCAST))
        g = tanh(a_g + product(operand, u_g, ACC, PRECISION, UPCAST))
        o = sigmoid(a_o + product(operand, u_o, ACC, PRECISION, UPCAST))
        out = now * W + narrow
        if saved_ptr is not None:
            tl.store(saved_ptr + place + wide, i, mask=inside)
            tl.store(saved_ptr + place + H + wide, f, mask=inside)
            tl.store(saved_ptr + place + 2 * H + wide, g, mask=inside)
            tl.store(saved_ptr + place + 3 * H + wide, o, mask=inside)
        if before_ptr is not None:
            tl.store(before_ptr + out, c, mask=inside)
        new_c = f * c + i * g
        new_h = zoned(h, o * tanh(new_c), zoneout_h_ptr, SHARE_H, out, inside)
        new_c = zoned(c, new_c, zoneout_c_ptr, SHARE_C, out, inside)
        if lengths_ptr is not None:
            real = (t < lengths)[:, None]
            tl.store(y_ptr + out, tl.where(real, new_h, 0.0), mask=inside)
            h = tl.where(real, new_h, h)
            c = tl.where(real, new_c, c)
        else:
            tl.store(y_ptr + out, new_h, mask=inside)
            h = new_h
            c = new_c
    tl.store(h_ptr + state, h, mask=inside)
    tl.store(c_ptr + state, c, mask=inside)


@triton.jit(do_not_specialize=["B", "T", "reverse"])
def backward_kernel(
    dy_ptr,
    dh_ptr,
    dc_ptr,
    saved_ptr,
    before_ptr,
    hidden_ptr,
    weight_ptr,
    zoneout_c_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    dgates_ptr,
    dh0_ptr,
    dc0_ptr,
    B,
    T,
    H,
    D,
    reverse,
    SHARE_H: tl.constexpr,
    SHARE_C: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """All steps against the forward scan's order; writes gradients before the gates' f.

    ``saved_ptr`` holds the gates' values; or, if there is h_{t-1} to compute them with
    (``hidden_ptr``), the inputs' share of them.
    """
    local, rows, columns, units, inside = tile(B, D, BLOCK_B, BLOCK_D)
    second, against = direction(H, D, reverse)
    W = tl.num_programs(1) * D
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    state = rows.to(tl.int64)[:, None] * W + units[None, :]
    narrow = local[:, None] * (T * W) + units[None, :]
    wide = local[:, None] * (T * 4 * W) + (units + second * (3 * H))[None, :]

    outputs = units + second * (3 * H)
    u_i = matrix(weight_ptr, outputs, columns, D)
    u_f = matrix(weight_ptr + H * D, outputs, columns, D)
    u_g = matrix(weight_ptr + 2 * H * D, outputs, columns, D)
    u_o = matrix(weight_ptr + 3 * H * D, outputs, columns, D)

    dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    dc = tl.load(dc_ptr + state, mask=inside, other=0.0).to(ACC)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=rows < B, other=0)
    if reset_ptr is not None:
        reset_ptr += second.to(tl.int64) * B * T
    for step in range(T):
        t = tl.where(against, step, T - 1 - step)
        now = first + t
        place = now * (4 * W)
        out = now * W + narrow
        i = tl.load(saved_ptr + place + wide, mask=inside, other=0.0).to(ACC)
        f = tl.load(saved_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
        g = tl.load(saved_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
        o = tl.load(saved_ptr + place + 3 * H + wide, mask=inside, other=0.0).to(ACC)
        if hidden_ptr is not None:
            seen = tl.load(hidden_ptr + out, mask=inside, other=0.0).to(ACC)
            if dropout_ptr is not None:
                seen *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
            operand = seen.to(u_i.dtype)
            i = sigmoid(i + product(operand, tl.trans(u_i), ACC, PRECISION, UPCAST))
            f = sigmoid(f + product(operand, tl.trans(u_f), ACC, PRECISION, UPCAST))
            g = tanh(g + product(operand, tl.trans(u_g), ACC, PRECISION, UPCAST))
            o = sigmoid(o + product(operand, tl.trans(u_o), ACC, PRECISION, UPCAST))
        before = tl.load(before_ptr + out, mask=inside, other=0.0)
        dout = dh + tl.load(dy_ptr + out, mask=inside, other=0.0).to(ACC)
        dnext = dc
        if zoneout_h_ptr is not None or SHARE_H is not None:
            stays_h, dout = parted(dout, zoneout_h_ptr, SHARE_H, out, inside)
        if zoneout_c_ptr is not None or SHARE_C is not None:
            stays_c, dnext = parted(dnext, zoneout_c_ptr, SHARE_C, out, inside)
        squashed = tanh(f * before + i * g)
        dcell = dnext + dout * o * (1.0 - squashed * squashed)
        d_i = dcell * g * i * (1.0 - i)
        d_f = dcell * before * f * (1.0 - f)
        d_g = dcell * i * (1.0 - g * g)
        d_o = dout * squashed * o * (1.0 - o)
        if lengths_ptr is not None:
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
        if dropout_ptr is not None:
            new_dh *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            new_dh += stays_h
        if zoneout_c_ptr is not None or SHARE_C is not None:
            new_dc += stays_c
        if lengths_ptr is not None:
            new_dh = tl.where(real, new_dh, dh)
            new_dc = tl.where(real, new_dc, dc)
        if reset_ptr is not None:
            goes_on = kept(reset_ptr, now, local, rows, B, T)
            new_dh = tl.where(goes_on, new_dh, 0.0)
            new_dc = tl.where(goes_on, new_dc, 0.0)
        dh = new_dh
        dc = new_dc
    tl.store(dh0_ptr + state, dh, mask=inside)
    tl.store(dc0_ptr + state, dc, mask=inside)


def forward(
    gates_BTG: Tensor, weight_GD: Tensor, h0_BH: Tensor, c0_BH: Tensor, walk: Walk, save: bool
) -> tuple[Tensor, ...]:
    """Returns y_BTH, h_BH, c_BH and, to ``save``, c_{t-1} and (not to recompute) gates' values."""
    launch = Launch(gates_BTG, weight_GD, 4, walk)
    shape = (launch.batch, launch.steps, h0_BH.shape[1])
    y_BTH, h_BH, c_BH = gates_BTG.new_empty(shape), empty_as(h0_BH), empty_as(c0_BH)
    keep = save and not walk.recompute
    saved_BTG = gates_BTG.new_empty(gates_BTG.shape if keep else (0,))
    before_BTH = gates_BTG.new_empty(shape if save else (0,), dtype=launch.accumulator)
    launch(
        forward_kernel,
        (gates_BTG, turned(weight_GD), h0_BH, c0_BH, walk.mask_c),
        (y_BTH, h_BH, c_BH, saved_BTG if keep else None, before_BTH if save else None),
        SHARE_C=walk.share_c,
    )
    return y_BTH, h_BH, c_BH, saved_BTG, before_BTH


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    dc_BH: Tensor,
    saved_BTG: Tensor,
    before_BTH: Tensor,
    hidden_BTH: Tensor | None,
    weight_GD: Tensor,
    walk: Walk,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, h0 and c0.

    Args:
        saved_BTG: gates' values; to recompute them the gates as the forward scan took them.
        before_BTH: c_{t-1}.
        hidden_BTH: h_{t-1}, to recompute with; None otherwise.
    """
    dgates_BTG = empty_as(saved_BTG)
    dh0_BH, dc0_BH = empty_as(dh_BH), empty_as(dc_BH)
    Launch(saved_BTG, weight_GD, 4, walk)(
        backward_kernel,
        (dy_BTH, dh_BH, dc_BH, saved_BTG, before_BTH, hidden_BTH, weight_GD, walk.mask_c),
        (dgates_BTG, dh0_BH, dc0_BH),
        SHARE_C=walk.share_c,
    )
    return dgates_BTG, dh0_BH, dc0_BH
