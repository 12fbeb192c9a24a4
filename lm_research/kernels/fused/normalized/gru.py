"""The GRU's scan with layer normalization, forward and backward.

U arrives with its mean row taken off (:func:`lm_research.kernels.normalized.scans.centred`), so
U h has mean 0 over a head at every step and its normalization is one sum of squares. The backward
scan computes the gates anew, from U h of all steps, which is one product before it.

Shapes: B batch, T time, G 3 x H, H hidden size, D head size, N heads.
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
    bias_ptr,
    h0_ptr,
    lengths_ptr,
    reset_ptr,
    y_ptr,
    h_ptr,
    scale_ptr,
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
    inside = here[:, None] & (columns < D)[None, :]
    state = rows.to(tl.int64)[:, None] * H + units[None, :]
    narrow = local[:, None] * (T * H) + units[None, :]
    wide = local[:, None] * (T * 3 * H) + units[None, :]

    square = (columns < D)[:, None] & (columns < D)[None, :]
    straight = units[:, None] * D + columns[None, :]
    u_r = tl.load(turned_ptr + straight, mask=square, other=0.0)
    u_z = tl.load(turned_ptr + H * D + straight, mask=square, other=0.0)
    u_n = tl.load(turned_ptr + 2 * H * D + straight, mask=square, other=0.0)
    gain_r = tl.load(gain_ptr + units, mask=columns < D, other=0.0)[None, :]
    gain_z = tl.load(gain_ptr + H + units, mask=columns < D, other=0.0)[None, :]
    gain_n = tl.load(gain_ptr + 2 * H + units, mask=columns < D, other=0.0)[None, :]
    bias = tl.load(bias_ptr + units, mask=columns < D, other=0.0)[None, :]

    h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    step = 0
    while step < T:
        t = T - 1 - step if REVERSE else step
        now = first + t
        if HAS_RESET:
            kept = tl.load(reset_ptr + now + local * T, mask=here, other=0) == 0
            h = tl.where(kept[:, None], h, 0.0)
        place = now * (3 * H)
        a_r = tl.load(gates_ptr + place + wide, mask=inside, other=0.0).to(ACC)
        a_z = tl.load(gates_ptr + place + H + wide, mask=inside, other=0.0).to(ACC)
        a_n = tl.load(gates_ptr + place + 2 * H + wide, mask=inside, other=0.0).to(ACC)
        operand = h.to(u_r.dtype)
        p_r = product(operand, u_r, ACC, PRECISION, UPCAST)
        p_z = product(operand, u_z, ACC, PRECISION, UPCAST)
        p_n = product(operand, u_n, ACC, PRECISION, UPCAST)
        scale = tl.rsqrt(tl.sum(p_r * p_r + p_z * p_z + p_n * p_n, 1) / (3 * D) + EPS)
        if SAVE:
            head = (now + local * T) * heads + tl.program_id(1)
            tl.store(scale_ptr + head, scale, mask=here)
        r = sigmoid(a_r + gain_r * p_r * scale[:, None])
        z = sigmoid(a_z + gain_z * p_z * scale[:, None])
        n = tanh(a_n + r * (gain_n * p_n * scale[:, None] + bias))
        new_h = n + z * (h - n)
        out = now * H
        if HAS_LENGTHS:
            real = (t < lengths)[:, None]
            tl.store(y_ptr + out + narrow, tl.where(real, new_h, 0.0), mask=inside)
            h = tl.where(real, new_h, h)
        else:
            tl.store(y_ptr + out + narrow, new_h, mask=inside)
            h = new_h
        step += 1
    tl.store(h_ptr + state, h, mask=inside)


@triton.jit(do_not_specialize=["B", "T"])
def backward_kernel(
    dy_ptr,
    dh_ptr,
    gates_ptr,
    products_ptr,
    before_ptr,
    scale_ptr,
    weight_ptr,
    gain_ptr,
    bias_ptr,
    lengths_ptr,
    reset_ptr,
    dgates_ptr,
    dproducts_ptr,
    dh0_ptr,
    dgain_ptr,
    dbias_ptr,
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
    inside = here[:, None] & (columns < D)[None, :]
    state = rows.to(tl.int64)[:, None] * H + units[None, :]
    narrow = local[:, None] * (T * H) + units[None, :]
    wide = local[:, None] * (T * 3 * H) + units[None, :]

    square = (columns < D)[:, None] & (columns < D)[None, :]
    straight = units[:, None] * D + columns[None, :]
    u_r = tl.load(weight_ptr + straight, mask=square, other=0.0)
    u_z = tl.load(weight_ptr + H * D + straight, mask=square, other=0.0)
    u_n = tl.load(weight_ptr + 2 * H * D + straight, mask=square, other=0.0)
    gain_r = tl.load(gain_ptr + units, mask=columns < D, other=0.0)[None, :]
    gain_z = tl.load(gain_ptr + H + units, mask=columns < D, other=0.0)[None, :]
    gain_n = tl.load(gain_ptr + 2 * H + units, mask=columns < D, other=0.0)[None, :]
    bias = tl.load(bias_ptr + units, mask=columns < D, other=0.0)[None, :]
    dgain_r = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dgain_z = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dgain_n = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dbias = tl.zeros((BLOCK_B, BLOCK_D), ACC)

    dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    step = 0
    while step < T:
        t = step if REVERSE else T - 1 - step
        now = first + t
        place = now * (3 * H)
        out = now * H
        head = (now + local * T) * heads + tl.program_id(1)
        dout = dh
        live = inside
        if HAS_LENGTHS:  # what is beyond a row's length is neither read nor of any weight
            real = (t < lengths)[:, None]
            live = inside & real
            dout = tl.where(real, dh, 0.0)
        scale = tl.load(scale_ptr + head, mask=here, other=0.0)[:, None]
        p_r = tl.load(products_ptr + place + wide, mask=live, other=0.0).to(ACC) * scale
        p_z = tl.load(products_ptr + place + H + wide, mask=live, other=0.0).to(ACC) * scale
        p_n = tl.load(products_ptr + place + 2 * H + wide, mask=live, other=0.0).to(ACC) * scale
        a_r = tl.load(gates_ptr + place + wide, mask=live, other=0.0).to(ACC)
        a_z = tl.load(gates_ptr + place + H + wide, mask=live, other=0.0).to(ACC)
        a_n = tl.load(gates_ptr + place + 2 * H + wide, mask=live, other=0.0).to(ACC)
        before = tl.load(before_ptr + out + narrow, mask=live, other=0.0).to(ACC)
        dout += tl.load(dy_ptr + out + narrow, mask=live, other=0.0).to(ACC)
        r = sigmoid(a_r + gain_r * p_r)
        z = sigmoid(a_z + gain_z * p_z)
        inner = gain_n * p_n + bias
        n = tanh(a_n + r * inner)

        d_z = dout * (before - n) * z * (1.0 - z)
        d_n = dout * (1.0 - z) * (1.0 - n * n)
        d_r = d_n * inner * r * (1.0 - r)
        tl.store(dgates_ptr + place + wide, d_r, mask=inside)
        tl.store(dgates_ptr + place + H + wide, d_z, mask=inside)
        tl.store(dgates_ptr + place + 2 * H + wide, d_n, mask=inside)
        d_n *= r
        dbias += d_n
        dgain_r += d_r * p_r
        dgain_z += d_z * p_z
        dgain_n += d_n * p_n

        d_r *= gain_r
        d_z *= gain_z
        d_n *= gain_n
        along = (tl.sum(d_r * p_r + d_z * p_z + d_n * p_n, 1) / (3 * D))[:, None]
        d_r = (scale * (d_r - p_r * along)).to(u_r.dtype)
        d_z = (scale * (d_z - p_z * along)).to(u_r.dtype)
        d_n = (scale * (d_n - p_n * along)).to(u_r.dtype)
        tl.store(dproducts_ptr + place + wide, d_r, mask=inside)
        tl.store(dproducts_ptr + place + H + wide, d_z, mask=inside)
        tl.store(dproducts_ptr + place + 2 * H + wide, d_n, mask=inside)
        new_dh = dout * z
        new_dh += product(d_r, u_r, ACC, PRECISION, UPCAST)
        new_dh += product(d_z, u_z, ACC, PRECISION, UPCAST)
        new_dh += product(d_n, u_n, ACC, PRECISION, UPCAST)
        if HAS_LENGTHS:
            new_dh = tl.where(real, new_dh, dh)
        if HAS_RESET:
            kept = tl.load(reset_ptr + now + local * T, mask=here, other=0) == 0
            new_dh = tl.where(kept[:, None], new_dh, 0.0)
        dh = new_dh
        step += 1
    tl.store(dh0_ptr + state, dh, mask=inside)
    tl.store(dbias_ptr + tl.program_id(0) * H + units, tl.sum(dbias, 0), mask=columns < D)
    tile = tl.program_id(0) * (3 * H) + units
    tl.store(dgain_ptr + tile, tl.sum(dgain_r, 0), mask=columns < D)
    tl.store(dgain_ptr + tile + H, tl.sum(dgain_z, 0), mask=columns < D)
    tl.store(dgain_ptr + tile + 2 * H, tl.sum(dgain_n, 0), mask=columns < D)


def forward(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    gain_G: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
    save: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and, for the backward pass, 1 / sigma (B, T, N) of U h."""
    launch = Launch(gates_BTG, weight_GD, 3, walk)
    y_BTH = gates_BTG.new_empty(launch.batch, launch.steps, launch.hidden)
    h_BH, scale = empty_as(h0_BH), per_head(launch, gain_G, save)
    launch(
        forward_kernel,
        (gates_BTG, turned(weight_GD), gain_G, bias_n_H, h0_BH),
        (y_BTH, h_BH, scale),
        SAVE=save,
        EPS=eps,
    )
    return y_BTH, h_BH, scale


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    gates_BTG: Tensor,
    products_BTG: Tensor,
    before_BTH: Tensor,
    scale_BTN: Tensor,
    weight_GD: Tensor,
    gain_G: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
) -> tuple[Tensor, ...]:
    """Returns the gradients of the gates, of U h, of h0, of the gain and of b' of n."""
    launch = Launch(gates_BTG, weight_GD, 3, walk)
    dgates_BTG, dproducts_BTG, dh0_BH = map(empty_as, (gates_BTG, gates_BTG, dh_BH))
    dgain, dbias = per_tile(launch, gain_G), per_tile(launch, bias_n_H)
    given = (dy_BTH, dh_BH, gates_BTG, products_BTG, before_BTH, scale_BTN)
    launch(
        backward_kernel,
        (*given, weight_GD, gain_G, bias_n_H),
        (dgates_BTG, dproducts_BTG, dh0_BH, dgain, dbias),
    )
    return dgates_BTG, dproducts_BTG, dh0_BH, dgain.sum(0), dbias.sum(0)
