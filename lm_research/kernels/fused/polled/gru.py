"""The GRU scan over several processors, its states polled; ``fused.gru`` says what lies where.

Shapes: B batch, T time, H hidden size of a direction, D head size, R directions.
"""

from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from lm_research.kernels.fused.polled.exchange import (
    FENCE,
    UNITS,
    fence,
    poll,
    post,
    slot_of,
    withdraw,
)
from lm_research.kernels.fused.polled.launch import Launch
from lm_research.kernels.fused.polled.part import (
    NUMBERS,
    course,
    kept,
    part_of,
    read,
    shared_with,
    word_of,
    write,
)
from lm_research.kernels.fused.polled.plan import Plan
from lm_research.kernels.fused.polled.products import (
    added,
    both_added,
    contract,
    multiply,
    resident,
    stage,
)
from lm_research.kernels.fused.registers.tile import cleared, sigmoid, tanh
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@gluon.jit(do_not_specialize=NUMBERS)
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
    exchange_ptr,
    failed_ptr,
    B,
    T,
    H,
    D,
    R,
    group,
    reverse,
    X3: gl.constexpr,
    ROWS: gl.constexpr,
    STEPS: gl.constexpr,
):
    """All steps of one slice of units of one group, two in a round of the loop."""
    TILES: gl.constexpr = ROWS // 8
    TYPE: gl.constexpr = weight_ptr.dtype.element_ty
    BITS: gl.constexpr = TYPE.primitive_bitwidth
    PART: gl.constexpr = gl.num_warps() * STEPS * UNITS * ROWS
    tile, head, second, own, local = part_of(B, H, D, R, group, ROWS)
    start, stride = course(T, second, reverse, 0)
    first = tile.to(gl.int64) * ROWS * T + start
    here = tile * ROWS + local < B
    inside = here & (own < D)
    unit = head * D + own
    state = (tile * ROWS + local) * (R * H) + unit
    narrow = (local * (T * R * H) + unit).to(gl.uint32)
    wide = (local * (T * R * 3 * H) + second * (2 * H) + unit).to(gl.uint32)
    saved_wide = (local * (T * R * 4 * H) + second * (3 * H) + unit).to(gl.uint32)
    exchange_ptr, slot = shared_with(exchange_ptr, B, H, D, R, group, PART, ROWS)
    words_ptr = exchange_ptr + word_of(own, local, ROWS, BITS)

    u_ptr = weight_ptr + (second * (2 * H) + head * D) * D
    u_rz = resident(u_ptr, H * D, D, 0, 2, False, STEPS)
    u_n = resident(u_ptr, H * D, D, 2, 3, False, STEPS)
    even_rz = stage(ROWS, 2)
    odd_rz = stage(ROWS, 2)
    even_n = stage(ROWS, 1)
    odd_n = stage(ROWS, 1)
    bias = gl.load(bias_ptr + unit, mask=own < D, other=0.0).to(gl.float32)
    h = gl.load(h0_ptr + state, mask=inside, other=0.0).to(gl.float32)
    a = read(gates_ptr + first * (3 * R * H), H, wide, inside, 3)
    if lengths_ptr is not None:
        lengths = gl.load(lengths_ptr + tile * ROWS + local, mask=here, other=0).to(gl.int32)
    if reset_ptr is not None:
        reset_ptr += second.to(gl.int64) * B * T
        h = cleared(h, kept(reset_ptr, first + local * T, here))
    post(words_ptr + slot_of(-1) * slot, h)
    for pair in range(0, T, 2):
        for half in gl.static_range(2):
            step = pair + half
            alive = step < T
            now = first + stride * step
            later = first + stride * gl.minimum(step + 1, T - 1)
            staged_rz = even_rz if half == 0 else odd_rz
            staged_n = even_n if half == 0 else odd_n
            if reset_ptr is not None:
                goes_on = kept(reset_ptr, later + local * T, here) | (step + 1 >= T)
            given = poll(exchange_ptr + slot_of(step - 1) * slot, failed_ptr, 1, STEPS, TILES)
            multiply(u_rz, given, staged_rz, TILES, X3)
            multiply(u_n, given, staged_n, TILES, X3)
            u_r, u_z = both_added(staged_rz)
            r = sigmoid(a[0].to(gl.float32) + u_r)
            z = sigmoid(a[1].to(gl.float32) + u_z)
            inner = added(staged_n) + bias
            n = tanh(a[2].to(gl.float32) + r * inner, TYPE)
            new_h = n + z * (h - n)
            y = new_h
            real = alive
            if lengths_ptr is not None:
                real = alive & (start + stride * step < lengths)
                y = cleared(new_h, real)
            h = gl.where(real, new_h, h)
            if reset_ptr is not None:
                h = cleared(h, goes_on)
            post(words_ptr + slot_of(step) * slot, h)
            # What nobody waits for is done while others post.
            a = read(gates_ptr + later * (3 * R * H), H, wide, inside, 3)
            withdraw(words_ptr + slot_of(step - 2) * slot)
            write(y_ptr + now * (R * H), H, narrow, inside & alive, (y,))
            if saved_ptr is not None:
                at = saved_ptr + now * (4 * R * H)
                write(at, H, saved_wide, inside & alive, (r, z, n, inner))
        if pair % FENCE == 0:
            fence(pair)
    write(h_ptr, H, state, inside, (h,))


@gluon.jit(do_not_specialize=NUMBERS)
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
    exchange_ptr,
    failed_ptr,
    B,
    T,
    H,
    D,
    R,
    group,
    reverse,
    X3: gl.constexpr,
    ROWS: gl.constexpr,
    STEPS: gl.constexpr,
):
    """All steps against the forward scan's order, of one slice of units of one group."""
    TILES: gl.constexpr = ROWS // 8
    TYPE: gl.constexpr = weight_ptr.dtype.element_ty
    BITS: gl.constexpr = TYPE.primitive_bitwidth
    PART: gl.constexpr = gl.num_warps() * STEPS * UNITS * ROWS
    tile, head, second, own, local = part_of(B, H, D, R, group, ROWS)
    start, stride = course(T, second, reverse, 1)
    first = tile.to(gl.int64) * ROWS * T + start
    here = tile * ROWS + local < B
    inside = here & (own < D)
    unit = head * D + own
    state = (tile * ROWS + local) * (R * H) + unit
    narrow = (local * (T * R * H) + unit).to(gl.uint32)
    wide = (local * (T * R * 3 * H) + second * (2 * H) + unit).to(gl.uint32)
    saved_wide = (local * (T * R * 4 * H) + second * (3 * H) + unit).to(gl.uint32)
    exchange_ptr, slot = shared_with(exchange_ptr, B, H, D, R, group, 3 * PART, ROWS)
    words_ptr = exchange_ptr + word_of(own, local, ROWS, BITS)

    u_ptr = weight_ptr + (second * (2 * H) + head * D) * D
    u = resident(u_ptr, H * D, D, 0, 3, True, STEPS)
    even = stage(ROWS, 1)
    odd = stage(ROWS, 1)
    dh = gl.load(dh_ptr + state, mask=inside, other=0.0).to(gl.float32)
    v = read(saved_ptr + first * (4 * R * H), H, saved_wide, inside, 4)
    before = gl.load(before_ptr + first * (R * H) + narrow, mask=inside, other=0.0)
    dy = gl.load(dy_ptr + first * (R * H) + narrow, mask=inside, other=0.0)
    if lengths_ptr is not None:
        lengths = gl.load(lengths_ptr + tile * ROWS + local, mask=here, other=0).to(gl.int32)
    if reset_ptr is not None:
        reset_ptr += second.to(gl.int64) * B * T
    for k in gl.static_range(3):
        post(words_ptr + slot_of(-1) * slot + k * PART, gl.full_like(dh, 0.0))
    for pair in range(0, T + 1, 2):  # a step more: the product that the last one has left undone
        for half in gl.static_range(2):
            step = pair + half
            alive = step < T
            now = first + stride * gl.minimum(step, T - 1)
            later = first + stride * gl.minimum(step + 1, T - 1)
            staged = even if half == 0 else odd
            if reset_ptr is not None:
                goes_on = kept(reset_ptr, now + local * T, here) | (step >= T)
            r = v[0].to(gl.float32)
            z = v[1].to(gl.float32)
            n = v[2].to(gl.float32)
            through_n = (1.0 - z) * (1.0 - n * n)
            through_z = (before.to(gl.float32) - n) * z * (1.0 - z)
            through_r = v[3].to(gl.float32) * r * (1.0 - r)
            given = poll(exchange_ptr + slot_of(step - 1) * slot, failed_ptr, 3, STEPS, TILES)
            contract(u, given, staged, TILES, X3)
            dh += added(staged)
            dout = dh + dy.to(gl.float32)
            real = alive
            if lengths_ptr is not None:
                real = alive & (start + stride * step < lengths)
            d_n = cleared(dout * through_n, real)
            d_z = cleared(dout * through_z, real)
            d_r = d_n * through_r
            d_inner = d_n * r
            dh = gl.where(real, dout * z, dh)
            if reset_ptr is not None:
                dh = cleared(dh, goes_on)
            shares = (d_r, d_z, d_inner)
            for k in gl.static_range(3):
                share = shares[k] if reset_ptr is None else cleared(shares[k], goes_on)
                post(words_ptr + slot_of(step) * slot + k * PART, share)
            # What nobody waits for is done while others post.
            v = read(saved_ptr + later * (4 * R * H), H, saved_wide, inside, 4)
            before = gl.load(before_ptr + later * (R * H) + narrow, mask=inside, other=0.0)
            dy = gl.load(dy_ptr + later * (R * H) + narrow, mask=inside, other=0.0)
            for k in gl.static_range(3):
                withdraw(words_ptr + slot_of(step - 2) * slot + k * PART)
            write(dgates_ptr + now * (3 * R * H), H, wide, inside & alive, (d_r, d_z, d_n))
            write(dinner_ptr + now * (R * H), H, narrow, inside & alive, (d_inner,))
        if pair % FENCE == 0:
            fence(pair)
    write(dh0_ptr, H, state, inside, (dh,))


def forward(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
    save: bool,
    plan: Plan | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and, to ``save`` them, r, z, n, U h + b' of every step.

    These lie as gates do: (B, T, R x 4 H).
    """
    launch = Launch("gru", "forward", gates_BTG, weight_GD, walk, plan)
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
    plan: Plan | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, of n's inner product U h + b', and of h0."""
    batch, steps, hidden = before_BTH.shape
    dgates_BTG = before_BTH.new_empty(batch, steps, 3 * hidden)
    dinner_BTH, dh0_BH = empty_as(before_BTH), empty_as(dh_BH)
    Launch("gru", "backward", dy_BTH, weight_GD, walk, plan)(
        backward_kernel,
        (dy_BTH, dh_BH, saved_BT4, before_BTH, weight_GD),
        (dgates_BTG, dinner_BTH, dh0_BH),
    )
    return dgates_BTG, dinner_BTH, dh0_BH
