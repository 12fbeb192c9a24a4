"""The LSTM's scan with layer normalization, forward and backward.

U arrives with its mean row taken off (:func:`lm_research.kernels.normalized.scans.centred`), so
U h has mean 0 over a head at every step, and its normalization needs one sum of squares. In the
backward scan U h of all steps is given: one product before it; gates are computed anew. h is made
from the cell before zoneout.

Shapes: B batch, T time, G 4 x H, H hidden size, D head size, R directions, P heads of all
directions.
"""

import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.fused.arithmetic import product, sigmoid, tanh
from lm_research.kernels.fused.launch import Launch, turned
from lm_research.kernels.fused.normalized.memory import per_head, per_tile
from lm_research.kernels.fused.tile import direction, kept, matrix, parted, tile, zoned
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@triton.jit(do_not_specialize=["B", "T", "reverse"])
def forward_kernel(
    gates_ptr,
    turned_ptr,
    gain_ptr,
    gain_c_ptr,
    bias_c_ptr,
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
    before_ptr,
    scale_ptr,
    mean_c_ptr,
    scale_c_ptr,
    B,
    T,
    H,
    D,
    reverse,
    SHARE_H: tl.constexpr,
    SHARE_C: tl.constexpr,
    EPS: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """All steps; see ``tile`` for the layout."""
    local, rows, columns, units, inside = tile(B, D, BLOCK_B, BLOCK_D)
    second, against = direction(H, D, reverse)
    W = tl.num_programs(1) * D
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    state = rows.to(tl.int64)[:, None] * W + units[None, :]
    narrow = local[:, None] * (T * W) + units[None, :]
    outputs = units + second * (3 * H)
    wide = local[:, None] * (T * 4 * W) + outputs[None, :]
    u_i = matrix(turned_ptr, outputs, columns, D)
    u_f = matrix(turned_ptr + H * D, outputs, columns, D)
    u_g = matrix(turned_ptr + 2 * H * D, outputs, columns, D)
    u_o = matrix(turned_ptr + 3 * H * D, outputs, columns, D)
    gain_i = tl.load(gain_ptr + outputs, mask=columns < D, other=0.0)[None, :]
    gain_f = tl.load(gain_ptr + H + outputs, mask=columns < D, other=0.0)[None, :]
    gain_g = tl.load(gain_ptr + 2 * H + outputs, mask=columns < D, other=0.0)[None, :]
    gain_o = tl.load(gain_ptr + 3 * H + outputs, mask=columns < D, other=0.0)[None, :]
    gain_c = tl.load(gain_c_ptr + units, mask=columns < D, other=0.0)[None, :]
    bias_c = tl.load(bias_c_ptr + units, mask=columns < D, other=0.0)[None, :]
    h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
    c = tl.load(c0_ptr + state, mask=inside, other=0.0).to(ACC)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=rows < B, other=0)
    if reset_ptr is not None:
        reset_ptr += second.to(tl.int64) * B * T
    for step in range(T):
        t = tl.where(against, T - 1 - step, step)
        now = first + t
        if reset_ptr is not None:
            goes_on = kept(reset_ptr, now, local, rows, B, T)
            h = tl.where(goes_on, h, 0.0)
            c = tl.where(goes_on, c, 0.0)
        place = now * (4 * W) + wide
        a_i = tl.load(gates_ptr + place, mask=inside, other=0.0).to(ACC)
        a_f = tl.load(gates_ptr + place + H, mask=inside, other=0.0).to(ACC)
        a_g = tl.load(gates_ptr + place + 2 * H, mask=inside, other=0.0).to(ACC)
        a_o = tl.load(gates_ptr + place + 3 * H, mask=inside, other=0.0).to(ACC)
        seen = h
        if dropout_ptr is not None:
            seen *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
        operand = seen.to(u_i.dtype)
        p_i = product(operand, u_i, ACC, PRECISION, UPCAST)
        p_f = product(operand, u_f, ACC, PRECISION, UPCAST)
        p_g = product(operand, u_g, ACC, PRECISION, UPCAST)
        p_o = product(operand, u_o, ACC, PRECISION, UPCAST)
        squares = tl.sum(p_i * p_i + p_f * p_f + p_g * p_g + p_o * p_o, 1)
        scale = tl.rsqrt(squares / (4 * D) + EPS)
        i = sigmoid(a_i + gain_i * p_i * scale[:, None])
        f = sigmoid(a_f + gain_f * p_f * scale[:, None])
        g = tanh(a_g + gain_g * p_g * scale[:, None])
        o = sigmoid(a_o + gain_o * p_o * scale[:, None])
        new_c = f * c + i * g
        mean_c = tl.sum(new_c, 1) / D
        deviation = tl.where((columns < D)[None, :], new_c - mean_c[:, None], 0.0)
        scale_c = tl.rsqrt(tl.sum(deviation * deviation, 1) / D + EPS)
        new_h = o * tanh(gain_c * deviation * scale_c[:, None] + bias_c)
        out = now * W + narrow
        if before_ptr is not None:
            tl.store(before_ptr + out, c, mask=inside)
            head = (now + local * T) * tl.num_programs(1) + tl.program_id(1)
            tl.store(scale_ptr + head, scale, mask=rows < B)
            tl.store(mean_c_ptr + head, mean_c, mask=rows < B)
            tl.store(scale_c_ptr + head, scale_c, mask=rows < B)
        new_h = zoned(h, new_h, zoneout_h_ptr, SHARE_H, out, inside)
        new_c = zoned(c, new_c, zoneout_c_ptr, SHARE_C, out, inside)
        if lengths_ptr is not None:
            real = (t < lengths)[:, None]
            tl.store(y_ptr + out, tl.where(real, new_h, 0.0), mask=inside)
            h = tl.where(real, new_h, h)
            c = tl.where(real, new_c, c)
        else:
            tl.store(y_ptr + out, new_h, mask=inside)
            h = new_h
            c = new_c
    tl.store(h_ptr + state, h, mask=inside)
    tl.store(c_ptr + state, c, mask=inside)


@triton.jit(do_not_specialize=["B", "T", "reverse"])
def backward_kernel(
    dy_ptr,
    dh_ptr,
    dc_ptr,
    gates_ptr,
    products_ptr,
    before_ptr,
    scale_ptr,
    mean_c_ptr,
    scale_c_ptr,
    weight_ptr,
    gain_ptr,
    gain_c_ptr,
    bias_c_ptr,
    zoneout_c_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    dgates_ptr,
    dproducts_ptr,
    dh0_ptr,
    dc0_ptr,
    dgain_c_ptr,
    dbias_c_ptr,
    B,
    T,
    H,
    D,
    reverse,
    SHARE_H: tl.constexpr,
    SHARE_C: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """All steps against the forward scan's order; writes gradients of the gates and of U h."""
    local, rows, columns, units, inside = tile(B, D, BLOCK_B, BLOCK_D)
    second, against = direction(H, D, reverse)
    W = tl.num_programs(1) * D
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    state = rows.to(tl.int64)[:, None] * W + units[None, :]
    narrow = local[:, None] * (T * W) + units[None, :]
    outputs = units + second * (3 * H)
    wide = local[:, None] * (T * 4 * W) + outputs[None, :]
    u_i = matrix(weight_ptr, outputs, columns, D)
    u_f = matrix(weight_ptr + H * D, outputs, columns, D)
    u_g = matrix(weight_ptr + 2 * H * D, outputs, columns, D)
    u_o = matrix(weight_ptr + 3 * H * D, outputs, columns, D)
    gain_i = tl.load(gain_ptr + outputs, mask=columns < D, other=0.0)[None, :]
    gain_f = tl.load(gain_ptr + H + outputs, mask=columns < D, other=0.0)[None, :]
    gain_g = tl.load(gain_ptr + 2 * H + outputs, mask=columns < D, other=0.0)[None, :]
    gain_o = tl.load(gain_ptr + 3 * H + outputs, mask=columns < D, other=0.0)[None, :]
    gain_c = tl.load(gain_c_ptr + units, mask=columns < D, other=0.0)[None, :]
    bias_c = tl.load(bias_c_ptr + units, mask=columns < D, other=0.0)[None, :]
    dgain_c = tl.zeros((BLOCK_D,), ACC)
    dbias_c = tl.zeros((BLOCK_D,), ACC)
    dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    dc = tl.load(dc_ptr + state, mask=inside, other=0.0).to(ACC)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=rows < B, other=0)
    if reset_ptr is not None:
        reset_ptr += second.to(tl.int64) * B * T
    for step in range(T):
        t = tl.where(against, step, T - 1 - step)
        now = first + t
        place = now * (4 * W) + wide
        out = now * W + narrow
        alive = rows < B
        if lengths_ptr is not None:  # beyond a row's length nothing is read, and its share is 0
            alive = alive & (t < lengths)
        live = alive[:, None] & (columns < D)[None, :]
        head = (now + local * T) * tl.num_programs(1) + tl.program_id(1)
        scale = tl.load(scale_ptr + head, mask=alive, other=0.0)[:, None]
        mean_c = tl.load(mean_c_ptr + head, mask=alive, other=0.0)[:, None]
        scale_c = tl.load(scale_c_ptr + head, mask=alive, other=0.0)[:, None]
        p_i = tl.load(products_ptr + place, mask=live, other=0.0).to(ACC) * scale
        p_f = tl.load(products_ptr + place + H, mask=live, other=0.0).to(ACC) * scale
        p_g = tl.load(products_ptr + place + 2 * H, mask=live, other=0.0).to(ACC) * scale
        p_o = tl.load(products_ptr + place + 3 * H, mask=live, other=0.0).to(ACC) * scale
        a_i = tl.load(gates_ptr + place, mask=live, other=0.0).to(ACC)
        a_f = tl.load(gates_ptr + place + H, mask=live, other=0.0).to(ACC)
        a_g = tl.load(gates_ptr + place + 2 * H, mask=live, other=0.0).to(ACC)
        a_o = tl.load(gates_ptr + place + 3 * H, mask=live, other=0.0).to(ACC)
        before = tl.load(before_ptr + out, mask=live, other=0.0)
        dout = dh + tl.load(dy_ptr + out, mask=live, other=0.0).to(ACC)
        dcell = dc
        if zoneout_h_ptr is not None or SHARE_H is not None:
            stays_h, dout = parted(dout, zoneout_h_ptr, SHARE_H, out, inside)
        if zoneout_c_ptr is not None or SHARE_C is not None:
            stays_c, dcell = parted(dcell, zoneout_c_ptr, SHARE_C, out, inside)
        dout = tl.where(alive[:, None], dout, 0.0)
        dcell = tl.where(alive[:, None], dcell, 0.0)
        i = sigmoid(a_i + gain_i * p_i)
        f = sigmoid(a_f + gain_f * p_f)
        g = tanh(a_g + gain_g * p_g)
        o = sigmoid(a_o + gain_o * p_o)

        # in columns beyond D the gains are 0, so that nothing there is of any weight
        normal = (f * before + i * g - mean_c) * scale_c
        squashed = tanh(gain_c * normal + bias_c)
        dnormal = dout * o * (1.0 - squashed * squashed)
        dgain_c += tl.sum(dnormal * normal, 0)
        dbias_c += tl.sum(dnormal, 0)
        dnormal *= gain_c
        along = (tl.sum(dnormal * normal, 1) / D)[:, None]
        dnormal -= (tl.sum(dnormal, 1) / D)[:, None]
        dcell += scale_c * (dnormal - normal * along)

        new_dc = dcell * f
        d_i = dcell * g * i * (1.0 - i)
        d_f = dcell * before * f * (1.0 - f)
        d_g = dcell * i * (1.0 - g * g)
        d_o = dout * squashed * o * (1.0 - o)
        tl.store(dgates_ptr + place, d_i, mask=inside)
        tl.store(dgates_ptr + place + H, d_f, mask=inside)
        tl.store(dgates_ptr + place + 2 * H, d_g, mask=inside)
        tl.store(dgates_ptr + place + 3 * H, d_o, mask=inside)

        d_i *= gain_i
        d_f *= gain_f
        d_g *= gain_g
        d_o *= gain_o
        along = (tl.sum(d_i * p_i + d_f * p_f + d_g * p_g + d_o * p_o, 1) / (4 * D))[:, None]
        d_i = (scale * (d_i - p_i * along)).to(u_i.dtype)
        d_f = (scale * (d_f - p_f * along)).to(u_i.dtype)
        d_g = (scale * (d_g - p_g * along)).to(u_i.dtype)
        d_o = (scale * (d_o - p_o * along)).to(u_i.dtype)
        tl.store(dproducts_ptr + place, d_i, mask=inside)
        tl.store(dproducts_ptr + place + H, d_f, mask=inside)
        tl.store(dproducts_ptr + place + 2 * H, d_g, mask=inside)
        tl.store(dproducts_ptr + place + 3 * H, d_o, mask=inside)
        new_dh = product(d_i, u_i, ACC, PRECISION, UPCAST)
        new_dh += product(d_f, u_f, ACC, PRECISION, UPCAST)
        new_dh += product(d_g, u_g, ACC, PRECISION, UPCAST)
        new_dh += product(d_o, u_o, ACC, PRECISION, UPCAST)
        if dropout_ptr is not None:
            new_dh *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            new_dh += stays_h
        if zoneout_c_ptr is not None or SHARE_C is not None:
            new_dc += stays_c
        if lengths_ptr is not None:
            new_dh = tl.where(alive[:, None], new_dh, dh)
            new_dc = tl.where(alive[:, None], new_dc, dc)
        if reset_ptr is not None:
            goes_on = kept(reset_ptr, now, local, rows, B, T)
            new_dh = tl.where(goes_on, new_dh, 0.0)
            new_dc = tl.where(goes_on, new_dc, 0.0)
        dh = new_dh
        dc = new_dc
    tl.store(dh0_ptr + state, dh, mask=inside)
    tl.store(dc0_ptr + state, dc, mask=inside)
    tl.store(dgain_c_ptr + tl.program_id(0) * W + units, dgain_c, mask=columns < D)
    tl.store(dbias_c_ptr + tl.program_id(0) * W + units, dbias_c, mask=columns < D)


def forward(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    states: tuple[Tensor, Tensor],
    norms: tuple[Tensor, Tensor, Tensor],
    walk: Walk,
    save: bool,
    eps: float,
) -> tuple[Tensor | None, ...]:
    """Returns y_BTH, h_BH, c_BH and, to ``save``, c_{t-1} (B, T, H) and statistics, each (B, T, P).

    These are 1 / sigma of U h, mean of c and 1 / sigma of c.

    Args:
        gates_BTG: the inputs' share.
        weight_GD: U without its mean row.
        states: h0 and c0.
        norms: the gain of LN(U h), gain and bias of LN(c).
        walk: over time.
        save: for the backward pass.
        eps: added to variances.
    """
    launch = Launch(gates_BTG, weight_GD, 4, walk, "layer_norm_lstm")
    shape = (*gates_BTG.shape[:2], states[0].shape[1])
    after = gates_BTG.new_empty(shape), empty_as(states[0]), empty_as(states[1])
    kept: list[Tensor | None] = [None] * 4
    if save:
        kept = [norms[0].new_empty(shape), *(per_head(launch, norms[0]) for _ in range(3))]
    given = (gates_BTG, turned(weight_GD), *norms, *states, walk.mask_c)
    launch(forward_kernel, given, (*after, *kept), SHARE_C=walk.share_c, EPS=eps)
    return *after, *kept


def backward(
    dstates: tuple[Tensor, ...], kept: tuple[Tensor, ...], weights: tuple[Tensor, ...], walk: Walk
) -> tuple[Tensor, ...]:
    """Gradients of the gates, of U h, of h0 and c0, of gain and bias of LN(c).

    Registers are too few for the gain of LN(U h) as well: its sum is left to the caller.

    Args:
        dstates: gradients of y, h and c.
        kept: gates, U h_{t-1} of all steps, c_{t-1} and the three statistics.
        weights: U, its gain, LN(c)'s gain and bias.
        walk: the forward scan's.
    """
    gates_BTG = kept[0]
    launch = Launch(gates_BTG, weights[0], 4, walk, "layer_norm_lstm")
    states = [empty_as(like) for like in (gates_BTG, gates_BTG, *dstates[1:])]
    sums = [per_tile(launch, like) for like in weights[2:]]
    given = (*dstates, *kept, *weights, walk.mask_c)
    launch(backward_kernel, given, (*states, *sums), SHARE_C=walk.share_c)
    return *states, *(parts.sum(0) for parts in sums)
