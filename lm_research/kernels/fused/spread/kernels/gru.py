"""The GRU scan spread over several processors, forward and backward.

Gates lie as r, z, n; n's recurrent bias stands inside r * (U h + b'), as in ``fused.gru``.
Backward, programs exchange the gradients of r, of z and of n's inner product.

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
    inner_ptr,
    between_ptr,
    bias_ptr,
    feed_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    y_ptr,
    h_ptr,
    saved_ptr,
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
    wide_column = direction * 2 * H + column
    given = local[:, None] * (T * R * 3 * H * (1 - upper)) + (wide_column + own)[None, :]
    saved_wide = local[:, None] * (T * R * 4 * H) + (wide_column + direction * H + own)[None, :]
    first = tile.to(tl.int64) * BLOCK_B * T
    over = layer.to(tl.int64) * B * T  # from a layer's steps to those of all
    P: tl.constexpr = W * K * CHUNKS  # units of a head in the exchange, padded
    padded = tl.cdiv(B, BLOCK_B) * BLOCK_B
    exchanged = (layer * padded + rows) * ((R * H // D) * P) + head * P
    slot = LAYERS * padded * ((R * H // D) * P)

    u_ptr = weight_ptr + (layer * (R * 3 * H) + wide_column) * D
    u = resident(u_ptr, H * D, own, 1, D, D, 3, W, K, CHUNKS)
    if LAYERS > 1:
        w_ptr = between_ptr + (layer - upper) * 3 * H * D
        w = resident(w_ptr, H * D, own, 1, D, D * upper, 3, W, K, CHUNKS)
        if layer > 0:
            gates_ptr = bias_ptr + (layer - 1) * 3 * H
        below_ptr = y_ptr if fed_ptr is None else fed_ptr
    inner_ptr += layer * (R * H) + column
    bias = tl.load(inner_ptr + own, mask=own < D, other=0.0).to(ACC)[None, :]
    if not SYNC:
        start -= layer
        stop -= layer
    step = start if SYNC else max(start, 0)
    if step == 0:
        h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
    else:
        h = tl.load(carried_ptr + state, mask=inside, other=0.0)
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
        place = now * ((1 - upper) * R * 3 * H)
        a_r = tl.load(gates_ptr + place + given, mask=inside, other=0.0).to(ACC)
        a_z = tl.load(gates_ptr + place + H + given, mask=inside, other=0.0).to(ACC)
        a_n = tl.load(gates_ptr + place + 2 * H + given, mask=inside, other=0.0).to(ACC)
        goes_on = None
        if reset_ptr is not None:
            line = reset_ptr + direction.to(tl.int64) * B * T + now
            goes_on = tl.load(line + local * T, mask=here, other=0) == 0
            h = tl.where(goes_on[:, None], h, 0.0)
        sums = nothing(u, BLOCK_B, ACC)
        w_n = sums[2]
        if LAYERS > 1:
            if SYNC:
                alive = followed(counter_ptr, step, upper, alive)
            source_ptr = below_ptr + (over - B * T + now) * H
            there = rows < B * upper
            sums = products(sums, source_ptr, local * (T * H), there, w, ACC, PRECISION, UPCAST)
            w_n = sums[2]  # stands outside r * (U h + b')
            sums = (sums[0], sums[1], nothing(u, BLOCK_B, ACC)[2])
        if SYNC:
            alive = wait(counter_ptr, step * slices, alive)
        source_ptr = exchange_ptr + (step + 1) % 2 * slot
        sums = products(sums, source_ptr, exchanged, goes_on, u, ACC, PRECISION, UPCAST)
        u_r, u_z, u_n, w_n = folded4(sums[0], sums[1], sums[2], w_n)
        if SYNC:
            u_n += poison(alive, ACC)
        r = sigmoid(a_r + u_r)
        z = sigmoid(a_z + u_z)
        inner = u_n + bias
        n = tanh(a_n + w_n + r * inner)
        new_h = n + z * (h - n)
        at = (over + now) * (R * H) + narrow
        new_h = zoned(h, new_h, zoneout_h_ptr, SHARE_H, at, inside)
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
        tl.store(y_ptr + at, out, mask=inside)
        if saved_ptr is not None:
            keep = (over + now) * (R * 4 * H)
            tl.store(saved_ptr + keep + saved_wide, r, mask=inside)
            tl.store(saved_ptr + keep + H + saved_wide, z, mask=inside)
            tl.store(saved_ptr + keep + 2 * H + saved_wide, n, mask=inside)
            tl.store(saved_ptr + keep + 3 * H + saved_wide, inner, mask=inside)
        if fed_ptr is not None:
            feeds = inside & (rows < B * (layer < LAYERS - 1))[:, None]
            out *= tl.load(feed_ptr + at, mask=feeds, other=0.0).to(ACC)
            tl.store(fed_ptr + at, out, mask=feeds)
        step += 1
    if SYNC & (LAYERS > 1):
        alive = leave(counter_ptr, T, alive)
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
    saved_ptr,
    before_ptr,
    weight_ptr,
    between_ptr,
    feed_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    dgates_ptr,
    dinner_ptr,
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
    wide_column = direction * 2 * H + column
    state = (layer * B + rows)[:, None] * (R * H) + (column + own)[None, :]
    narrow = local[:, None] * (T * R * H) + (column + own)[None, :]
    wide = local[:, None] * (T * R * 3 * H) + (wide_column + own)[None, :]
    saved_wide = local[:, None] * (T * R * 4 * H) + (wide_column + direction * H + own)[None, :]
    first = tile.to(tl.int64) * BLOCK_B * T
    over = layer.to(tl.int64) * B * T  # from a layer's steps to those of all
    P: tl.constexpr = W * K * CHUNKS  # units of a head in the exchange, padded
    stride = R * H // D * P  # from gate to gate
    padded = tl.cdiv(B, BLOCK_B) * BLOCK_B
    exchanged = (layer * padded + rows) * (3 * stride) + head * P
    slot = LAYERS * padded * (3 * stride)

    u_ptr = weight_ptr + (layer * (R * 3 * H) + wide_column) * D
    u = resident(u_ptr, H * D, own, D, 1, D, 3, W, K, CHUNKS)
    if LAYERS > 1:
        w_ptr = between_ptr + layer * lower * 3 * H * D
        w = resident(w_ptr, H * D, own, D, 1, D * lower, 3, W, K, CHUNKS)
    if not SYNC:
        start -= LAYERS - 1 - layer
        stop -= LAYERS - 1 - layer
    step = start if SYNC else max(start, 0)
    if step == 0:
        dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    else:
        dh = tl.load(carried_ptr + state, mask=inside, other=0.0)
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
        place = (over + now) * (R * 3 * H)
        keep = (over + now) * (R * 4 * H)
        at = (over + now) * (R * H) + narrow
        r = tl.load(saved_ptr + keep + saved_wide, mask=inside, other=0.0).to(ACC)
        z = tl.load(saved_ptr + keep + H + saved_wide, mask=inside, other=0.0).to(ACC)
        n = tl.load(saved_ptr + keep + 2 * H + saved_wide, mask=inside, other=0.0).to(ACC)
        inner = tl.load(saved_ptr + keep + 3 * H + saved_wide, mask=inside, other=0.0).to(ACC)
        before = tl.load(before_ptr + at, mask=inside, other=0.0).to(ACC)
        top = inside & (rows < B * (1 - lower))[:, None]
        dy = tl.load(dy_ptr + now * (R * H) + narrow, mask=top, other=0.0).to(ACC)
        if LAYERS > 1:
            if SYNC:
                alive = followed(counter_ptr, step, lower, alive)
            source_ptr = dgates_ptr + (over + B * T + now) * (3 * H)
            there = rows < B * lower
            fed = local * (T * 3 * H)
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
        stays = tl.zeros((BLOCK_B, UNITS), ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            stays, dout = parted(dout, zoneout_h_ptr, SHARE_H, at, inside)
        d_n = dout * (1.0 - z) * (1.0 - n * n)
        d_z = dout * (before - n) * z * (1.0 - z)
        d_r = d_n * inner * r * (1.0 - r)
        d_inner = d_n * r
        new_dh = stays + dout * z
        if lengths_ptr is not None:
            real = (t < lengths)[:, None]
            d_r = tl.where(real, d_r, 0.0)
            d_z = tl.where(real, d_z, 0.0)
            d_n = tl.where(real, d_n, 0.0)
            d_inner = tl.where(real, d_inner, 0.0)
            new_dh = tl.where(real, new_dh, dh)
        dh = new_dh
        if reset_ptr is not None:
            line = reset_ptr + direction.to(tl.int64) * B * T + now
            goes_on = (tl.load(line + local * T, mask=here, other=0) == 0)[:, None]
            dh = tl.where(goes_on, dh, 0.0)
        slot_ptr = exchange_ptr + step % 2 * slot + (exchanged[:, None] + own[None, :])
        shares = (d_r, d_z, d_inner)
        for gate in tl.static_range(3):
            share = shares[gate]
            if reset_ptr is not None:
                share = tl.where(goes_on, share, 0.0)
            tl.store(slot_ptr + gate * stride, share, mask=inside)
        if SYNC:
            arrive(counter_ptr)
        tl.store(dgates_ptr + place + wide, d_r, mask=inside)
        tl.store(dgates_ptr + place + H + wide, d_z, mask=inside)
        tl.store(dgates_ptr + place + 2 * H + wide, d_n, mask=inside)
        tl.store(dinner_ptr + at, d_inner, mask=inside)
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
    else:
        tl.store(carried_ptr + state, dh, mask=inside)
    if SYNC:
        tl.store(failed_ptr, 1, mask=alive == 0)
