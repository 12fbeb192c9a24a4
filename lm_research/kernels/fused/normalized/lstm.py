"""The LSTM's scan with layer normalization, forward and backward.

U arrives with its mean row taken off (:func:`lm_research.kernels.normalized.scans.centred`), so
U h has mean 0 over a head at every step and its normalization is one sum of squares. The backward
scan computes the gates anew, from U h of all steps, which is one product before it.

Shapes: B batch, T time, G 4 x H, H hidden size, D head size, N heads.
"""

import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.fused.arithmetic import product, sigmoid, tanh
from lm_research.kernels.fused.launch import Launch, turned
from lm_research.kernels.fused.normalized.memory import per_head, per_tile
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@triton.jit(do_not_specialize=["B", "T"])
def forward_kernel(
    gates_ptr,
    turned_ptr,
    gain_ptr,
    gain_c_ptr,
    bias_c_ptr,
    h0_ptr,
    c0_ptr,
    lengths_ptr,
    reset_ptr,
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
    HAS_LENGTHS: tl.constexpr,
    HAS_RESET: tl.constexpr,
    REVERSE: tl.constexpr,
    SAVE: tl.constexpr,
    EPS: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """All steps of a batch tile and head; see the module for the layout."""
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    local = tl.arange(0, BLOCK_B)
    rows = tl.program_id(0) * BLOCK_B + local
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    columns = tl.arange(0, BLOCK_D)
    units = tl.program_id(1) * D + columns
    heads = tl.num_programs(1)
    here = rows < B
    column = (columns < D)[None, :]
    inside = here[:, None] & column
    state = rows.to(tl.int64)[:, None] * H + units[None, :]
    narrow = local[:, None] * (T * H) + units[None, :]
    wide = local[:, None] * (T * 4 * H) + units[None, :]

    square = (columns < D)[:, None] & column
    straight = units[:, None] * D + columns[None, :]
    u_i = tl.load(turned_ptr + straight, mask=square, other=0.0)
    u_f = tl.load(turned_ptr + H * D + straight, mask=square, other=0.0)
    u_g = tl.load(turned_ptr + 2 * H * D + straight, mask=square, other=0.0)
    u_o = tl.load(turned_ptr + 3 * H * D + straight, mask=square, other=0.0)
    gain_i = tl.load(gain_ptr + units, mask=columns < D, other=0.0)[None, :]
    gain_f = tl.load(gain_ptr + H + units, mask=columns < D, other=0.0)[None, :]
    gain_g = tl.load(gain_ptr + 2 * H + units, mask=columns < D, other=0.0)[None, :]
    gain_o = tl.load(gain_ptr + 3 * H + units, mask=columns < D, other=0.0)[None, :]
    gain_c = tl.load(gain_c_ptr + units, mask=columns < D, other=0.0)[None, :]
    bias_c = tl.load(bias_c_ptr + units, mask=columns < D, other=0.0)[None, :]

    h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
    c = tl.load(c0_ptr + state, mask=inside, other=0.0).to(ACC)
    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    step = 0
    while step < T:
        t = T - 1 - step if REVERSE else step
        now = first + t
        if HAS_RESET:
            kept = tl.load(reset_ptr + now + local * T, mask=here, other=0) == 0
            h = tl.where(kept[:, None], h, 0.0)
            c = tl.where(kept[:, None], c, 0.0)
        place = now * (4 * H)
        a_i = tl.load(gates_ptr + place + wide, mask=inside, other=0.0).to(ACC)
        a_f = tl.load(gates_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
        a_g = tl.load(gates_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
        a_o = tl.load(gates_ptr + place + 3 * H + wide, mask=inside, other=0.0).to(ACC)
        operand = h.to(u_i.dtype)
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
        mean = tl.sum(new_c, 1) / D
        deviation = tl.where(column, new_c - mean[:, None], 0.0)
        scale_c = tl.rsqrt(tl.sum(deviation * deviation, 1) / D + EPS)
        new_h = o * tanh(gain_c * deviation * scale_c[:, None] + bias_c)
        out = now * H
        if SAVE:
            tl.store(before_ptr + out + narrow, c, mask=inside)
            head = (now + local * T) * heads + tl.program_id(1)
            tl.store(scale_ptr + head, scale, mask=here)
            tl.store(mean_c_ptr + head, mean, mask=here)
            tl.store(scale_c_ptr + head, scale_c, mask=here)
        if HAS_LENGTHS:
            real = (t < lengths)[:, None]
            tl.store(y_ptr + out + narrow, tl.where(real, new_h, 0.0), mask=inside)
            h = tl.where(real, new_h, h)
            c = tl.where(real, new_c, c)
        else:
            tl.store(y_ptr + out + narrow, new_h, mask=inside)
            h = new_h
            c = new_c
        step += 1
    tl.store(h_ptr + state, h, mask=inside)
    tl.store(c_ptr + state, c, mask=inside)


@triton.jit(do_not_specialize=["B", "T"])
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
    lengths_ptr,
    reset_ptr,
    dgates_ptr,
    dproducts_ptr,
    dh0_ptr,
    dc0_ptr,
    dgain_ptr,
    dgain_c_ptr,
    dbias_c_ptr,
    B,
    T,
    H,
    D,
    HAS_LENGTHS: tl.constexpr,
    HAS_RESET: tl.constexpr,
    REVERSE: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """All steps against the forward scan's order; writes gradients of the gates and of U h."""
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    local = tl.arange(0, BLOCK_B)
    rows = tl.program_id(0) * BLOCK_B + local
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    columns = tl.arange(0, BLOCK_D)
    units = tl.program_id(1) * D + columns
    heads = tl.num_programs(1)
    here = rows < B
    column = (columns < D)[None, :]
    inside = here[:, None] & column
    state = rows.to(tl.int64)[:, None] * H + units[None, :]
    narrow = local[:, None] * (T * H) + units[None, :]
    wide = local[:, None] * (T * 4 * H) + units[None, :]

    square = (columns < D)[:, None] & column
    straight = units[:, None] * D + columns[None, :]
    u_i = tl.load(weight_ptr + straight, mask=square, other=0.0)
    u_f = tl.load(weight_ptr + H * D + straight, mask=square, other=0.0)
    u_g = tl.load(weight_ptr + 2 * H * D + straight, mask=square, other=0.0)
    u_o = tl.load(weight_ptr + 3 * H * D + straight, mask=square, other=0.0)
    gain_i = tl.load(gain_ptr + units, mask=columns < D, other=0.0)[None, :]
    gain_f = tl.load(gain_ptr + H + units, mask=columns < D, other=0.0)[None, :]
    gain_g = tl.load(gain_ptr + 2 * H + units, mask=columns < D, other=0.0)[None, :]
    gain_o = tl.load(gain_ptr + 3 * H + units, mask=columns < D, other=0.0)[None, :]
    gain_c = tl.load(gain_c_ptr + units, mask=columns < D, other=0.0)[None, :]
    bias_c = tl.load(bias_c_ptr + units, mask=columns < D, other=0.0)[None, :]
    dgain_i = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dgain_f = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dgain_g = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dgain_o = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dgain_c = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dbias_c = tl.zeros((BLOCK_B, BLOCK_D), ACC)

    dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    dc = tl.load(dc_ptr + state, mask=inside, other=0.0).to(ACC)
    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    step = 0
    while step < T:
        t = step if REVERSE else T - 1 - step
        now = first + t
        place = now * (4 * H)
        out = now * H
        head = (now + local * T) * heads + tl.program_id(1)
        dout = dh
        dcell = dc
        live = inside
        if HAS_LENGTHS:  # what is beyond a row's length is neither read nor of any weight
            real = (t < lengths)[:, None]
            live = inside & real
            dout = tl.where(real, dh, 0.0)
            dcell = tl.where(real, dc, 0.0)
        scale = tl.load(scale_ptr + head, mask=here, other=0.0)[:, None]
        mean = tl.load(mean_c_ptr + head, mask=here, other=0.0)[:, None]
        scale_c = tl.load(scale_c_ptr + head, mask=here, other=0.0)[:, None]
        p_i = tl.load(products_ptr + place + wide, mask=live, other=0.0).to(ACC) * scale
        p_f = tl.load(products_ptr + place + H + wide, mask=live, other=0.0).to(ACC) * scale
        p_g = tl.load(products_ptr + place + 2 * H + wide, mask=live, other=0.0).to(ACC) * scale
        p_o = tl.load(products_ptr + place + 3 * H + wide, mask=live, other=0.0).to(ACC) * scale
        a_i = tl.load(gates_ptr + place + wide, mask=live, other=0.0).to(ACC)
        a_f = tl.load(gates_ptr + place + H + wide, mask=live, other=0.0).to(ACC)
        a_g = tl.load(gates_ptr + place + 2 * H + wide, mask=live, other=0.0).to(ACC)
        a_o = tl.load(gates_ptr + place + 3 * H + wide, mask=live, other=0.0).to(ACC)
        before = tl.load(before_ptr + out + narrow, mask=live, other=0.0)
        dout += tl.load(dy_ptr + out + narrow, mask=live, other=0.0).to(ACC)
        i = sigmoid(a_i + gain_i * p_i)
        f = sigmoid(a_f + gain_f * p_f)
        g = tanh(a_g + gain_g * p_g)
        o = sigmoid(a_o + gain_o * p_o)

        normal = tl.where(column, (f * before + i * g - mean) * scale_c, 0.0)
        squashed = tanh(gain_c * normal + bias_c)
        dnormal = dout * o * (1.0 - squashed * squashed)
        dgain_c += dnormal * normal
        dbias_c += dnormal
        dnormal *= gain_c
        along = (tl.sum(dnormal * normal, 1) / D)[:, None]
        dnormal -= (tl.sum(dnormal, 1) / D)[:, None]
        dcell += tl.where(column, scale_c * (dnormal - normal * along), 0.0)

        d_i = dcell * g * i * (1.0 - i)
        d_f = dcell * before * f * (1.0 - f)
        d_g = dcell * i * (1.0 - g * g)
        d_o = dout * squashed * o * (1.0 - o)
        tl.store(dgates_ptr + place + wide, d_i, mask=inside)
        tl.store(dgates_ptr + place + H + wide, d_f, mask=inside)
        tl.store(dgates_ptr + place + 2 * H + wide, d_g, mask=inside)
        tl.store(dgates_ptr + place + 3 * H + wide, d_o, mask=inside)
        dgain_i += d_i * p_i
        dgain_f += d_f * p_f
        dgain_g += d_g * p_g
        dgain_o += d_o * p_o

        d_i *= gain_i
        d_f *= gain_f
        d_g *= gain_g
        d_o *= gain_o
        along = (tl.sum(d_i * p_i + d_f * p_f + d_g * p_g + d_o * p_o, 1) / (4 * D))[:, None]
        d_i = (scale * (d_i - p_i * along)).to(u_i.dtype)
        d_f = (scale * (d_f - p_f * along)).to(u_i.dtype)
        d_g = (scale * (d_g - p_g * along)).to(u_i.dtype)
        d_o = (scale * (d_o - p_o * along)).to(u_i.dtype)
        tl.store(dproducts_ptr + place + wide, d_i, mask=inside)
        tl.store(dproducts_ptr + place + H + wide, d_f, mask=inside)
        tl.store(dproducts_ptr + place + 2 * H + wide, d_g, mask=inside)
        tl.store(dproducts_ptr + place + 3 * H + wide, d_o, mask=inside)
        new_dh = product(d_i, u_i, ACC, PRECISION, UPCAST)
        new_dh += product(d_f, u_f, ACC, PRECISION, UPCAST)
        new_dh += product(d_g, u_g, ACC, PRECISION, UPCAST)
        new_dh += product(d_o, u_o, ACC, PRECISION, UPCAST)
        new_dc = dcell * f
        if HAS_LENGTHS:
            new_dh = tl.where(real, new_dh, dh)
            new_dc = tl.where(real, new_dc, dc)
        if HAS_RESET:
            kept = (tl.load(reset_ptr + now + local * T, mask=here, other=0) == 0)[:, None]
            new_dh = tl.where(kept, new_dh, 0.0)
            new_dc = tl.where(kept, new_dc, 0.0)
        dh = new_dh
        dc = new_dc
        step += 1
    tl.store(dh0_ptr + state, dh, mask=inside)
    tl.store(dc0_ptr + state, dc, mask=inside)
    tile = tl.program_id(0) * H + units
    tl.store(dgain_c_ptr + tile, tl.sum(dgain_c, 0), mask=columns < D)
    tl.store(dbias_c_ptr + tile, tl.sum(dbias_c, 0), mask=columns < D)
    tile = tl.program_id(0) * (4 * H) + units
    tl.store(dgain_ptr + tile, tl.sum(dgain_i, 0), mask=columns < D)
    tl.store(dgain_ptr + tile + H, tl.sum(dgain_f, 0), mask=columns < D)
    tl.store(dgain_ptr + tile + 2 * H, tl.sum(dgain_g, 0), mask=columns < D)
    tl.store(dgain_ptr + tile + 3 * H, tl.sum(dgain_o, 0), mask=columns < D)


def forward(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    c0_BH: Tensor,
    gain_G: Tensor,
    gain_c_H: Tensor,
    bias_c_H: Tensor,
    walk: Walk,
    save: bool,
    eps: float,
) -> tuple[Tensor, ...]:
    """Returns y_BTH, h_BH, c_BH and, for the backward pass, c_{t-1} (B, T, H) and statistics.

    These are 1 / sigma of U h, mean of c and 1 / sigma of c, each (B, T, N).
    """
    launch = Launch(gates_BTG, weight_GD, 4, walk)
    shape = launch.batch, launch.steps, launch.hidden
    y_BTH, h_BH, c_BH = gates_BTG.new_empty(shape), empty_as(h0_BH), empty_as(c0_BH)
    before = gain_G.new_empty(shape if save else (0,))
    statistics = [per_head(launch, gain_G, save) for _ in range(3)]
    launch(
        forward_kernel,
        (gates_BTG, turned(weight_GD), gain_G, gain_c_H, bias_c_H, h0_BH, c0_BH),
        (y_BTH, h_BH, c_BH, before, *statistics),
        SAVE=save,
        EPS=eps,
    )
    return y_BTH, h_BH, c_BH, before, *statistics


def backward(
    dstates: tuple[Tensor, ...], kept: tuple[Tensor, ...], weights: tuple[Tensor, ...], walk: Walk
) -> tuple[Tensor, ...]:
    """Gradients of the gates, of U h, h0 and c0, of the gains and of LN(c)'s bias.

    Args:
        dstates: gradients of y, h and c.
        kept: gates, U h_{t-1} of all steps, c_{t-1} and the three statistics.
        weights: U, its gain, LN(c)'s gain and bias.
        walk: the forward scan's.
    """
    (_, dh_BH, dc_BH), gates_BTG = dstates, kept[0]
    launch = Launch(gates_BTG, weights[0], 4, walk)
    states = [empty_as(like) for like in (gates_BTG, gates_BTG, dh_BH, dc_BH)]
    sums = [per_tile(launch, like) for like in weights[1:]]
    launch(backward_kernel, (*dstates, *kept, *weights), (*states, *sums))
    return *states, *(parts.sum(0) for parts in sums)
