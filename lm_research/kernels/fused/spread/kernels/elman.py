"""The Elman scan spread over several processors, forward and backward.

h_t = f(a_t + U h_{t-1}), f being tanh or relu, as in ``fused.elman``. Of several layers (see
``layers``) the upper ones make their a_t themselves: W h_t of the layer below + b.

Shapes: B batch, T time, H hidden size of a direction, D head size, R directions, L layers.
"""

import triton
import triton.language as tl

from lm_research.kernels.fused.arithmetic import tanh
from lm_research.kernels.fused.spread.exchange import (
    arrive,
    folded,
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
    RELU: tl.constexpr,
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
    given = local[:, None] * (T * R * H * (1 - upper)) + (column + own)[None, :]
    first = tile.to(tl.int64) * BLOCK_B * T
    over = layer.to(tl.int64) * B * T  # from a layer's steps to those of all
    P: tl.constexpr = W * K * CHUNKS  # units of a head in the exchange, padded
    padded = tl.cdiv(B, BLOCK_B) * BLOCK_B
    exchanged = (layer * padded + rows) * (R * H // D * P) + head * P
    slot = LAYERS * padded * (R * H // D * P)

    u_ptr = weight_ptr + (layer * (R * H) + column) * D
    u = resident(u_ptr, H * D, own, 1, D, D, 1, W, K, CHUNKS)
    if LAYERS > 1:
        w_ptr = between_ptr + (layer - upper) * H * D
        w = resident(w_ptr, H * D, own, 1, D, D * upper, 1, W, K, CHUNKS)
        if layer > 0:
            gates_ptr = bias_ptr + (layer - 1) * H
        below_ptr = y_ptr if fed_ptr is None else fed_ptr
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
        at = (over + now) * (R * H) + narrow
        a = tl.load(gates_ptr + now * (1 - upper) * (R * H) + given, mask=inside, other=0.0)
        a = a.to(ACC)
        goes_on = None
        if reset_ptr is not None:
            line = reset_ptr + direction.to(tl.int64) * B * T + now
            goes_on = tl.load(line + local * T, mask=here, other=0) == 0
            h = tl.where(goes_on[:, None], h, 0.0)
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
        a += folded(sums[0])
        if SYNC:
            a += poison(alive, ACC)
        # a where a > 0 would make a zero of NaN, which has to be seen
        new_h = tl.where(a < 0.0, 0.0, a) if RELU else tanh(a)
        if saved_ptr is not None:
            tl.store(saved_ptr + at, new_h, mask=inside)
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
    value_ptr,
    weight_ptr,
    between_ptr,
    feed_ptr,
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
    state = (layer * B + rows)[:, None] * (R * H) + (column + own)[None, :]
    narrow = local[:, None] * (T * R * H) + (column + own)[None, :]
    first = tile.to(tl.int64) * BLOCK_B * T
    over = layer.to(tl.int64) * B * T  # from a layer's steps to those of all
    P: tl.constexpr = W * K * CHUNKS  # units of a head in the exchange, padded
    padded = tl.cdiv(B, BLOCK_B) * BLOCK_B
    exchanged = (layer * padded + rows) * (R * H // D * P) + head * P
    slot = LAYERS * padded * (R * H // D * P)

    u_ptr = weight_ptr + (layer * (R * H) + column) * D
    u = resident(u_ptr, H * D, own, D, 1, D, 1, W, K, CHUNKS)
    if LAYERS > 1:
        w_ptr = between_ptr + layer * lower * H * D
        w = resident(w_ptr, H * D, own, D, 1, D * lower, 1, W, K, CHUNKS)
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
        at = (over + now) * (R * H) + narrow
        value = tl.load(value_ptr + at, mask=inside, other=0.0).to(ACC)
        top = inside & (rows < B * (1 - lower))[:, None]
        dy = tl.load(dy_ptr + now * (R * H) + narrow, mask=top, other=0.0).to(ACC)
        if LAYERS > 1:
            if SYNC:
                alive = followed(counter_ptr, step, lower, alive)
            source_ptr = dgates_ptr + (over + B * T + now) * H
            there = rows < B * lower
            fed = local * (T * H)
            through_w = gradient(source_ptr, H, fed, there, w, ACC, PRECISION, UPCAST)
            if feed_ptr is not None:
                feeds = inside & (rows < B * lower)[:, None]
                through_w *= tl.load(feed_ptr + at, mask=feeds, other=0.0).to(ACC)
            dy += through_w
        if SYNC:
            alive = wait(counter_ptr, step * slices, alive)
        source_ptr = exchange_ptr + (step + 1) % 2 * slot
        through_u = gradient(source_ptr, P, exchanged, None, u, ACC, PRECISION, UPCAST)
        if dropout_ptr is not None:
            through_u *= dropout
        dh += through_u
        if SYNC:
            dh += poison(alive, ACC)
        da = dh + dy
        new_dh = tl.zeros((BLOCK_B, UNITS), ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            new_dh, da = parted(da, zoneout_h_ptr, SHARE_H, at, inside)
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
        tl.store(dgates_ptr + at, da, mask=inside)
        step += 1
    if (SYNC & (stop == T)) | (start == T):
        if SYNC:
            alive = wait(counter_ptr, T * slices, alive)
            if LAYERS > 1:
                arrive(counter_ptr)
        source_ptr = exchange_ptr + (T + 1) % 2 * slot
        through_u = gradient(source_ptr, P, exchanged, None, u, ACC, PRECISION, UPCAST)
        if dropout_ptr is not None:
            through_u *= dropout
        dh += through_u
        tl.store(dh0_ptr + state, dh, mask=inside)
    else:
        tl.store(carried_ptr + state, dh, mask=inside)
    if SYNC:
        tl.store(failed_ptr, 1, mask=alive == 0)
