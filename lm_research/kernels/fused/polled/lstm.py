"""The LSTM scan over several processors, its states polled; ``fused.lstm`` says what lies where.

Shapes: B batch, T time, H hidden size of a direction, D head size, R directions.
"""

import torch
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
    contract,
    four_added,
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
    c0_ptr,
    lengths_ptr,
    reset_ptr,
    y_ptr,
    h_ptr,
    c_ptr,
    saved_ptr,
    before_ptr,
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
    wide = (local * (T * R * 4 * H) + second * (3 * H) + unit).to(gl.uint32)
    exchange_ptr, slot = shared_with(exchange_ptr, B, H, D, R, group, PART, ROWS)
    words_ptr = exchange_ptr + word_of(own, local, ROWS, BITS)

    u_ptr = weight_ptr + (second * (3 * H) + head * D) * D
    u = resident(u_ptr, H * D, D, 0, 4, False, STEPS)
    even = stage(ROWS, 4)
    odd = stage(ROWS, 4)
    h = gl.load(h0_ptr + state, mask=inside, other=0.0).to(gl.float32)
    c = gl.load(c0_ptr + state, mask=inside, other=0.0).to(gl.float32)
    a = read(gates_ptr + first * (4 * R * H), H, wide, inside, 4)
    if lengths_ptr is not None:
        lengths = gl.load(lengths_ptr + tile * ROWS + local, mask=here, other=0).to(gl.int32)
    if reset_ptr is not None:
        reset_ptr += second.to(gl.int64) * B * T
        goes_on = kept(reset_ptr, first + local * T, here)
        h = cleared(h, goes_on)
        c = cleared(c, goes_on)
    post(words_ptr + slot_of(-1) * slot, h)
    for pair in range(0, T, 2):
        for half in gl.static_range(2):
            step = pair + half
            alive = step < T
            now = first + stride * step
            later = first + stride * gl.minimum(step + 1, T - 1)
            staged = even if half == 0 else odd
            if reset_ptr is not None:
                goes_on = kept(reset_ptr, later + local * T, here) | (step + 1 >= T)
            given = poll(exchange_ptr + slot_of(step - 1) * slot, failed_ptr, 1, STEPS, TILES)
            multiply(u, given, staged, TILES, X3)
            u_i, u_f, u_g, u_o = four_added(staged)
            i = sigmoid(a[0].to(gl.float32) + u_i)
            f = sigmoid(a[1].to(gl.float32) + u_f)
            g = tanh(a[2].to(gl.float32) + u_g, TYPE)
            o = sigmoid(a[3].to(gl.float32) + u_o)
            before = c
            new_c = f * c + i * g
            new_h = o * tanh(new_c, TYPE)
            y = new_h
            real = alive
            if lengths_ptr is not None:
                real = alive & (start + stride * step < lengths)
                y = cleared(new_h, real)
            h = gl.where(real, new_h, h)
            c = gl.where(real, new_c, c)
            if reset_ptr is not None:
                h = cleared(h, goes_on)
                c = cleared(c, goes_on)
            post(words_ptr + slot_of(step) * slot, h)
            # What nobody waits for is done while others post.
            a = read(gates_ptr + later * (4 * R * H), H, wide, inside, 4)
            withdraw(words_ptr + slot_of(step - 2) * slot)
            write(y_ptr + now * (R * H), H, narrow, inside & alive, (y,))
            if saved_ptr is not None:
                write(saved_ptr + now * (4 * R * H), H, wide, inside & alive, (i, f, g, o))
            if before_ptr is not None:
                write(before_ptr + now * (R * H), H, narrow, inside & alive, (before,))
        if pair % FENCE == 0:
            fence(pair)
    write(h_ptr, H, state, inside, (h,))
    write(c_ptr, H, state, inside, (c,))


@gluon.jit(do_not_specialize=NUMBERS)
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
    wide = (local * (T * R * 4 * H) + second * (3 * H) + unit).to(gl.uint32)
    exchange_ptr, slot = shared_with(exchange_ptr, B, H, D, R, group, 4 * PART, ROWS)
    words_ptr = exchange_ptr + word_of(own, local, ROWS, BITS)

    u_ptr = weight_ptr + (second * (3 * H) + head * D) * D
    u = resident(u_ptr, H * D, D, 0, 4, True, STEPS)
    even = stage(ROWS, 1)
    odd = stage(ROWS, 1)
    dh = gl.load(dh_ptr + state, mask=inside, other=0.0).to(gl.float32)
    dc = gl.load(dc_ptr + state, mask=inside, other=0.0).to(gl.float32)
    v = read(saved_ptr + first * (4 * R * H), H, wide, inside, 4)
    before = gl.load(before_ptr + first * (R * H) + narrow, mask=inside, other=0.0)
    dy = gl.load(dy_ptr + first * (R * H) + narrow, mask=inside, other=0.0)
    if lengths_ptr is not None:
        lengths = gl.load(lengths_ptr + tile * ROWS + local, mask=here, other=0).to(gl.int32)
    if reset_ptr is not None:
        reset_ptr += second.to(gl.int64) * B * T
    for k in gl.static_range(4):
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
            i = v[0].to(gl.float32)
            f = v[1].to(gl.float32)
            g = v[2].to(gl.float32)
            o = v[3].to(gl.float32)
            squashed = tanh(f * before + i * g, TYPE)
            given = poll(exchange_ptr + slot_of(step - 1) * slot, failed_ptr, 4, STEPS, TILES)
            contract(u, given, staged, TILES, X3)
            dh += added(staged)
            dout = dh + dy.to(gl.float32)
            dcell = dc + dout * o * (1.0 - squashed * squashed)
            d_i = dcell * g * i * (1.0 - i)
            d_f = dcell * before * f * (1.0 - f)
            d_g = dcell * i * (1.0 - g * g)
            d_o = dout * squashed * o * (1.0 - o)
            real = alive
            if lengths_ptr is not None:
                real = alive & (start + stride * step < lengths)
            d_i = cleared(d_i, real)
            d_f = cleared(d_f, real)
            d_g = cleared(d_g, real)
            d_o = cleared(d_o, real)
            dh = cleared(dh, real == 0)
            dc = gl.where(real, dcell * f, dc)
            shares = (d_i, d_f, d_g, d_o)
            if reset_ptr is not None:
                dh = cleared(dh, goes_on)
                dc = cleared(dc, goes_on)
            for k in gl.static_range(4):
                share = shares[k] if reset_ptr is None else cleared(shares[k], goes_on)
                post(words_ptr + slot_of(step) * slot + k * PART, share)
            # What nobody waits for is done while others post.
            v = read(saved_ptr + later * (4 * R * H), H, wide, inside, 4)
            before = gl.load(before_ptr + later * (R * H) + narrow, mask=inside, other=0.0)
            dy = gl.load(dy_ptr + later * (R * H) + narrow, mask=inside, other=0.0)
            for k in gl.static_range(4):
                withdraw(words_ptr + slot_of(step - 2) * slot + k * PART)
            write(dgates_ptr + now * (4 * R * H), H, wide, inside & alive, shares)
        if pair % FENCE == 0:
            fence(pair)
    write(dh0_ptr, H, state, inside, (dh,))
    write(dc0_ptr, H, state, inside, (dc,))


def forward(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    c0_BH: Tensor,
    walk: Walk,
    save: bool,
    plan: Plan | None = None,
) -> tuple[Tensor, ...]:
    """Returns y_BTH, h_BH, c_BH and, to ``save`` them, the gates' values and c_{t-1} (float32)."""
    launch = Launch("lstm", "forward", gates_BTG, weight_GD, walk, plan)
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
    plan: Plan | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, h0 and c0."""
    dgates_BTG, dh0_BH, dc0_BH = empty_as(saved_BTG), empty_as(dh_BH), empty_as(dc_BH)
    Launch("lstm", "backward", dy_BTH, weight_GD, walk, plan)(
        backward_kernel,
        (dy_BTH, dh_BH, dc_BH, saved_BTG, before_BTH, weight_GD),
        (dgates_BTG, dh0_BH, dc0_BH),
    )
    return dgates_BTG, dh0_BH, dc0_BH
