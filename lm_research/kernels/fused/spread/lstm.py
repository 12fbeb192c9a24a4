"""The LSTM scan spread over several processors, forward and backward.

Gates lie as i, f, g, o, as in ``fused.lstm``. Forward, programs exchange h_t; backward
the gates' gradients: a step begins with the product that the step before it left undone.

Shapes: B batch, T time, H hidden size of a direction, D head size, R directions.
"""

import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.fused.arithmetic import sigmoid, tanh
from lm_research.kernels.fused.spread.exchange import (
    arrive,
    folded4,
    gradient,
    poison,
    products,
    resident,
    wait,
)
from lm_research.kernels.fused.spread.launch import NUMBERS, Launch
from lm_research.kernels.fused.spread.plan import Plan
from lm_research.kernels.fused.spread.recompute import lstm_gates
from lm_research.kernels.fused.tile import parted, zoned
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@triton.jit(do_not_specialize=NUMBERS)
def forward_kernel(
    gates_ptr,
    weight_ptr,
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
    SHARE_C: tl.constexpr,
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
    wide = local[:, None] * (T * R * 4 * H) + (direction * 3 * H + column + own)[None, :]
    first = tile.to(tl.int64) * BLOCK_B * T
    P: tl.constexpr = W * K * CHUNKS  # units of a head in the exchange, padded
    exchanged = rows * (heads * P) + head * P
    slot = tl.cdiv(B, BLOCK_B) * BLOCK_B * heads * P

    u_ptr = weight_ptr + (direction * 3 * H + column) * D
    u = resident(u_ptr, H * D, own, 1, D, D, 4, W, K, CHUNKS)
    if start == 0:
        h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
        c = tl.load(c0_ptr + state, mask=inside, other=0.0).to(ACC)
    else:
        h = tl.load(carried_ptr + state, mask=inside, other=0.0)
        c = tl.load(carried_ptr + B * R * H + state, mask=inside, other=0.0)
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
        place = now * (R * 4 * H)
        a_i = tl.load(gates_ptr + place + wide, mask=inside, other=0.0).to(ACC)
        a_f = tl.load(gates_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
        a_g = tl.load(gates_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
        a_o = tl.load(gates_ptr + place + 3 * H + wide, mask=inside, other=0.0).to(ACC)
        goes_on = None
        if reset_ptr is not None:
            line = reset_ptr + direction.to(tl.int64) * B * T + now
            goes_on = tl.load(line + local * T, mask=here, other=0) == 0
            h = tl.where(goes_on[:, None], h, 0.0)
            c = tl.where(goes_on[:, None], c, 0.0)
        if SYNC:
            alive = wait(counter_ptr, step * slices, alive)
        source_ptr = exchange_ptr + (step + 1) % 2 * slot
        parts = products(source_ptr, exchanged, goes_on, u, ACC, PRECISION, UPCAST)
        u_i, u_f, u_g, u_o = folded4(parts[0], parts[1], parts[2], parts[3])
        if SYNC:
            u_i += poison(alive, ACC)
        i = sigmoid(a_i + u_i)
        f = sigmoid(a_f + u_f)
        g = tanh(a_g + u_g)
        o = sigmoid(a_o + u_o)
        before = c
        new_c = f * c + i * g
        new_h = o * tanh(new_c)
        place_h = now * (R * H) + narrow
        new_h = zoned(h, new_h, zoneout_h_ptr, SHARE_H, place_h, inside)
        new_c = zoned(c, new_c, zoneout_c_ptr, SHARE_C, place_h, inside)
        out = new_h
        if lengths_ptr is not None:
            real = (t < lengths)[:, None]
            out = tl.where(real, new_h, 0.0)
            new_h = tl.where(real, new_h, h)
            new_c = tl.where(real, new_c, c)
        h = new_h
        c = new_c
        slot_ptr = exchange_ptr + step % 2 * slot + (exchanged[:, None] + own[None, :])
        shared = h
        if dropout_ptr is not None:
            shared = h * dropout
        tl.store(slot_ptr, shared, mask=inside)
        if SYNC:
            arrive(counter_ptr)
        # What nobody waits for is stored while others arrive.
        tl.store(y_ptr + place_h, out, mask=inside)
        if saved_ptr is not None:
            tl.store(saved_ptr + place + wide, i, mask=inside)
            tl.store(saved_ptr + place + H + wide, f, mask=inside)
            tl.store(saved_ptr + place + 2 * H + wide, g, mask=inside)
            tl.store(saved_ptr + place + 3 * H + wide, o, mask=inside)
        if before_ptr is not None:
            tl.store(before_ptr + place_h, before, mask=inside)
        step += 1
    if stop == T:
        tl.store(h_ptr + state, h, mask=inside)
        tl.store(c_ptr + state, c, mask=inside)
    else:
        tl.store(carried_ptr + state, h, mask=inside)
        tl.store(carried_ptr + B * R * H + state, c, mask=inside)
    if SYNC:
        tl.store(failed_ptr, 1, mask=alive == 0)


@triton.jit(do_not_specialize=NUMBERS)
def backward_kernel(
    dy_ptr,
    dh_ptr,
    dc_ptr,
    saved_ptr,
    before_ptr,
    weight_ptr,
    zoneout_c_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    dgates_ptr,
    dh0_ptr,
    dc0_ptr,
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
    SHARE_C: tl.constexpr,
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
    wide_column = direction * 3 * H + column
    state = rows[:, None] * (R * H) + (column + own)[None, :]
    narrow = local[:, None] * (T * R * H) + (column + own)[None, :]
    wide = local[:, None] * (T * R * 4 * H) + (wide_column + own)[None, :]
    first = tile.to(tl.int64) * BLOCK_B * T
    P: tl.constexpr = W * K * CHUNKS  # units of a head in the exchange, padded
    exchanged = rows * (4 * heads * P) + head * P
    slot = tl.cdiv(B, BLOCK_B) * BLOCK_B * 4 * heads * P

    u_ptr = weight_ptr + wide_column * D
    u = resident(u_ptr, H * D, own, D, 1, D, 4, W, K, CHUNKS)
    if start == 0:
        dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
        dc = tl.load(dc_ptr + state, mask=inside, other=0.0).to(ACC)
    else:
        dh = tl.load(carried_ptr + state, mask=inside, other=0.0)
        dc = tl.load(carried_ptr + B * R * H + state, mask=inside, other=0.0)
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
        place = now * (R * 4 * H)
        out = now * (R * H) + narrow
        i = tl.load(saved_ptr + place + wide, mask=inside, other=0.0).to(ACC)
        f = tl.load(saved_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
        g = tl.load(saved_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
        o = tl.load(saved_ptr + place + 3 * H + wide, mask=inside, other=0.0).to(ACC)
        before = tl.load(before_ptr + out, mask=inside, other=0.0)
        dy = tl.load(dy_ptr + out, mask=inside, other=0.0).to(ACC)
        if SYNC:
            alive = wait(counter_ptr, step * slices, alive)
        source_ptr = exchange_ptr + (step + 1) % 2 * slot
        through_u = gradient(source_ptr, heads * P, exchanged, u, ACC, PRECISION, UPCAST)
        if dropout_ptr is not None:
            through_u *= dropout
        dh += through_u
        if SYNC:
            dh += poison(alive, ACC)
        dout = dh + dy
        new_dh = tl.zeros((BLOCK_B, UNITS), ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            new_dh, dout = parted(dout, zoneout_h_ptr, SHARE_H, out, inside)
        dnext = dc
        if zoneout_c_ptr is not None or SHARE_C is not None:
            stays, dnext = parted(dc, zoneout_c_ptr, SHARE_C, out, inside)
        squashed = tanh(f * before + i * g)
        dcell = dnext + dout * o * (1.0 - squashed * squashed)
        d_i = dcell * g * i * (1.0 - i)
        d_f = dcell * before * f * (1.0 - f)
        d_g = dcell * i * (1.0 - g * g)
        d_o = dout * squashed * o * (1.0 - o)
        new_dc = dcell * f
        if zoneout_c_ptr is not None or SHARE_C is not None:
            new_dc += stays
        if lengths_ptr is not None:
            real = (t < lengths)[:, None]
            d_i = tl.where(real, d_i, 0.0)
            d_f = tl.where(real, d_f, 0.0)
            d_g = tl.where(real, d_g, 0.0)
            d_o = tl.where(real, d_o, 0.0)
            new_dc = tl.where(real, new_dc, dc)
            new_dh = tl.where(real, new_dh, dh)
        dh = new_dh
        dc = new_dc
        if reset_ptr is not None:
            line = reset_ptr + direction.to(tl.int64) * B * T + now
            goes_on = (tl.load(line + local * T, mask=here, other=0) == 0)[:, None]
            dh = tl.where(goes_on, dh, 0.0)
            dc = tl.where(goes_on, dc, 0.0)
        slot_ptr = exchange_ptr + step % 2 * slot + (exchanged[:, None] + own[None, :])
        shares = (d_i, d_f, d_g, d_o)
        for gate in tl.static_range(4):
            share = shares[gate]
            if reset_ptr is not None:
                share = tl.where(goes_on, share, 0.0)
            tl.store(slot_ptr + gate * heads * P, share, mask=inside)
        if SYNC:
            arrive(counter_ptr)
        tl.store(dgates_ptr + place + wide, d_i, mask=inside)
        tl.store(dgates_ptr + place + H + wide, d_f, mask=inside)
        tl.store(dgates_ptr + place + 2 * H + wide, d_g, mask=inside)
        tl.store(dgates_ptr + place + 3 * H + wide, d_o, mask=inside)
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
        tl.store(dc0_ptr + state, dc, mask=inside)
    else:
        tl.store(carried_ptr + state, dh, mask=inside)
        tl.store(carried_ptr + B * R * H + state, dc, mask=inside)
    if SYNC:
        tl.store(failed_ptr, 1, mask=alive == 0)


def forward(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    c0_BH: Tensor,
    walk: Walk,
    save: bool,
    plan: Plan | None = None,
) -> tuple[Tensor, ...]:
    """Returns y_BTH, h_BH, c_BH and, to ``save``, c_{t-1} and (not to recompute) gates' values."""
    launch = Launch("lstm", "forward", gates_BTG, weight_GD, walk, plan)
    shape = (launch.batch, launch.steps, launch.width)
    y_BTH = gates_BTG.new_empty(shape)
    h_BH, c_BH = empty_as(h0_BH), empty_as(c0_BH)
    before_BTH = gates_BTG.new_empty(shape, dtype=launch.accumulator) if save else None
    saved_BTG = empty_as(gates_BTG) if save and not walk.recompute else None
    launch(
        forward_kernel,
        (gates_BTG, weight_GD, h0_BH, c0_BH, walk.mask_c),
        (y_BTH, h_BH, c_BH, saved_BTG, before_BTH),
        h0_BH,
        SHARE_C=walk.share_c,
    )
    nothing = gates_BTG.new_empty(0)
    before_BTH = nothing.to(launch.accumulator) if before_BTH is None else before_BTH
    return y_BTH, h_BH, c_BH, nothing if saved_BTG is None else saved_BTG, before_BTH


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    dc_BH: Tensor,
    saved_BTG: Tensor,
    before_BTH: Tensor,
    hidden_BTH: Tensor | None,
    weight_GD: Tensor,
    walk: Walk,
    plan: Plan | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, h0 and c0.

    Args:
        saved_BTG: gates' values; to recompute them the gates as the forward scan took them.
        before_BTH: c_{t-1}.
        hidden_BTH: h_{t-1}, to recompute with; None otherwise.
    """
    if hidden_BTH is not None:
        saved_BTG = lstm_gates(saved_BTG, hidden_BTH, weight_GD, walk)
    launch = Launch("lstm", "backward", saved_BTG, weight_GD, walk, plan)
    dgates_BTG = empty_as(saved_BTG)
    dh0_BH, dc0_BH = empty_as(dh_BH), empty_as(dc_BH)
    launch(
        backward_kernel,
        (dy_BTH, dh_BH, dc_BH, saved_BTG, before_BTH, weight_GD, walk.mask_c),
        (dgates_BTG, dh0_BH, dc0_BH),
        SHARE_C=walk.share_c,
    )
    return dgates_BTG, dh0_BH, dc0_BH
