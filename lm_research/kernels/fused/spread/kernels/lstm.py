"""The LSTM scan spread over several processors, forward and backward.

Gates lie as i, f, g, o, as in ``fused.lstm``. Forward, programs exchange h_t; backward
the gates' gradients: a step begins with the product that the step before it left undone.

Shapes: B batch, T time, H hidden size of a direction, D head size, R directions.
"""

import triton
import triton.language as tl

from lm_research.kernels.fused.arithmetic import sigmoid, tanh
from lm_research.kernels.fused.spread.exchange import (
    arrive,
    folded4,
    gradient,
    nothing,
    poison,
    products,
    resident,
    wait,
)
from lm_research.kernels.fused.spread.launch import NUMBERS
from lm_research.kernels.fused.spread.layers import LINE, followed, leave, part_of
from lm_research.kernels.fused.tile import parted, zoned


@triton.jit(do_not_specialize=NUMBERS)
def forward_kernel(
    gates_ptr,
    weight_ptr,
    h0_ptr,
    c0_ptr,
    zoneout_c_ptr,
    between_ptr,
    bias_ptr,
    feed_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    y_ptr,
    h_ptr,
    c_ptr,
    saved_ptr,
    before_ptr,
    fed_ptr,
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
    LAYERS: tl.constexpr,
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
    layer, head, direction, tile, local, rows, own = part_of(
        B, H, D, R, group, False, BLOCK_B, UNITS, LAYERS
    )
    upper = (layer > 0).to(tl.int32)
    against = (direction + REVERSE) % 2
    here = rows < B
    inside = here[:, None] & (own < D)[None, :]
    column = head * D
    state = (layer * B + rows)[:, None] * (R * H) + (column + own)[None, :]
    narrow = local[:, None] * (T * R * H) + (column + own)[None, :]
    wide_column = direction * 3 * H + column
    wide = local[:, None] * (T * R * 4 * H) + (wide_column + own)[None, :]
    given = local[:, None] * (T * R * 4 * H * (1 - upper)) + (wide_column + own)[None, :]
    first = tile.to(tl.int64) * BLOCK_B * T
    over = layer.to(tl.int64) * B * T  # from a layer's steps to those of all
    P: tl.constexpr = W * K * CHUNKS  # units of a head in the exchange, padded
    padded = tl.cdiv(B, BLOCK_B) * BLOCK_B
    exchanged = (layer * padded + rows) * ((R * H // D) * P) + head * P
    slot = LAYERS * padded * ((R * H // D) * P)

    u_ptr = weight_ptr + (layer * (R * 4 * H) + wide_column) * D
    u = resident(u_ptr, H * D, own, 1, D, D, 4, W, K, CHUNKS)
    if LAYERS > 1:
        w_ptr = between_ptr + (layer - upper) * 4 * H * D
        w = resident(w_ptr, H * D, own, 1, D, D * upper, 4, W, K, CHUNKS)
        if layer > 0:
            gates_ptr = bias_ptr + (layer - 1) * 4 * H
        below_ptr = y_ptr if fed_ptr is None else fed_ptr
    if not SYNC:
        start -= layer
        stop -= layer
    step = start if SYNC else max(start, 0)
    if step == 0:
        h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
        c = tl.load(c0_ptr + state, mask=inside, other=0.0).to(ACC)
    else:
        h = tl.load(carried_ptr + state, mask=inside, other=0.0)
        c = tl.load(carried_ptr + LAYERS * B * R * H + state, mask=inside, other=0.0)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    if dropout_ptr is not None:
        dropout = tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
    counter_ptr = counters_ptr + group * LINE
    alive = True
    last = T if SYNC else min(stop, T)
    while step < last:
        t = step + against * (T - 1 - 2 * step)
        now = first + t
        place = now * ((1 - upper) * R * 4 * H)
        a_i = tl.load(gates_ptr + place + given, mask=inside, other=0.0).to(ACC)
        a_f = tl.load(gates_ptr + place + H + given, mask=inside, other=0.0).to(ACC)
        a_g = tl.load(gates_ptr + place + 2 * H + given, mask=inside, other=0.0).to(ACC)
        a_o = tl.load(gates_ptr + place + 3 * H + given, mask=inside, other=0.0).to(ACC)
        goes_on = None
        if reset_ptr is not None:
            line = reset_ptr + direction.to(tl.int64) * B * T + now
            goes_on = tl.load(line + local * T, mask=here, other=0) == 0
            h = tl.where(goes_on[:, None], h, 0.0)
            c = tl.where(goes_on[:, None], c, 0.0)
        sums = nothing(u, BLOCK_B, ACC)
        if LAYERS > 1:
            if SYNC:
                alive = followed(counter_ptr, step, upper, alive)
            source_ptr = below_ptr + (over - B * T + now) * H
            there = rows < B * upper
            sums = products(sums, source_ptr, local * (T * H), there, w, ACC, PRECISION, UPCAST)
        if SYNC:
            alive = wait(counter_ptr, step * slices, alive)
        source_ptr = exchange_ptr + (step + 1) % 2 * slot
        sums = products(sums, source_ptr, exchanged, goes_on, u, ACC, PRECISION, UPCAST)
        u_i, u_f, u_g, u_o = folded4(sums[0], sums[1], sums[2], sums[3])
        if SYNC:
            u_i += poison(alive, ACC)
        i = sigmoid(a_i + u_i)
        f = sigmoid(a_f + u_f)
        g = tanh(a_g + u_g)
        o = sigmoid(a_o + u_o)
        before = c
        new_c = f * c + i * g
        new_h = o * tanh(new_c)
        at = (over + now) * (R * H) + narrow
        new_h = zoned(h, new_h, zoneout_h_ptr, SHARE_H, at, inside)
        new_c = zoned(c, new_c, zoneout_c_ptr, SHARE_C, at, inside)
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
        tl.store(y_ptr + at, out, mask=inside)
        if saved_ptr is not None:
            place = (over + now) * (R * 4 * H)
            tl.store(saved_ptr + place + wide, i, mask=inside)
            tl.store(saved_ptr + place + H + wide, f, mask=inside)
            tl.store(saved_ptr + place + 2 * H + wide, g, mask=inside)
            tl.store(saved_ptr + place + 3 * H + wide, o, mask=inside)
        if before_ptr is not None:
            tl.store(before_ptr + at, before, mask=inside)
        if fed_ptr is not None:
            feeds = inside & (rows < B * (layer < LAYERS - 1))[:, None]
            out *= tl.load(feed_ptr + at, mask=feeds, other=0.0).to(ACC)
            tl.store(fed_ptr + at, out, mask=feeds)
        step += 1
    if SYNC & (LAYERS > 1):
        alive = leave(counter_ptr, T, alive)
    if stop == T:
        tl.store(h_ptr + state, h, mask=inside)
        tl.store(c_ptr + state, c, mask=inside)
    else:
        tl.store(carried_ptr + state, h, mask=inside)
        tl.store(carried_ptr + LAYERS * B * R * H + state, c, mask=inside)
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
    between_ptr,
    feed_ptr,
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
    LAYERS: tl.constexpr,
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
    layer, head, direction, tile, local, rows, own = part_of(
        B, H, D, R, group, True, BLOCK_B, UNITS, LAYERS
    )
    lower = (layer < LAYERS - 1).to(tl.int32)
    against = (direction + REVERSE + 1) % 2
    here = rows < B
    inside = here[:, None] & (own < D)[None, :]
    column = head * D
    wide_column = direction * 3 * H + column
    state = (layer * B + rows)[:, None] * (R * H) + (column + own)[None, :]
    narrow = local[:, None] * (T * R * H) + (column + own)[None, :]
    wide = local[:, None] * (T * R * 4 * H) + (wide_column + own)[None, :]
    first = tile.to(tl.int64) * BLOCK_B * T
    over = layer.to(tl.int64) * B * T  # from a layer's steps to those of all
    P: tl.constexpr = W * K * CHUNKS  # units of a head in the exchange, padded
    stride = R * H // D * P  # from gate to gate
    padded = tl.cdiv(B, BLOCK_B) * BLOCK_B
    exchanged = (layer * padded + rows) * (4 * stride) + head * P
    slot = LAYERS * padded * (4 * stride)

    u_ptr = weight_ptr + (layer * (R * 4 * H) + wide_column) * D
    u = resident(u_ptr, H * D, own, D, 1, D, 4, W, K, CHUNKS)
    if LAYERS > 1:
        w_ptr = between_ptr + layer * lower * 4 * H * D
        w = resident(w_ptr, H * D, own, D, 1, D * lower, 4, W, K, CHUNKS)
    if not SYNC:
        start -= LAYERS - 1 - layer
        stop -= LAYERS - 1 - layer
    step = start if SYNC else max(start, 0)
    if step == 0:
        dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
        dc = tl.load(dc_ptr + state, mask=inside, other=0.0).to(ACC)
    else:
        dh = tl.load(carried_ptr + state, mask=inside, other=0.0)
        dc = tl.load(carried_ptr + LAYERS * B * R * H + state, mask=inside, other=0.0)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    if dropout_ptr is not None:
        dropout = tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
    counter_ptr = counters_ptr + group * LINE
    alive = True
    last = T if SYNC else min(stop, T)
    while step < last:
        t = step + against * (T - 1 - 2 * step)
        now = first + t
        place = (over + now) * (R * 4 * H)
        at = (over + now) * (R * H) + narrow
        i = tl.load(saved_ptr + place + wide, mask=inside, other=0.0).to(ACC)
        f = tl.load(saved_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
        g = tl.load(saved_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
        o = tl.load(saved_ptr + place + 3 * H + wide, mask=inside, other=0.0).to(ACC)
        before = tl.load(before_ptr + at, mask=inside, other=0.0)
        top = inside & (rows < B * (1 - lower))[:, None]
        dy = tl.load(dy_ptr + now * (R * H) + narrow, mask=top, other=0.0).to(ACC)
        if LAYERS > 1:
            if SYNC:
                alive = followed(counter_ptr, step, lower, alive)
            source_ptr = dgates_ptr + (over + B * T + now) * (4 * H)
            there = rows < B * lower
            fed = local * (T * 4 * H)
            through_w = gradient(source_ptr, H, fed, there, w, ACC, PRECISION, UPCAST)
            if feed_ptr is not None:
                feeds = inside & (rows < B * lower)[:, None]
                through_w *= tl.load(feed_ptr + at, mask=feeds, other=0.0).to(ACC)
            dy += through_w
        if SYNC:
            alive = wait(counter_ptr, step * slices, alive)
        source_ptr = exchange_ptr + (step + 1) % 2 * slot
        through_u = gradient(source_ptr, stride, exchanged, None, u, ACC, PRECISION, UPCAST)
        if dropout_ptr is not None:
            through_u *= dropout
        dh += through_u
        if SYNC:
            dh += poison(alive, ACC)
        dout = dh + dy
        new_dh = tl.zeros((BLOCK_B, UNITS), ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            new_dh, dout = parted(dout, zoneout_h_ptr, SHARE_H, at, inside)
        dnext = dc
        if zoneout_c_ptr is not None or SHARE_C is not None:
            stays, dnext = parted(dc, zoneout_c_ptr, SHARE_C, at, inside)
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
            tl.store(slot_ptr + gate * stride, share, mask=inside)
        if SYNC:
            arrive(counter_ptr)
        tl.store(dgates_ptr + place + wide, d_i, mask=inside)
        tl.store(dgates_ptr + place + H + wide, d_f, mask=inside)
        tl.store(dgates_ptr + place + 2 * H + wide, d_g, mask=inside)
        tl.store(dgates_ptr + place + 3 * H + wide, d_o, mask=inside)
        step += 1
    if (SYNC & (stop == T)) | (start == T):
        if SYNC:
            alive = wait(counter_ptr, T * slices, alive)
            if LAYERS > 1:
                arrive(counter_ptr)
        source_ptr = exchange_ptr + (T + 1) % 2 * slot
        through_u = gradient(source_ptr, stride, exchanged, None, u, ACC, PRECISION, UPCAST)
        if dropout_ptr is not None:
            through_u *= dropout
        dh += through_u
        tl.store(dh0_ptr + state, dh, mask=inside)
        tl.store(dc0_ptr + state, dc, mask=inside)
    else:
        tl.store(carried_ptr + state, dh, mask=inside)
        tl.store(carried_ptr + LAYERS * B * R * H + state, dc, mask=inside)
    if SYNC:
        tl.store(failed_ptr, 1, mask=alive == 0)
