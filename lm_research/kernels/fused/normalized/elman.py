"""The Elman scan with layer normalization, forward and backward.

U arrives with its mean row taken off (:func:`lm_research.kernels.normalized.scans.centred`), so
U h has mean 0 over a head at every step, and its normalization needs one sum of squares. In the
backward scan U h of all steps is given: one product before it. f's values are y, unless zoneout
keeps a share of h_{t-1}.

Shapes: B batch, T time, H hidden size, D head size, R directions, P heads of all directions.
"""

import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.fused.arithmetic import product, tanh
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
    h0_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    y_ptr,
    h_ptr,
    saved_ptr,
    scale_ptr,
    B,
    T,
    H,
    D,
    reverse,
    SHARE_H: tl.constexpr,
    RELU: tl.constexpr,
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
    u = matrix(turned_ptr, units, columns, D)
    gain = tl.load(gain_ptr + units, mask=columns < D, other=0.0)[None, :]
    h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=rows < B, other=0)
    if reset_ptr is not None:
        reset_ptr += second.to(tl.int64) * B * T
    for step in range(T):
        t = tl.where(against, T - 1 - step, step)
        now = first + t
        if reset_ptr is not None:
            h = tl.where(kept(reset_ptr, now, local, rows, B, T), h, 0.0)
        place = now * W + narrow
        a = tl.load(gates_ptr + place, mask=inside, other=0.0).to(ACC)
        seen = h
        if dropout_ptr is not None:
            seen *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
        p = product(seen.to(u.dtype), u, ACC, PRECISION, UPCAST)
        scale = tl.rsqrt(tl.sum(p * p, 1) / D + EPS)
        a += gain * p * scale[:, None]
        # a where a > 0 would make a zero of NaN, which has to be seen
        new_h = tl.where(a < 0.0, 0.0, a) if RELU else tanh(a)
        if scale_ptr is not None:
            head = (now + local * T) * tl.num_programs(1) + tl.program_id(1)
            tl.store(scale_ptr + head, scale, mask=rows < B)
        if saved_ptr is not None:
            tl.store(saved_ptr + place, new_h, mask=inside)
        new_h = zoned(h, new_h, zoneout_h_ptr, SHARE_H, place, inside)
        if lengths_ptr is not None:
            real = (t < lengths)[:, None]
            tl.store(y_ptr + place, tl.where(real, new_h, 0.0), mask=inside)
            h = tl.where(real, new_h, h)
        else:
            tl.store(y_ptr + place, new_h, mask=inside)
            h = new_h
    tl.store(h_ptr + state, h, mask=inside)


@triton.jit(do_not_specialize=["B", "T", "reverse"])
def backward_kernel(
    dy_ptr,
    dh_ptr,
    value_ptr,
    products_ptr,
    scale_ptr,
    weight_ptr,
    gain_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    dgates_ptr,
    dproducts_ptr,
    dh0_ptr,
    dgain_ptr,
    B,
    T,
    H,
    D,
    reverse,
    SHARE_H: tl.constexpr,
    RELU: tl.constexpr,
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
    u = matrix(weight_ptr, units, columns, D)
    gain = tl.load(gain_ptr + units, mask=columns < D, other=0.0)[None, :]
    dgain = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=rows < B, other=0)
    if reset_ptr is not None:
        reset_ptr += second.to(tl.int64) * B * T
    for step in range(T):
        t = tl.where(against, step, T - 1 - step)
        now = first + t
        place = now * W + narrow
        alive = rows < B
        if lengths_ptr is not None:  # beyond a row's length nothing is read, and its share is 0
            alive = alive & (t < lengths)
        live = alive[:, None] & (columns < D)[None, :]
        head = (now + local * T) * tl.num_programs(1) + tl.program_id(1)
        scale = tl.load(scale_ptr + head, mask=alive, other=0.0)[:, None]
        value = tl.load(value_ptr + place, mask=live, other=0.0).to(ACC)
        p = tl.load(products_ptr + place, mask=live, other=0.0).to(ACC) * scale
        da = dh + tl.load(dy_ptr + place, mask=live, other=0.0).to(ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            stays, da = parted(da, zoneout_h_ptr, SHARE_H, place, inside)
        da = tl.where(value > 0.0, da, 0.0) if RELU else da * (1.0 - value * value)
        da = tl.where(alive[:, None], da, 0.0)
        tl.store(dgates_ptr + place, da, mask=inside)
        dgain += da * p
        da *= gain
        dp = (scale * (da - p * (tl.sum(da * p, 1) / D)[:, None])).to(u.dtype)
        tl.store(dproducts_ptr + place, dp, mask=inside)
        new_dh = product(dp, u, ACC, PRECISION, UPCAST)
        if dropout_ptr is not None:
            new_dh *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            new_dh += stays
        if lengths_ptr is not None:
            new_dh = tl.where(alive[:, None], new_dh, dh)
        if reset_ptr is not None:
            new_dh = tl.where(kept(reset_ptr, now, local, rows, B, T), new_dh, 0.0)
        dh = new_dh
    tl.store(dh0_ptr + state, dh, mask=inside)
    tl.store(dgain_ptr + tl.program_id(0) * W + units, tl.sum(dgain, 0), mask=columns < D)


def forward(
    gates_BTH: Tensor,
    weight_HD: Tensor,
    h0_BH: Tensor,
    gain_H: Tensor,
    walk: Walk,
    save: bool,
    relu: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Returns y_BTH, h_BH and, to ``save``, f's values if not y, and 1 / sigma (B, T, P)."""
    launch = Launch(gates_BTH, weight_HD, 1, walk)
    y_BTH, h_BH = empty_as(gates_BTH), empty_as(h0_BH)
    values_BTH = empty_as(gates_BTH) if save and walk.share_h is not None else None
    scale_BTP = per_head(launch, gain_H) if save else None
    launch(
        forward_kernel,
        (gates_BTH, turned(weight_HD), gain_H, h0_BH),
        (y_BTH, h_BH, values_BTH, scale_BTP),
        RELU=relu,
        EPS=eps,
    )
    return y_BTH, h_BH, values_BTH, scale_BTP


def backward(
    dstates: tuple[Tensor, ...],
    kept: tuple[Tensor, ...],
    weights: tuple[Tensor, ...],
    walk: Walk,
    relu: bool,
) -> tuple[Tensor, ...]:
    """Gradients of the gates, of U h, of h0 and of the gain.

    Args:
        dstates: gradients of y and h.
        kept: f's values, U h_{t-1} of all steps and 1 / sigma.
        weights: U and its gain.
        walk: the forward scan's.
        relu: whether f is.
    """
    values_BTH = kept[0]
    launch = Launch(values_BTH, weights[0], 1, walk)
    states = [empty_as(like) for like in (values_BTH, values_BTH, dstates[1])]
    dgain = per_tile(launch, weights[1])
    launch(backward_kernel, (*dstates, *kept, *weights), (*states, dgain), RELU=relu)
    return *states, dgain.sum(0)
