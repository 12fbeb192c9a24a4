"""The Elman scan over several processors, its states polled; ``fused.elman`` says what lies where.

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
    shared_with,
    word_of,
    write,
)
from lm_research.kernels.fused.polled.plan import Plan
from lm_research.kernels.fused.polled.products import added, contract, multiply, resident, stage
from lm_research.kernels.fused.registers.tile import cleared, tanh
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@gluon.jit(do_not_specialize=NUMBERS)
def forward_kernel(
    gates_ptr,
    weight_ptr,
    h0_ptr,
    lengths_ptr,
    reset_ptr,
    y_ptr,
    h_ptr,
    exchange_ptr,
    failed_ptr,
    B,
    T,
    H,
    D,
    R,
    group,
    reverse,
    RELU: gl.constexpr,
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
    exchange_ptr, slot = shared_with(exchange_ptr, B, H, D, R, group, PART, ROWS)
    words_ptr = exchange_ptr + word_of(own, local, ROWS, BITS)

    u = resident(weight_ptr + head * D * D, H * D, D, 0, 1, False, STEPS)
    even = stage(ROWS, 1)
    odd = stage(ROWS, 1)
    h = gl.load(h0_ptr + state, mask=inside, other=0.0).to(gl.float32)
    a = gl.load(gates_ptr + first * (R * H) + narrow, mask=inside, other=0.0)
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
            staged = even if half == 0 else odd
            if reset_ptr is not None:
                goes_on = kept(reset_ptr, later + local * T, here) | (step + 1 >= T)
            given = poll(exchange_ptr + slot_of(step - 1) * slot, failed_ptr, 1, STEPS, TILES)
            multiply(u, given, staged, TILES, X3)
            total = a.to(gl.float32) + added(staged)
            # total where total > 0 would make a zero of NaN, which has to be seen
            new_h = gl.where(total < 0.0, 0.0, total) if RELU else tanh(total, TYPE)
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
            a = gl.load(gates_ptr + later * (R * H) + narrow, mask=inside, other=0.0)
            withdraw(words_ptr + slot_of(step - 2) * slot)
            write(y_ptr + now * (R * H), H, narrow, inside & alive, (y,))
        if pair % FENCE == 0:
            fence(pair)
    write(h_ptr, H, state, inside, (h,))


@gluon.jit(do_not_specialize=NUMBERS)
def backward_kernel(
    dy_ptr,
    dh_ptr,
    value_ptr,
    weight_ptr,
    lengths_ptr,
    reset_ptr,
    dgates_ptr,
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
    RELU: gl.constexpr,
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
    exchange_ptr, slot = shared_with(exchange_ptr, B, H, D, R, group, PART, ROWS)
    words_ptr = exchange_ptr + word_of(own, local, ROWS, BITS)

    u = resident(weight_ptr + head * D * D, H * D, D, 0, 1, True, STEPS)
    even = stage(ROWS, 1)
    odd = stage(ROWS, 1)
    dh = gl.load(dh_ptr + state, mask=inside, other=0.0).to(gl.float32)
    value = gl.load(value_ptr + first * (R * H) + narrow, mask=inside, other=0.0)
    dy = gl.load(dy_ptr + first * (R * H) + narrow, mask=inside, other=0.0)
    if lengths_ptr is not None:
        lengths = gl.load(lengths_ptr + tile * ROWS + local, mask=here, other=0).to(gl.int32)
    if reset_ptr is not None:
        reset_ptr += second.to(gl.int64) * B * T
    post(words_ptr + slot_of(-1) * slot, gl.full_like(dh, 0.0))
    for pair in range(0, T + 1, 2):  # a step more: the product that the last one has left undone
        for half in gl.static_range(2):
            step = pair + half
            alive = step < T
            now = first + stride * gl.minimum(step, T - 1)
            later = first + stride * gl.minimum(step + 1, T - 1)
            staged = even if half == 0 else odd
            if reset_ptr is not None:
                goes_on = kept(reset_ptr, now + local * T, here) | (step >= T)
            f = value.to(gl.float32)
            given = poll(exchange_ptr + slot_of(step - 1) * slot, failed_ptr, 1, STEPS, TILES)
            contract(u, given, staged, TILES, X3)
            dh += added(staged)
            da = dh + dy.to(gl.float32)
            da = gl.where(f > 0.0, da, 0.0) if RELU else da * (1.0 - f * f)
            real = alive
            if lengths_ptr is not None:
                real = alive & (start + stride * step < lengths)
            da = cleared(da, real)
            dh = cleared(dh, real == 0)
            share = da
            if reset_ptr is not None:
                dh = cleared(dh, goes_on)
                share = cleared(da, goes_on)
            post(words_ptr + slot_of(step) * slot, share)
            # What nobody waits for is done while others post.
            value = gl.load(value_ptr + later * (R * H) + narrow, mask=inside, other=0.0)
            dy = gl.load(dy_ptr + later * (R * H) + narrow, mask=inside, other=0.0)
            withdraw(words_ptr + slot_of(step - 2) * slot)
            write(dgates_ptr + now * (R * H), H, narrow, inside & alive, (da,))
        if pair % FENCE == 0:
            fence(pair)
    write(dh0_ptr, H, state, inside, (dh,))


def forward(
    gates_BTH: Tensor,
    weight_HD: Tensor,
    h0_BH: Tensor,
    walk: Walk,
    save: bool,
    relu: bool,
    plan: Plan | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and nothing else to save: f's values are y."""
    y_BTH, h_BH = empty_as(gates_BTH), empty_as(h0_BH)
    Launch("rnn", "forward", gates_BTH, weight_HD, walk, plan)(
        forward_kernel, (gates_BTH, weight_HD, h0_BH), (y_BTH, h_BH), RELU=relu
    )
    return y_BTH, h_BH, gates_BTH.new_empty(0)


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    values_BTH: Tensor,
    weight_HD: Tensor,
    walk: Walk,
    relu: bool,
    plan: Plan | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the gates and of h0; ``values_BTH`` are y."""
    dgates_BTH, dh0_BH = empty_as(values_BTH), empty_as(dh_BH)
    Launch("rnn", "backward", values_BTH, weight_HD, walk, plan)(
        backward_kernel,
        (dy_BTH, dh_BH, values_BTH, weight_HD),
        (dgates_BTH, dh0_BH),
        RELU=relu,
    )
    return dgates_BTH, dh0_BH
