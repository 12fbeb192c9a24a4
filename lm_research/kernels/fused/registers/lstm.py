"""The LSTM scan with U in registers; see the package for how, and fused/lstm.py for what.

Shapes: B batch, T time, H hidden size, D head size (H if there is one head).
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2

from lm_research.kernels.fused.registers.tile import (
    accumulator,
    matrix,
    offsets,
    operand,
    order,
    place,
    sigmoid,
    staging,
    tanh,
)


@gluon.jit(do_not_specialize=["B", "T"])
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
    HAS_LENGTHS: gl.constexpr,
    HAS_RESET: gl.constexpr,
    REVERSE: gl.constexpr,
    DIRECTIONS: gl.constexpr,
    SAVE: gl.constexpr,
    BLOCK_D: gl.constexpr,
):
    """All steps of a batch tile, head and direction, two in a round of the loop."""
    TYPE: gl.constexpr = weight_ptr.dtype.element_ty
    SUM: gl.constexpr = accumulator(gl.num_warps())
    LEFT: gl.constexpr = operand(0, SUM, TYPE)
    RIGHT: gl.constexpr = operand(1, SUM, TYPE)
    local, here, columns, inside, direction, unit = place(B, T, H, D, DIRECTIONS, BLOCK_D, SUM)
    start, stride = order(T, direction, REVERSE, DIRECTIONS)
    W = DIRECTIONS * H
    lane = direction * H + unit
    corner = gl.program_id(0).to(gl.int64) * 16
    first = corner * T
    state = offsets(local, lane + columns, W)
    narrow = offsets(local, lane + columns, T * W)
    wide = offsets(local, 4 * direction * H + unit + columns, T * 4 * W)
    masks_ptr = reset_ptr + direction.to(gl.int64) * B * T if DIRECTIONS == 2 else reset_ptr

    head_ptr = weight_ptr + (4 * direction * H + unit) * D
    u_i = matrix(head_ptr, D, True, BLOCK_D, RIGHT)
    u_f = matrix(head_ptr + H * D, D, True, BLOCK_D, RIGHT)
    u_g = matrix(head_ptr + 2 * H * D, D, True, BLOCK_D, RIGHT)
    u_o = matrix(head_ptr + 3 * H * D, D, True, BLOCK_D, RIGHT)
    even = gl.allocate_shared_memory(TYPE, [16, BLOCK_D], staging(BLOCK_D, TYPE))
    odd = gl.allocate_shared_memory(TYPE, [16, BLOCK_D], staging(BLOCK_D, TYPE))

    h = gl.load(h0_ptr + corner * W + state, mask=inside, other=0.0)
    c = gl.load(c0_ptr + corner * W + state, mask=inside, other=0.0).to(gl.float32)
    now = first + start
    at = gates_ptr + now * (4 * W)
    a_i = gl.load(at + wide, mask=inside, other=0.0)
    a_f = gl.load(at + H + wide, mask=inside, other=0.0)
    a_g = gl.load(at + 2 * H + wide, mask=inside, other=0.0)
    a_o = gl.load(at + 3 * H + wide, mask=inside, other=0.0)
    if HAS_LENGTHS:
        lengths = gl.load(lengths_ptr + corner + local, mask=here, other=0).to(gl.int32)
    if HAS_RESET:
        past = (local * T).to(gl.uint32)
        kept = (gl.load(masks_ptr + now + past, mask=here, other=0) == 0)[:, None]
        h = gl.where(kept, h, gl.full_like(h, 0.0))
        c = gl.where(kept, c, 0.0)
    for pair in range(0, T, 2):
        for half in gl.static_range(2):
            step = pair + half
            t = start + stride * step
            now = first + t
            alive = step < T
            stage = even if half == 0 else odd
            stage.store(h)
            s_i = a_i.to(gl.float32)
            s_f = a_f.to(gl.float32)
            s_g = a_g.to(gl.float32)
            s_o = a_o.to(gl.float32)
            later = first + start + stride * gl.minimum(step + 1, T - 1)
            at = gates_ptr + later * (4 * W)
            a_i = gl.load(at + wide, mask=inside, other=0.0)
            a_f = gl.load(at + H + wide, mask=inside, other=0.0)
            a_g = gl.load(at + 2 * H + wide, mask=inside, other=0.0)
            a_o = gl.load(at + 3 * H + wide, mask=inside, other=0.0)
            if HAS_RESET:
                reset = gl.load(masks_ptr + later + past, mask=here, other=0)
            left = stage.load(LEFT)
            i = sigmoid(mma_v2(left, u_i, s_i))
            f = sigmoid(mma_v2(left, u_f, s_f))
            g = tanh(mma_v2(left, u_g, s_g))
            o = sigmoid(mma_v2(left, u_o, s_o))
            new_c = f * c + i * g
            new_h = o * tanh(new_c)
            if SAVE:
                at = saved_ptr + now * (4 * W)
                gl.store(at + wide, i.to(TYPE), mask=inside & alive)
                gl.store(at + H + wide, f.to(TYPE), mask=inside & alive)
                gl.store(at + 2 * H + wide, g.to(TYPE), mask=inside & alive)
                gl.store(at + 3 * H + wide, o.to(TYPE), mask=inside & alive)
                gl.store(before_ptr + now * W + narrow, c, mask=inside & alive)
            real = alive
            y = new_h.to(TYPE)
            if HAS_LENGTHS:
                real = ((t < lengths) & alive)[:, None]
                y = gl.where(real, y, gl.full_like(y, 0.0))
            gl.store(y_ptr + now * W + narrow, y, mask=inside & alive)
            h = gl.where(real, new_h.to(TYPE), stage.load(SUM))
            c = gl.where(real, new_c, c)
            if HAS_RESET:
                kept = ((reset == 0) | (step >= T - 1))[:, None]
                h = gl.where(kept, h, gl.full_like(h, 0.0))
                c = gl.where(kept, c, 0.0)
    gl.store(h_ptr + corner * W + state, h, mask=inside)
    gl.store(c_ptr + corner * W + state, c.to(TYPE), mask=inside)


@gluon.jit(do_not_specialize=["B", "T"])
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
    HAS_LENGTHS: gl.constexpr,
    HAS_RESET: gl.constexpr,
    REVERSE: gl.constexpr,
    DIRECTIONS: gl.constexpr,
    BLOCK_D: gl.constexpr,
):
    """All steps against the forward scan's order; writes gradients before the gates' f."""
    TYPE: gl.constexpr = weight_ptr.dtype.element_ty
    SUM: gl.constexpr = accumulator(gl.num_warps())
    LEFT: gl.constexpr = operand(0, SUM, TYPE)
    RIGHT: gl.constexpr = operand(1, SUM, TYPE)
    local, here, columns, inside, direction, unit = place(B, T, H, D, DIRECTIONS, BLOCK_D, SUM)
    begin, onward = order(T, direction, REVERSE, DIRECTIONS)
    start = begin + onward * (T - 1)
    stride = 0 - onward
    W = DIRECTIONS * H
    lane = direction * H + unit
    corner = gl.program_id(0).to(gl.int64) * 16
    first = corner * T
    state = offsets(local, lane + columns, W)
    narrow = offsets(local, lane + columns, T * W)
    wide = offsets(local, 4 * direction * H + unit + columns, T * 4 * W)
    masks_ptr = reset_ptr + direction.to(gl.int64) * B * T if DIRECTIONS == 2 else reset_ptr

    head_ptr = weight_ptr + (4 * direction * H + unit) * D
    u_i = matrix(head_ptr, D, False, BLOCK_D, RIGHT)
    u_f = matrix(head_ptr + H * D, D, False, BLOCK_D, RIGHT)
    u_g = matrix(head_ptr + 2 * H * D, D, False, BLOCK_D, RIGHT)
    u_o = matrix(head_ptr + 3 * H * D, D, False, BLOCK_D, RIGHT)
    even = gl.allocate_shared_memory(TYPE, [16, 4 * BLOCK_D], staging(4 * BLOCK_D, TYPE))
    odd = gl.allocate_shared_memory(TYPE, [16, 4 * BLOCK_D], staging(4 * BLOCK_D, TYPE))

    dh = gl.load(dh_ptr + corner * W + state, mask=inside, other=0.0).to(gl.float32)
    dc = gl.load(dc_ptr + corner * W + state, mask=inside, other=0.0).to(gl.float32)
    if HAS_LENGTHS:
        lengths = gl.load(lengths_ptr + corner + local, mask=here, other=0).to(gl.int32)
    if HAS_RESET:
        past = (local * T).to(gl.uint32)
    now = first + start
    at = saved_ptr + now * (4 * W)
    next_i = gl.load(at + wide, mask=inside, other=0.0)
    next_f = gl.load(at + H + wide, mask=inside, other=0.0)
    next_g = gl.load(at + 2 * H + wide, mask=inside, other=0.0)
    next_o = gl.load(at + 3 * H + wide, mask=inside, other=0.0)
    next_before = gl.load(before_ptr + now * W + narrow, mask=inside, other=0.0)
    next_dy = gl.load(dy_ptr + now * W + narrow, mask=inside, other=0.0)
    for pair in range(0, T, 2):
        for half in gl.static_range(2):
            step = pair + half
            t = start + stride * step
            now = first + t
            alive = step < T
            stage = even if half == 0 else odd
            i = next_i.to(gl.float32)
            f = next_f.to(gl.float32)
            g = next_g.to(gl.float32)
            o = next_o.to(gl.float32)
            before = next_before
            dout = dh + next_dy.to(gl.float32)
            squashed = tanh(f * before + i * g)
            dcell = dc + dout * o * (1.0 - squashed * squashed)
            real = alive
            if HAS_LENGTHS:
                real = ((t < lengths) & alive)[:, None]
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
            later = first + start + stride * gl.minimum(step + 1, T - 1)
            at = saved_ptr + later * (4 * W)
            next_i = gl.load(at + wide, mask=inside, other=0.0)
            next_f = gl.load(at + H + wide, mask=inside, other=0.0)
            next_g = gl.load(at + 2 * H + wide, mask=inside, other=0.0)
            next_o = gl.load(at + 3 * H + wide, mask=inside, other=0.0)
            next_before = gl.load(before_ptr + later * W + narrow, mask=inside, other=0.0)
            next_dy = gl.load(dy_ptr + later * W + narrow, mask=inside, other=0.0)
            if HAS_RESET:
                reset = gl.load(masks_ptr + now + past, mask=here & alive, other=0)
            none = gl.zeros([16, BLOCK_D], gl.float32, SUM)
            one = mma_v2(stage.slice(0, BLOCK_D, 1).load(LEFT), u_i, none)
            two = mma_v2(stage.slice(BLOCK_D, BLOCK_D, 1).load(LEFT), u_f, none)
            one = mma_v2(stage.slice(2 * BLOCK_D, BLOCK_D, 1).load(LEFT), u_g, one)
            two = mma_v2(stage.slice(3 * BLOCK_D, BLOCK_D, 1).load(LEFT), u_o, two)
            dh = gl.where(real, one + two, dh)
            if HAS_RESET:
                kept = (reset == 0)[:, None]
                dh = gl.where(kept, dh, 0.0)
                dc = gl.where(kept, dc, 0.0)
    gl.store(dh0_ptr + corner * W + state, dh.to(TYPE), mask=inside)
    gl.store(dc0_ptr + corner * W + state, dc.to(TYPE), mask=inside)
