"""The Elman network's scan with layer normalization, forward and backward.

U arrives with its mean row taken off (:func:`lm_research.kernels.normalized.scans.centred`), so
U h has mean 0 over a head at every step and its normalization is one sum of squares.

Shapes: B batch, T time, H hidden size, D head size, N heads.
"""

import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.fused.arithmetic import product, tanh
from lm_research.kernels.fused.launch import Launch, turned
from lm_research.kernels.fused.normalized.memory import per_head, per_tile
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@triton.jit(do_not_specialize=["B", "T"])
def forward_kernel(
    gates_ptr,
    turned_ptr,
    gain_ptr,
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
    RELU: tl.constexpr,
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
    square = (columns < D)[:, None] & (columns < D)[None, :]
    u = tl.load(turned_ptr + units[:, None] * D + columns[None, :], mask=square, other=0.0)
    gain = tl.load(gain_ptr + units, mask=columns < D, other=0.0)[None, :]
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
        place = now * H
        a = tl.load(gates_ptr + place + narrow, mask=inside, other=0.0).to(ACC)
        p = product(h.to(u.dtype), u, ACC, PRECISION, UPCAST)
        scale = tl.rsqrt(tl.sum(p * p, 1) / D + EPS)
        if SAVE:
            head = (now + local * T) * heads + tl.program_id(1)
            tl.store(scale_ptr + head, scale, mask=here)
        a += gain * p * scale[:, None]
        # a where a > 0 would make a zero of NaN, which has to be seen
        new_h = tl.where(a < 0.0, 0.0, a) if RELU else tanh(a)
        if HAS_LENGTHS:
            real = (t < lengths)[:, None]
            tl.store(y_ptr + place + narrow, tl.where(real, new_h, 0.0), mask=inside)
            h = tl.where(real, new_h, h)
        else:
            tl.store(y_ptr + place + narrow, new_h, mask=inside)
            h = new_h
        step += 1
    tl.store(h_ptr + state, h, mask=inside)


@triton.jit(do_not_specialize=["B", "T"])
def backward_kernel(
    dy_ptr,
    dh_ptr,
    y_ptr,
    products_ptr,
    scale_ptr,
    weight_ptr,
    gain_ptr,
    lengths_ptr,
    reset_ptr,
    dgates_ptr,
    dproducts_ptr,
    dh0_ptr,
    dgain_ptr,
    B,
    T,
    H,
    D,
    HAS_LENGTHS: tl.constexpr,
    HAS_RESET: tl.constexpr,
    REVERSE: tl.constexpr,
    RELU: tl.constexpr,
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
    square = (columns < D)[:, None] & (columns < D)[None, :]
    u = tl.load(weight_ptr + units[:, None] * D + columns[None, :], mask=square, other=0.0)
    gain = tl.load(gain_ptr + units, mask=columns < D, other=0.0)[None, :]
    dgain = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    step = 0
    while step < T:
        t = step if REVERSE else T - 1 - step
        now = first + t
        place = now * H
        head = (now + local * T) * heads + tl.program_id(1)
        live = inside
        if HAS_LENGTHS:
            real = (t < lengths)[:, None]
            live = inside & real
        y = tl.load(y_ptr + place + narrow, mask=live, other=0.0).to(ACC)
        p = tl.load(products_ptr + place + narrow, mask=live, other=0.0).to(ACC)
        scale = tl.load(scale_ptr + head, mask=here, other=0.0)[:, None]
        da = dh + tl.load(dy_ptr + place + narrow, mask=live, other=0.0).to(ACC)
        da = tl.where(y > 0.0, da, 0.0) if RELU else da * (1.0 - y * y)
        if HAS_LENGTHS:
            da = tl.where(real, da, 0.0)
        tl.store(dgates_ptr + place + narrow, da, mask=inside)
        p *= scale
        dgain += da * p
        da *= gain
        dp = scale * (da - p * (tl.sum(da * p, 1) / D)[:, None])
        dp = dp.to(u.dtype)
        tl.store(dproducts_ptr + place + narrow, dp, mask=inside)
        new_dh = product(dp, u, ACC, PRECISION, UPCAST)
        if HAS_LENGTHS:
            new_dh = tl.where(real, new_dh, dh)
        if HAS_RESET:
            kept = tl.load(reset_ptr + now + local * T, mask=here, other=0) == 0
            new_dh = tl.where(kept[:, None], new_dh, 0.0)
        dh = new_dh
        step += 1
    tl.store(dh0_ptr + state, dh, mask=inside)
    tile = tl.program_id(0) * H + units
    tl.store(dgain_ptr + tile, tl.sum(dgain, 0), mask=columns < D)


def forward(
    gates_BTH: Tensor,
    weight_HD: Tensor,
    h0_BH: Tensor,
    gain_H: Tensor,
    walk: Walk,
    relu: bool,
    save: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and, for the backward pass, 1 / sigma (B, T, N) of U h."""
    launch = Launch(gates_BTH, weight_HD, 1, walk)
    y_BTH, h_BH, scale = empty_as(gates_BTH), empty_as(h0_BH), per_head(launch, gain_H, save)
    launch(
        forward_kernel,
        (gates_BTH, turned(weight_HD), gain_H, h0_BH),
        (y_BTH, h_BH, scale),
        SAVE=save,
        RELU=relu,
        EPS=eps,
    )
    return y_BTH, h_BH, scale


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    y_BTH: Tensor,
    products_BTH: Tensor,
    scale_BTN: Tensor,
    weight_HD: Tensor,
    gain_H: Tensor,
    walk: Walk,
    relu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of the gates, of U h, of h0 and of the gain."""
    launch = Launch(y_BTH, weight_HD, 1, walk)
    dgates_BTH, dproducts_BTH = empty_as(y_BTH), empty_as(y_BTH)
    dh0_BH, dgain = empty_as(dh_BH), per_tile(launch, gain_H)
    launch(
        backward_kernel,
        (dy_BTH, dh_BH, y_BTH, products_BTH, scale_BTN, weight_HD, gain_H),
        (dgates_BTH, dproducts_BTH, dh0_BH, dgain),
        RELU=relu,
    )
    return dgates_BTH, dproducts_BTH, dh0_BH, dgain.sum(0)
