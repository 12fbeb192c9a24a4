"""The LSTM scan with U in registers; ``fused.lstm`` says what lies where.

Shapes: B batch, T time, H hidden size, D head size (H if there is one head).
"""

import torch
from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2

from lm_research.kernels.fused.registers.launch import Launch
from lm_research.kernels.fused.registers.tile import (
    accumulator,
    cleared,
    direction,
    four,
    kept,
    matrix,
    offsets,
    operand,
    place,
    sigmoid,
    staging,
    tanh,
    write_state,
)
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@gluon.jit(do_not_specialize=["B", "T", "reverse"])
def forward_kernel(
    gates_ptr,
    weight_ptr,
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
    reverse,
    BLOCK_D: gl.constexpr,
):
    """All steps of a batch tile, head and direction, two in a round of the loop."""
    TYPE: gl.constexpr = weight_ptr.dtype.element_ty
    SUM: gl.constexpr = accumulator(gl.num_warps())
    LEFT: gl.constexpr = operand(0, SUM, TYPE)
    RIGHT: gl.constexpr = operand(1, SUM, TYPE)
    local, here, columns, inside = place(B, D, BLOCK_D, SUM)
    second, start, stride = direction(H, D, T, reverse)
    W = gl.num_programs(1) * D
    unit = gl.program_id(1) * D
    corner = gl.program_id(0).to(gl.int64) * 16
    first = corner * T + start
    state = offsets(local, unit + columns, W)
    narrow = offsets(local, unit + columns, T * W)
    wide = offsets(local, unit + second * (3 * H) + columns, T * 4 * W)

    head_ptr = weight_ptr + (unit + second * (3 * H)) * D
    u_i = matrix(head_ptr, D, True, BLOCK_D, RIGHT)
    u_f = matrix(head_ptr + H * D, D, True, BLOCK_D, RIGHT)
    u_g = matrix(head_ptr + 2 * H * D, D, True, BLOCK_D, RIGHT)
    u_o = matrix(head_ptr + 3 * H * D, D, True, BLOCK_D, RIGHT)
    even = gl.allocate_shared_memory(TYPE, [16, BLOCK_D], staging(16, BLOCK_D, TYPE))
    odd = gl.allocate_shared_memory(TYPE, [16, BLOCK_D], staging(16, BLOCK_D, TYPE))

    h = gl.load(h0_ptr + corner * W + state, mask=inside, other=0.0)
    c = gl.load(c0_ptr + corner * W + state, mask=inside, other=0.0).to(gl.float32)
    a_i, a_f, a_g, a_o = four(gates_ptr + first * (4 * W), H, wide, inside)
    if lengths_ptr is not None:
        lengths = gl.load(lengths_ptr + corner + local, mask=here, other=0).to(gl.int32)
    if reset_ptr is not None:
        reset_ptr += second.to(gl.int64) * B * T
        past = (local * T).to(gl.uint32)
        goes_on = kept(reset_ptr + first, past, here)
        h = cleared(h, goes_on)
        c = cleared(c, goes_on)
    for pair in range(0, T, 2):
        for half in gl.static_range(2):
            step = pair + half
            now = first + stride * step
            alive = step < T
            stage = even if half == 0 else odd
            stage.store(h)
            s_i = a_i.to(gl.float32)
            s_f = a_f.to(gl.float32)
            s_g = a_g.to(gl.float32)
            s_o = a_o.to(gl.float32)
            later = first + stride * gl.minimum(step + 1, T - 1)
            a_i, a_f, a_g, a_o = four(gates_ptr + later * (4 * W), H, wide, inside)
            if reset_ptr is not None:
                goes_on = kept(reset_ptr + later, past, here & (step + 1 < T))
            left = stage.load(LEFT)
            i = sigmoid(mma_v2(left, u_i, s_i))
            f = sigmoid(mma_v2(left, u_f, s_f))
            g = tanh(mma_v2(left, u_g, s_g), TYPE)
            o = sigmoid(mma_v2(left, u_o, s_o))
            new_c = f * c + i * g
            new_h = (o * tanh(new_c, TYPE)).to(TYPE)
            if saved_ptr is not None:
                at = saved_ptr + now * (4 * W)
                gl.store(at + wide, i.to(TYPE), mask=inside & alive)
                gl.store(at + H + wide, f.to(TYPE), mask=inside & alive)
                gl.store(at + 2 * H + wide, g.to(TYPE), mask=inside & alive)
                gl.store(at + 3 * H + wide, o.to(TYPE), mask=inside & alive)
            if before_ptr is not None:
                gl.store(before_ptr + now * W + narrow, c, mask=inside & alive)
            y = new_h
            real = alive
            if lengths_ptr is not None:
                real = (alive & (start + stride * step < lengths))[:, None]
                y = cleared(new_h, real)
            gl.store(y_ptr + now * W + narrow, y, mask=inside & alive)
            h = gl.where(real, new_h, stage.load(SUM))
            c = gl.where(real, new_c, c)
            if reset_ptr is not None:
                h = cleared(h, goes_on)
                c = cleared(c, goes_on)
    write_state(h_ptr, h, even, B, D)
    write_state(c_ptr, c, odd, B, D)


@gluon.jit(do_not_specialize=["B", "T", "reverse"])
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
    reverse,
    BLOCK_D: gl.constexpr,
):
    """All steps against the forward scan's order; writes gradients before the gates' f."""
    TYPE: gl.constexpr = weight_ptr.dtype.element_ty
    SUM: gl.constexpr = accumulator(gl.num_warps())
    LEFT: gl.constexpr = operand(0, SUM, TYPE)
    RIGHT: gl.constexpr = operand(1, SUM, TYPE)
    AHEAD: gl.constexpr = BLOCK_D < 128  # beyond, registers do not hold a step that is to come
    local, here, columns, inside = place(B, D, BLOCK_D, SUM)
    second, end, onward = direction(H, D, T, reverse)
    start = end + onward * (T - 1)
    stride = 0 - onward
    W = gl.num_programs(1) * D
    unit = gl.program_id(1) * D
    corner = gl.program_id(0).to(gl.int64) * 16
    first = corner * T + start
    state = offsets(local, unit + columns, W)
    narrow = offsets(local, unit + columns, T * W)
    wide = offsets(local, unit + second * (3 * H) + columns, T * 4 * W)

    head_ptr = weight_ptr + (unit + second * (3 * H)) * D
    u_i = matrix(head_ptr, D, False, BLOCK_D, RIGHT)
    u_f = matrix(head_ptr + H * D, D, False, BLOCK_D, RIGHT)
    u_g = matrix(head_ptr + 2 * H * D, D, False, BLOCK_D, RIGHT)
    u_o = matrix(head_ptr + 3 * H * D, D, False, BLOCK_D, RIGHT)
    even = gl.allocate_shared_memory(TYPE, [16, 4 * BLOCK_D], staging(16, 4 * BLOCK_D, TYPE))
    odd = gl.allocate_shared_memory(TYPE, [16, 4 * BLOCK_D], staging(16, 4 * BLOCK_D, TYPE))

    dh = gl.load(dh_ptr + corner * W + state, mask=inside, other=0.0).to(gl.float32)
    dc = gl.load(dc_ptr + corner * W + state, mask=inside, other=0.0).to(gl.float32)
    if lengths_ptr is not None:
        lengths = gl.load(lengths_ptr + corner + local, mask=here, other=0).to(gl.int32)
    if reset_ptr is not None:
        reset_ptr += second.to(gl.int64) * B * T
        past = (local * T).to(gl.uint32)
    if AHEAD:
        v_i, v_f, v_g, v_o = four(saved_ptr + first * (4 * W), H, wide, inside)
        before = gl.load(before_ptr + first * W + narrow, mask=inside, other=0.0)
        dy = gl.load(dy_ptr + first * W + narrow, mask=inside, other=0.0)
    for pair in range(0, T, 2):
        for half in gl.static_range(2):
            step = pair + half
            alive = step < T
            now = first + stride * gl.minimum(step, T - 1)
            later = first + stride * gl.minimum(step + 1, T - 1)
            stage = even if half == 0 else odd
            if not AHEAD:
                v_i, v_f, v_g, v_o = four(saved_ptr + now * (4 * W), H, wide, inside)
                before = gl.load(before_ptr + now * W + narrow, mask=inside, other=0.0)
                dy = gl.load(dy_ptr + now * W + narrow, mask=inside, other=0.0)
            i = v_i.to(gl.float32)
            f = v_f.to(gl.float32)
            g = v_g.to(gl.float32)
            o = v_o.to(gl.float32)
            dout = dh + dy.to(gl.float32)
            squashed = tanh(f * before + i * g, TYPE)
            dcell = dc + dout * o * (1.0 - squashed * squashed)
            real = alive
            if lengths_ptr is not None:
                real = (alive & (start + stride * step < lengths))[:, None]
            d_i = gl.where(real, dcell * g * i * (1.0 - i), 0.0).to(TYPE)
            d_f = gl.where(real, dcell * before * f * (1.0 - f), 0.0).to(TYPE)
            d_g = gl.where(real, dcell * i * (1.0 - g * g), 0.0).to(TYPE)
            d_o = gl.where(real, dout * squashed * o * (1.0 - o), 0.0).to(TYPE)
            dc = gl.where(real, dcell * f, dc)
            stage.slice(0, BLOCK_D, 1).store(d_i)
            stage.slice(BLOCK_D, BLOCK_D, 1).store(d_f)
            stage.slice(2 * BLOCK_D, BLOCK_D, 1).store(d_g)
            stage.slice(3 * BLOCK_D, BLOCK_D, 1).store(d_o)
            at = dgates_ptr + now * (4 * W)
            gl.store(at + wide, d_i, mask=inside & alive)
            gl.store(at + H + wide, d_f, mask=inside & alive)
            gl.store(at + 2 * H + wide, d_g, mask=inside & alive)
            gl.store(at + 3 * H + wide, d_o, mask=inside & alive)
            if AHEAD:
                v_i, v_f, v_g, v_o = four(saved_ptr + later * (4 * W), H, wide, inside)
                before = gl.load(before_ptr + later * W + narrow, mask=inside, other=0.0)
                dy = gl.load(dy_ptr + later * W + narrow, mask=inside, other=0.0)
            if reset_ptr is not None:
                goes_on = kept(reset_ptr + now, past, here & alive)
            # two sums, so that no product waits for all others
            none = gl.zeros([16, BLOCK_D], gl.float32, SUM)
            one = mma_v2(stage.slice(0, BLOCK_D, 1).load(LEFT), u_i, none)
            two = mma_v2(stage.slice(BLOCK_D, BLOCK_D, 1).load(LEFT), u_f, none)
            one = mma_v2(stage.slice(2 * BLOCK_D, BLOCK_D, 1).load(LEFT), u_g, one)
            two = mma_v2(stage.slice(3 * BLOCK_D, BLOCK_D, 1).load(LEFT), u_o, two)
            dh = gl.where(real, one + two, dh)
            if reset_ptr is not None:
                dh = cleared(dh, goes_on)
                dc = cleared(dc, goes_on)
    gl.store(dh0_ptr + corner * W + state, dh.to(TYPE), mask=inside)
    gl.store(dc0_ptr + corner * W + state, dc.to(TYPE), mask=inside)


def forward(
    gates_BTG: Tensor, weight_GD: Tensor, h0_BH: Tensor, c0_BH: Tensor, walk: Walk, save: bool
) -> tuple[Tensor, ...]:
    """Returns y_BTH, h_BH, c_BH and, to ``save`` them, the gates' values and c_{t-1} (float32)."""
    launch = Launch(gates_BTG, weight_GD, 4, walk)
    shape = launch.batch, launch.steps, h0_BH.shape[1]
    y_BTH, h_BH, c_BH = gates_BTG.new_empty(shape), empty_as(h0_BH), empty_as(c0_BH)
    saved_BTG = empty_as(gates_BTG) if save else gates_BTG.new_empty(0)
    before_BTH = gates_BTG.new_empty(shape if save else (0,), dtype=torch.float32)
    launch(
        forward_kernel,
        (gates_BTG, weight_GD, h0_BH, c0_BH),
        (y_BTH, h_BH, c_BH, *((saved_BTG, before_BTH) if save else (None, None))),
    )
    return y_BTH, h_BH, c_BH, saved_BTG, before_BTH


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    dc_BH: Tensor,
    saved_BTG: Tensor,
    before_BTH: Tensor,
    hidden_BTH: None,
    weight_GD: Tensor,
    walk: Walk,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, h0 and c0."""
    dgates_BTG, dh0_BH, dc0_BH = empty_as(saved_BTG), empty_as(dh_BH), empty_as(dc_BH)
    Launch(saved_BTG, weight_GD, 4, walk)(
        backward_kernel,
        (dy_BTH, dh_BH, dc_BH, saved_BTG, before_BTH, weight_GD),
        (dgates_BTG, dh0_BH, dc0_BH),
    )
    return dgates_BTG, dh0_BH, dc0_BH
