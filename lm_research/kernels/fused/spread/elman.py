"""The Elman scan spread over several processors, forward and backward.

h_t = f(a_t + U h_{t-1}), f being tanh or relu, as in ``fused.elman``.

Shapes: B batch, T time, H hidden size of a direction, D head size, R directions.
"""

import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.fused.arithmetic import tanh
from lm_research.kernels.fused.spread.exchange import (
    arrive,
    folded,
    gradient,
    poison,
    products,
    resident,
    wait,
)
from lm_research.kernels.fused.spread.launch import NUMBERS, Launch
from lm_research.kernels.fused.spread.plan import Plan
from lm_research.kernels.fused.tile import parted, zoned
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@triton.jit(do_not_specialize=NUMBERS)
def forward_kernel(
    gates_ptr,
    weight_ptr,
    h0_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    y_ptr,
    h_ptr,
    saved_ptr,
    carried_ptr,
    exchange_ptr,
    counters_ptr,
    failed_ptr,
    B,
    T,
    H,
    D,
    R,
    group,
    start,
    stop,
    REVERSE: tl.constexpr,
    SHARE_H: tl.constexpr,
    RELU: tl.constexpr,
    SYNC: tl.constexpr,
    BLOCK_B: tl.constexpr,
    UNITS: tl.constexpr,
    W: tl.constexpr,
    K: tl.constexpr,
    CHUNKS: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """Steps from ``start`` to ``stop`` of one slice of units of one group."""
    slices = tl.num_programs(0)
    group += tl.program_id(1)
    heads = R * H // D  # of all directions
    tile = group // heads
    head = group % heads
    direction = head * D // H
    against = (direction + REVERSE) % 2

    local = tl.arange(0, BLOCK_B)
    rows = tile * BLOCK_B + local
    here = rows < B
    own = tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    inside = here[:, None] & (own < D)[None, :]
    column = head * D
    state = rows[:, None] * (R * H) + (column + own)[None, :]
    narrow = local[:, None] * (T * R * H) + (column + own)[None, :]
    first = tile.to(tl.int64) * BLOCK_B * T
    P: tl.constexpr = W * K * CHUNKS  # units of a head in the exchange, padded
    exchanged = rows * (heads * P) + head * P
    slot = tl.cdiv(B, BLOCK_B) * BLOCK_B * heads * P

    u_ptr = weight_ptr + column * D
    u = resident(u_ptr, H * D, own, 1, D, D, 1, W, K, CHUNKS)
    if start == 0:
        h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
    else:
        h = tl.load(carried_ptr + state, mask=inside, other=0.0)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    if dropout_ptr is not None:
        dropout = tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
    counter_ptr = counters_ptr + group * 32
    alive = True
    step = start
    while step < stop:
        t = step + against * (T - 1 - 2 * step)
        now = first + t
        place = now * (R * H)
        a = tl.load(gates_ptr + place + narrow, mask=inside, other=0.0).to(ACC)
        goes_on = None
        if reset_ptr is not None:
            line = reset_ptr + direction.to(tl.int64) * B * T + now
            goes_on = tl.load(line + local * T, mask=here, other=0) == 0
            h = tl.where(goes_on[:, None], h, 0.0)
        if SYNC:
            alive = wait(counter_ptr, step * slices, alive)
        source_ptr = exchange_ptr + (step + 1) % 2 * slot
        parts = products(source_ptr, exchanged, goes_on, u, ACC, PRECISION, UPCAST)
        a += folded(parts[0])
        if SYNC:
            a += poison(alive, ACC)
        # a where a > 0 would make a zero of NaN, which has to be seen
        new_h = tl.where(a < 0.0, 0.0, a) if RELU else tanh(a)
        if saved_ptr is not None:
            tl.store(saved_ptr + place + narrow, new_h, mask=inside)
        new_h = zoned(h, new_h, zoneout_h_ptr, SHARE_H, place + narrow, inside)
        out = new_h
        if lengths_ptr is not None:
            real = (t < lengths)[:, None]
            out = tl.where(real, new_h, 0.0)
            new_h = tl.where(real, new_h, h)
        h = new_h
        slot_ptr = exchange_ptr + step % 2 * slot + (exchanged[:, None] + own[None, :])
        shared = h
        if dropout_ptr is not None:
            shared = h * dropout
        tl.store(slot_ptr, shared, mask=inside)
        if SYNC:
            arrive(counter_ptr)
        # What nobody waits for is stored while others arrive.
        tl.store(y_ptr + place + narrow, out, mask=inside)
        step += 1
    if stop == T:
        tl.store(h_ptr + state, h, mask=inside)
    else:
        tl.store(carried_ptr + state, h, mask=inside)
    if SYNC:
        tl.store(failed_ptr, 1, mask=alive == 0)


@triton.jit(do_not_specialize=NUMBERS)
def backward_kernel(
    dy_ptr,
    dh_ptr,
    value_ptr,
    weight_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    dgates_ptr,
    dh0_ptr,
    carried_ptr,
    exchange_ptr,
    counters_ptr,
    failed_ptr,
    B,
    T,
    H,
    D,
    R,
    group,
    start,
    stop,
    REVERSE: tl.constexpr,
    SHARE_H: tl.constexpr,
    RELU: tl.constexpr,
    SYNC: tl.constexpr,
    BLOCK_B: tl.constexpr,
    UNITS: tl.constexpr,
    W: tl.constexpr,
    K: tl.constexpr,
    CHUNKS: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """Steps ``start`` to ``stop`` against the forward scan's order, of one slice of one group."""
    slices = tl.num_programs(0)
    group += tl.program_id(1)
    heads = R * H // D  # of all directions
    tile = group // heads
    head = group % heads
    direction = head * D // H
    against = (direction + REVERSE + 1) % 2

    local = tl.arange(0, BLOCK_B)
    rows = tile * BLOCK_B + local
    here = rows < B
    own = tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    inside = here[:, None] & (own < D)[None, :]
    column = head * D
    state = rows[:, None] * (R * H) + (column + own)[None, :]
    narrow = local[:, None] * (T * R * H) + (column + own)[None, :]
    first = tile.to(tl.int64) * BLOCK_B * T
    P: tl.constexpr = W * K * CHUNKS  # units of a head in the exchange, padded
    exchanged = rows * (heads * P) + head * P
    slot = tl.cdiv(B, BLOCK_B) * BLOCK_B * heads * P

    u_ptr = weight_ptr + column * D
    u = resident(u_ptr, H * D, own, D, 1, D, 1, W, K, CHUNKS)
    if start == 0:
        dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    else:
        dh = tl.load(carried_ptr + state, mask=inside, other=0.0)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    if dropout_ptr is not None:
        dropout = tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
    counter_ptr = counters_ptr + group * 32
    alive = True
    step = start
    while step < stop:
        t = step + against * (T - 1 - 2 * step)
        now = first + t
        place = now * (R * H)
        value = tl.load(value_ptr + place + narrow, mask=inside, other=0.0).to(ACC)
        dy = tl.load(dy_ptr + place + narrow, mask=inside, other=0.0).to(ACC)
        if SYNC:
            alive = wait(counter_ptr, step * slices, alive)
        source_ptr = exchange_ptr + (step + 1) % 2 * slot
        through_u = gradient(source_ptr, heads * P, exchanged, u, ACC, PRECISION, UPCAST)
        if dropout_ptr is not None:
            through_u *= dropout
        dh += through_u
        if SYNC:
            dh += poison(alive, ACC)
        da = dh + dy
        new_dh = tl.zeros((BLOCK_B, UNITS), ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            new_dh, da = parted(da, zoneout_h_ptr, SHARE_H, place + narrow, inside)
        # NaN is not above 0, but has to be seen
        da = tl.where(value <= 0.0, 0.0, da) if RELU else da * (1.0 - value * value)
        if lengths_ptr is not None:
            real = (t < lengths)[:, None]
            da = tl.where(real, da, 0.0)
            new_dh = tl.where(real, new_dh, dh)
        dh = new_dh
        shared = da
        if reset_ptr is not None:
            line = reset_ptr + direction.to(tl.int64) * B * T + now
            goes_on = (tl.load(line + local * T, mask=here, other=0) == 0)[:, None]
            dh = tl.where(goes_on, dh, 0.0)
            shared = tl.where(goes_on, da, 0.0)
        slot_ptr = exchange_ptr + step % 2 * slot + (exchanged[:, None] + own[None, :])
        tl.store(slot_ptr, shared, mask=inside)
        if SYNC:
            arrive(counter_ptr)
        tl.store(dgates_ptr + place + narrow, da, mask=inside)
        step += 1
    if (stop == T) & (SYNC | (start == T)):
        if SYNC:
            alive = wait(counter_ptr, T * slices, alive)
        source_ptr = exchange_ptr + (T + 1) % 2 * slot
        through_u = gradient(source_ptr, heads * P, exchanged, u, ACC, PRECISION, UPCAST)
        if dropout_ptr is not None:
            through_u *= dropout
        dh += through_u
        tl.store(dh0_ptr + state, dh, mask=inside)
    else:
        tl.store(carried_ptr + state, dh, mask=inside)
    if SYNC:
        tl.store(failed_ptr, 1, mask=alive == 0)


def forward(
    gates_BTH: Tensor,
    weight_HD: Tensor,
    h0_BH: Tensor,
    walk: Walk,
    save: bool,
    relu: bool,
    plan: Plan | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and, if ``save`` and zoneout keeps a share, f's values."""
    y_BTH, h_BH = empty_as(gates_BTH), empty_as(h0_BH)
    values_BTH = empty_as(gates_BTH) if save and walk.share_h is not None else None
    launch = Launch("rnn", "forward", gates_BTH, weight_HD, walk, plan)
    inputs = (gates_BTH, weight_HD, h0_BH)
    launch(forward_kernel, inputs, (y_BTH, h_BH, values_BTH), h0_BH, RELU=relu)
    return y_BTH, h_BH, gates_BTH.new_empty(0) if values_BTH is None else values_BTH


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    values_BTH: Tensor,
    weight_HD: Tensor,
    walk: Walk,
    relu: bool,
    plan: Plan | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the gates and of h0; ``values_BTH`` are f's, or y."""
    dgates_BTH, dh0_BH = empty_as(values_BTH), empty_as(dh_BH)
    launch = Launch("rnn", "backward", values_BTH, weight_HD, walk, plan)
    inputs = (dy_BTH, dh_BH, values_BTH, weight_HD)
    launch(backward_kernel, inputs, (dgates_BTH, dh0_BH), RELU=relu)
    return dgates_BTH, dh0_BH
