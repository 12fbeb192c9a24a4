"""The GRU scan with U in registers; ``fused.gru`` says what lies where.

Shapes: B batch, T time, H hidden size, D head size (H if there is one head).
"""

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


@gluon.jit
def three(at, H, wide, inside):
    """A tile of each of three gates."""
    a = gl.load(at + wide, mask=inside, other=0.0)
    b = gl.load(at + H + wide, mask=inside, other=0.0)
    c = gl.load(at + 2 * H + wide, mask=inside, other=0.0)
    return a, b, c


@gluon.jit(do_not_specialize=["B", "T", "reverse"])
def forward_kernel(
    gates_ptr,
    weight_ptr,
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
    wide = offsets(local, unit + second * (2 * H) + columns, T * 3 * W)
    saved_wide = offsets(local, unit + second * (3 * H) + columns, T * 4 * W)

    head_ptr = weight_ptr + (unit + second * (2 * H)) * D
    u_r = matrix(head_ptr, D, True, BLOCK_D, RIGHT)
    u_z = matrix(head_ptr + H * D, D, True, BLOCK_D, RIGHT)
    u_n = matrix(head_ptr + 2 * H * D, D, True, BLOCK_D, RIGHT)
    bias = gl.load(bias_ptr + unit + columns, mask=columns < D, other=0.0).to(gl.float32)
    even = gl.allocate_shared_memory(TYPE, [16, BLOCK_D], staging(16, BLOCK_D, TYPE))
    odd = gl.allocate_shared_memory(TYPE, [16, BLOCK_D], staging(16, BLOCK_D, TYPE))

    h = gl.load(h0_ptr + corner * W + state, mask=inside, other=0.0).to(gl.float32)
    a_r, a_z, a_n = three(gates_ptr + first * (3 * W), H, wide, inside)
    if lengths_ptr is not None:
        lengths = gl.load(lengths_ptr + corner + local, mask=here, other=0).to(gl.int32)
    if reset_ptr is not None:
        reset_ptr += second.to(gl.int64) * B * T
        past = (local * T).to(gl.uint32)
        h = cleared(h, kept(reset_ptr + first, past, here))
    for pair in range(0, T, 2):
        for half in gl.static_range(2):
            step = pair + half
            now = first + stride * step
            alive = step < T
            stage = even if half == 0 else odd
            stage.store(h.to(TYPE))
            s_r = a_r.to(gl.float32)
            s_z = a_z.to(gl.float32)
            s_n = a_n.to(gl.float32)
            later = first + stride * gl.minimum(step + 1, T - 1)
            a_r, a_z, a_n = three(gates_ptr + later * (3 * W), H, wide, inside)
            if reset_ptr is not None:
                goes_on = kept(reset_ptr + later, past, here & (step + 1 < T))
            left = stage.load(LEFT)
            r = sigmoid(mma_v2(left, u_r, s_r))
            z = sigmoid(mma_v2(left, u_z, s_z))
            none = gl.zeros([16, BLOCK_D], gl.float32, SUM)
            inner = mma_v2(left, u_n, none) + bias[None, :]
            n = tanh(s_n + r * inner, TYPE)
            new_h = n + z * (h - n)
            if saved_ptr is not None:
                at = saved_ptr + now * (4 * W)
                gl.store(at + saved_wide, r.to(TYPE), mask=inside & alive)
                gl.store(at + H + saved_wide, z.to(TYPE), mask=inside & alive)
                gl.store(at + 2 * H + saved_wide, n.to(TYPE), mask=inside & alive)
                gl.store(at + 3 * H + saved_wide, inner.to(TYPE), mask=inside & alive)
            y = new_h
            real = alive
            if lengths_ptr is not None:
                real = (alive & (start + stride * step < lengths))[:, None]
                y = cleared(new_h, real)
            gl.store(y_ptr + now * W + narrow, y.to(TYPE), mask=inside & alive)
            h = gl.where(real, new_h, h)
            if reset_ptr is not None:
                h = cleared(h, goes_on)
    write_state(h_ptr, h, even, B, D)


@gluon.jit(do_not_specialize=["B", "T", "reverse"])
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
    reverse,
    BLOCK_D: gl.constexpr,
):
    """All steps against the forward scan's order; writes gradients before the gates' f."""
    TYPE: gl.constexpr = weight_ptr.dtype.element_ty
    SUM: gl.constexpr = accumulator(gl.num_warps())
    LEFT: gl.constexpr = operand(0, SUM, TYPE)
    RIGHT: gl.constexpr = operand(1, SUM, TYPE)
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
    wide = offsets(local, unit + second * (2 * H) + columns, T * 3 * W)
    saved_wide = offsets(local, unit + second * (3 * H) + columns, T * 4 * W)

    head_ptr = weight_ptr + (unit + second * (2 * H)) * D
    u_r = matrix(head_ptr, D, False, BLOCK_D, RIGHT)
    u_z = matrix(head_ptr + H * D, D, False, BLOCK_D, RIGHT)
    u_n = matrix(head_ptr + 2 * H * D, D, False, BLOCK_D, RIGHT)
    even = gl.allocate_shared_memory(TYPE, [16, 4 * BLOCK_D], staging(16, 4 * BLOCK_D, TYPE))
    odd = gl.allocate_shared_memory(TYPE, [16, 4 * BLOCK_D], staging(16, 4 * BLOCK_D, TYPE))

    dh = gl.load(dh_ptr + corner * W + state, mask=inside, other=0.0).to(gl.float32)
    if lengths_ptr is not None:
        lengths = gl.load(lengths_ptr + corner + local, mask=here, other=0).to(gl.int32)
    if reset_ptr is not None:
        reset_ptr += second.to(gl.int64) * B * T
        past = (local * T).to(gl.uint32)
    v_r, v_z, v_n, v_inner = four(saved_ptr + first * (4 * W), H, saved_wide, inside)
    before = gl.load(before_ptr + first * W + narrow, mask=inside, other=0.0)
    dy = gl.load(dy_ptr + first * W + narrow, mask=inside, other=0.0)
    for pair in range(0, T, 2):
        for half in gl.static_range(2):
            step = pair + half
            alive = step < T
            now = first + stride * gl.minimum(step, T - 1)
            later = first + stride * gl.minimum(step + 1, T - 1)
            stage = even if half == 0 else odd
            r = v_r.to(gl.float32)
            z = v_z.to(gl.float32)
            n = v_n.to(gl.float32)
            dout = dh + dy.to(gl.float32)
            real = alive
            if lengths_ptr is not None:
                real = (alive & (start + stride * step < lengths))[:, None]
            d_n = gl.where(real, dout * (1.0 - z) * (1.0 - n * n), 0.0)
            d_z = gl.where(real, dout * (before.to(gl.float32) - n) * z * (1.0 - z), 0.0).to(TYPE)
            d_r = (d_n * v_inner.to(gl.float32) * r * (1.0 - r)).to(TYPE)
            d_inner = (d_n * r).to(TYPE)
            stage.slice(0, BLOCK_D, 1).store(d_r)
            stage.slice(BLOCK_D, BLOCK_D, 1).store(d_z)
            stage.slice(2 * BLOCK_D, BLOCK_D, 1).store(d_inner)
            at = dgates_ptr + now * (3 * W)
            gl.store(at + wide, d_r, mask=inside & alive)
            gl.store(at + H + wide, d_z, mask=inside & alive)
            gl.store(at + 2 * H + wide, d_n.to(TYPE), mask=inside & alive)
            gl.store(dinner_ptr + now * W + narrow, d_inner, mask=inside & alive)
            v_r, v_z, v_n, v_inner = four(saved_ptr + later * (4 * W), H, saved_wide, inside)
            before = gl.load(before_ptr + later * W + narrow, mask=inside, other=0.0)
            dy = gl.load(dy_ptr + later * W + narrow, mask=inside, other=0.0)
            if reset_ptr is not None:
                goes_on = kept(reset_ptr + now, past, here & alive)
            # two sums, so that no product waits for all others
            none = gl.zeros([16, BLOCK_D], gl.float32, SUM)
            one = mma_v2(stage.slice(0, BLOCK_D, 1).load(LEFT), u_r, dout * z)
            two = mma_v2(stage.slice(BLOCK_D, BLOCK_D, 1).load(LEFT), u_z, none)
            one = mma_v2(stage.slice(2 * BLOCK_D, BLOCK_D, 1).load(LEFT), u_n, one)
            dh = gl.where(real, one + two, dh)
            if reset_ptr is not None:
                dh = cleared(dh, goes_on)
    write_state(dh0_ptr, dh, even.slice(0, BLOCK_D, 1), B, D)


def forward(
    gates_BTG: Tensor, weight_GD: Tensor, h0_BH: Tensor, bias_n_H: Tensor, walk: Walk, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and, to ``save`` them, r, z, n, U h + b' of every step.

    These lie as gates do: (B, T, R x 4 H).
    """
    launch = Launch(gates_BTG, weight_GD, 3, walk)
    batch, steps, hidden = launch.batch, launch.steps, h0_BH.shape[1]
    y_BTH, h_BH = gates_BTG.new_empty(batch, steps, hidden), empty_as(h0_BH)
    saved_BT4 = gates_BTG.new_empty((batch, steps, 4 * hidden) if save else (0,))
    launch(
        forward_kernel,
        (gates_BTG, weight_GD, h0_BH, bias_n_H),
        (y_BTH, h_BH, saved_BT4 if save else None),
    )
    return y_BTH, h_BH, saved_BT4


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    saved_BT4: Tensor,
    before_BTH: Tensor,
    weight_GD: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, of n's inner product U h + b', and of h0."""
    batch, steps, hidden = before_BTH.shape
    dgates_BTG = before_BTH.new_empty(batch, steps, 3 * hidden)
    dinner_BTH, dh0_BH = empty_as(before_BTH), empty_as(dh_BH)
    Launch(dgates_BTG, weight_GD, 3, walk)(
        backward_kernel,
        (dy_BTH, dh_BH, saved_BT4, before_BTH, weight_GD),
        (dgates_BTG, dinner_BTH, dh0_BH),
    )
    return dgates_BTG, dinner_BTH, dh0_BH
