"""The GRU scan spread over several processors, forward and backward.

Gates lie as r, z, n; n's recurrent bias stands inside r * (U h + b'), as in ``fused.gru``.
Backward, programs exchange the gradients of r, of z and of n's inner product.

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
from lm_research.kernels.fused.spread.recompute import gru_gates
from lm_research.kernels.fused.tile import parted, zoned
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@triton.jit(do_not_specialize=NUMBERS)
def forward_kernel(
    gates_ptr,
    weight_ptr,
    h0_ptr,
    bias_ptr,
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
    wide_column = direction * 2 * H + column
    wide = local[:, None] * (T * R * 3 * H) + (wide_column + own)[None, :]
    saved_wide = local[:, None] * (T * R * 4 * H) + (wide_column + direction * H + own)[None, :]
    first = tile.to(tl.int64) * BLOCK_B * T
    P: tl.constexpr = W * K * CHUNKS  # units of a head in the exchange, padded
    exchanged = rows * (heads * P) + head * P
    slot = tl.cdiv(B, BLOCK_B) * BLOCK_B * heads * P

    u_ptr = weight_ptr + wide_column * D
    u = resident(u_ptr, H * D, own, 1, D, D, 3, W, K, CHUNKS)
    bias = tl.load(bias_ptr + column + own, mask=own < D, other=0.0).to(ACC)[None, :]
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
        place = now * (R * 3 * H)
        a_r = tl.load(gates_ptr + place + wide, mask=inside, other=0.0).to(ACC)
        a_z = tl.load(gates_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
        a_n = tl.load(gates_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
        goes_on = None
        if reset_ptr is not None:
            line = reset_ptr + direction.to(tl.int64) * B * T + now
            goes_on = tl.load(line + local * T, mask=here, other=0) == 0
            h = tl.where(goes_on[:, None], h, 0.0)
        if SYNC:
            alive = wait(counter_ptr, step * slices, alive)
        source_ptr = exchange_ptr + (step + 1) % 2 * slot
        parts = products(source_ptr, exchanged, goes_on, u, ACC, PRECISION, UPCAST)
        u_r, u_z, u_n, _ = folded4(parts[0], parts[1], parts[2], parts[2])
        if SYNC:
            u_n += poison(alive, ACC)
        r = sigmoid(a_r + u_r)
        z = sigmoid(a_z + u_z)
        inner = u_n + bias
        n = tanh(a_n + r * inner)
        new_h = n + z * (h - n)
        place_h = now * (R * H) + narrow
        new_h = zoned(h, new_h, zoneout_h_ptr, SHARE_H, place_h, inside)
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
        tl.store(y_ptr + place_h, out, mask=inside)
        if saved_ptr is not None:
            keep = now * (R * 4 * H)
            tl.store(saved_ptr + keep + saved_wide, r, mask=inside)
            tl.store(saved_ptr + keep + H + saved_wide, z, mask=inside)
            tl.store(saved_ptr + keep + 2 * H + saved_wide, n, mask=inside)
            tl.store(saved_ptr + keep + 3 * H + saved_wide, inner, mask=inside)
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
    saved_ptr,
    before_ptr,
    weight_ptr,
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
    wide_column = direction * 2 * H + column
    state = rows[:, None] * (R * H) + (column + own)[None, :]
    narrow = local[:, None] * (T * R * H) + (column + own)[None, :]
    wide = local[:, None] * (T * R * 3 * H) + (wide_column + own)[None, :]
    saved_wide = local[:, None] * (T * R * 4 * H) + (wide_column + direction * H + own)[None, :]
    first = tile.to(tl.int64) * BLOCK_B * T
    P: tl.constexpr = W * K * CHUNKS  # units of a head in the exchange, padded
    exchanged = rows * (3 * heads * P) + head * P
    slot = tl.cdiv(B, BLOCK_B) * BLOCK_B * 3 * heads * P

    u_ptr = weight_ptr + wide_column * D
    u = resident(u_ptr, H * D, own, D, 1, D, 3, W, K, CHUNKS)
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
        place = now * (R * 3 * H)
        keep = now * (R * 4 * H)
        out = now * (R * H) + narrow
        r = tl.load(saved_ptr + keep + saved_wide, mask=inside, other=0.0).to(ACC)
        z = tl.load(saved_ptr + keep + H + saved_wide, mask=inside, other=0.0).to(ACC)
        n = tl.load(saved_ptr + keep + 2 * H + saved_wide, mask=inside, other=0.0).to(ACC)
        inner = tl.load(saved_ptr + keep + 3 * H + saved_wide, mask=inside, other=0.0).to(ACC)
        before = tl.load(before_ptr + out, mask=inside, other=0.0).to(ACC)
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
        stays = tl.zeros((BLOCK_B, UNITS), ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            stays, dout = parted(dout, zoneout_h_ptr, SHARE_H, out, inside)
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
            tl.store(slot_ptr + gate * heads * P, share, mask=inside)
        if SYNC:
            arrive(counter_ptr)
        tl.store(dgates_ptr + place + wide, d_r, mask=inside)
        tl.store(dgates_ptr + place + H + wide, d_z, mask=inside)
        tl.store(dgates_ptr + place + 2 * H + wide, d_n, mask=inside)
        tl.store(dinner_ptr + out, d_inner, mask=inside)
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
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
    save: bool,
    plan: Plan | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and, to ``save`` but not to recompute, r, z, n, U h + b'."""
    launch = Launch("gru", "forward", gates_BTG, weight_GD, walk, plan)
    batch, steps, width = launch.batch, launch.steps, launch.width
    y_BTH, h_BH = gates_BTG.new_empty(batch, steps, width), empty_as(h0_BH)
    shape = (batch, steps, 4 * width)
    saved = gates_BTG.new_empty(shape) if save and not walk.recompute else None
    launch(
        forward_kernel,
        (gates_BTG, weight_GD, h0_BH, bias_n_H),
        (y_BTH, h_BH, saved),
        h0_BH,
    )
    return y_BTH, h_BH, gates_BTG.new_empty(0) if saved is None else saved


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    saved: Tensor,
    before_BTH: Tensor,
    weight_GD: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
    plan: Plan | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, of n's inner product U h + b', and of h0.

    Args:
        saved: what the forward scan saved; to recompute it the gates that it took.
        before_BTH: h_{t-1}, as it was before dropout.
    """
    if walk.recompute:
        saved = gru_gates(saved, before_BTH, weight_GD, bias_n_H, walk)
    batch, steps, width = before_BTH.shape
    dgates_BTG = before_BTH.new_empty(batch, steps, 3 * width)
    dinner_BTH, dh0_BH = empty_as(before_BTH), empty_as(dh_BH)
    Launch("gru", "backward", dgates_BTG, weight_GD, walk, plan)(
        backward_kernel,
        (dy_BTH, dh_BH, saved, before_BTH, weight_GD),
        (dgates_BTG, dinner_BTH, dh0_BH),
    )
    return dgates_BTG, dinner_BTH, dh0_BH
