"""The GRU's scan with layer normalization, forward and backward.

U arrives with its mean row taken off (:func:`lm_research.kernels.normalized.scans.centred`), so
U h has mean 0 over a head at every step, and its normalization needs one sum of squares. In the
backward scan U h of all steps is given: one product before it; gates are computed anew.

Shapes: B batch, T time, G 3 x H, H hidden size, D head size, R directions, P heads of all
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
    bias_ptr,
    h0_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    y_ptr,
    h_ptr,
    scale_ptr,
    B,
    T,
    H,
    D,
    reverse,
    SHARE_H: tl.constexpr,
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
    outputs = units + second * (2 * H)
    wide = local[:, None] * (T * 3 * W) + outputs[None, :]
    u_r = matrix(turned_ptr, outputs, columns, D)
    u_z = matrix(turned_ptr + H * D, outputs, columns, D)
    u_n = matrix(turned_ptr + 2 * H * D, outputs, columns, D)
    gain_r = tl.load(gain_ptr + outputs, mask=columns < D, other=0.0)[None, :]
    gain_z = tl.load(gain_ptr + H + outputs, mask=columns < D, other=0.0)[None, :]
    gain_n = tl.load(gain_ptr + 2 * H + outputs, mask=columns < D, other=0.0)[None, :]
    bias = tl.load(bias_ptr + units, mask=columns < D, other=0.0)[None, :]
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
        place = now * (3 * W) + wide
        a_r = tl.load(gates_ptr + place, mask=inside, other=0.0).to(ACC)
        a_z = tl.load(gates_ptr + place + H, mask=inside, other=0.0).to(ACC)
        a_n = tl.load(gates_ptr + place + 2 * H, mask=inside, other=0.0).to(ACC)
        seen = h
        if dropout_ptr is not None:
            seen *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
        operand = seen.to(u_r.dtype)
        p_r = product(operand, u_r, ACC, PRECISION, UPCAST)
        p_z = product(operand, u_z, ACC, PRECISION, UPCAST)
        p_n = product(operand, u_n, ACC, PRECISION, UPCAST)
        scale = tl.rsqrt(tl.sum(p_r * p_r + p_z * p_z + p_n * p_n, 1) / (3 * D) + EPS)
        r = sigmoid(a_r + gain_r * p_r * scale[:, None])
        z = sigmoid(a_z + gain_z * p_z * scale[:, None])
        n = tanh(a_n + r * (gain_n * p_n * scale[:, None] + bias))
        if scale_ptr is not None:
            head = (now + local * T) * tl.num_programs(1) + tl.program_id(1)
            tl.store(scale_ptr + head, scale, mask=rows < B)
        out = now * W + narrow
        new_h = zoned(h, n + z * (h - n), zoneout_h_ptr, SHARE_H, out, inside)
        if lengths_ptr is not None:
            real = (t < lengths)[:, None]
            tl.store(y_ptr + out, tl.where(real, new_h, 0.0), mask=inside)
            h = tl.where(real, new_h, h)
        else:
            tl.store(y_ptr + out, new_h, mask=inside)
            h = new_h
    tl.store(h_ptr + state, h, mask=inside)


@triton.jit(do_not_specialize=["B", "T", "reverse"])
def backward_kernel(
    dy_ptr,
    dh_ptr,
    gates_ptr,
    products_ptr,
    seen_ptr,
    scale_ptr,
    weight_ptr,
    gain_ptr,
    bias_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    dgates_ptr,
    dproducts_ptr,
    dh0_ptr,
    dgain_ptr,
    dbias_ptr,
    B,
    T,
    H,
    D,
    reverse,
    SHARE_H: tl.constexpr,
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
    outputs = units + second * (2 * H)
    wide = local[:, None] * (T * 3 * W) + outputs[None, :]
    u_r = matrix(weight_ptr, outputs, columns, D)
    u_z = matrix(weight_ptr + H * D, outputs, columns, D)
    u_n = matrix(weight_ptr + 2 * H * D, outputs, columns, D)
    gain_r = tl.load(gain_ptr + outputs, mask=columns < D, other=0.0)[None, :]
    gain_z = tl.load(gain_ptr + H + outputs, mask=columns < D, other=0.0)[None, :]
    gain_n = tl.load(gain_ptr + 2 * H + outputs, mask=columns < D, other=0.0)[None, :]
    bias = tl.load(bias_ptr + units, mask=columns < D, other=0.0)[None, :]
    dgain_r = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dgain_z = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dgain_n = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dbias = tl.zeros((BLOCK_B, BLOCK_D), ACC)
    dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=rows < B, other=0)
    if reset_ptr is not None:
        reset_ptr += second.to(tl.int64) * B * T
    for step in range(T):
        t = tl.where(against, step, T - 1 - step)
        now = first + t
        place = now * (3 * W) + wide
        out = now * W + narrow
        alive = rows < B
        if lengths_ptr is not None:  # beyond a row's length nothing is read, and its share is 0
            alive = alive & (t < lengths)
        live = alive[:, None] & (columns < D)[None, :]
        head = (now + local * T) * tl.num_programs(1) + tl.program_id(1)
        scale = tl.load(scale_ptr + head, mask=alive, other=0.0)[:, None]
        p_r = tl.load(products_ptr + place, mask=live, other=0.0).to(ACC) * scale
        p_z = tl.load(products_ptr + place + H, mask=live, other=0.0).to(ACC) * scale
        p_n = tl.load(products_ptr + place + 2 * H, mask=live, other=0.0).to(ACC) * scale
        a_r = tl.load(gates_ptr + place, mask=live, other=0.0).to(ACC)
        a_z = tl.load(gates_ptr + place + H, mask=live, other=0.0).to(ACC)
        a_n = tl.load(gates_ptr + place + 2 * H, mask=live, other=0.0).to(ACC)
        before = tl.load(seen_ptr + out, mask=live, other=0.0).to(ACC)
        dout = dh + tl.load(dy_ptr + out, mask=live, other=0.0).to(ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            stays, dout = parted(dout, zoneout_h_ptr, SHARE_H, out, inside)
        dout = tl.where(alive[:, None], dout, 0.0)
        r = sigmoid(a_r + gain_r * p_r)
        z = sigmoid(a_z + gain_z * p_z)
        inner = gain_n * p_n + bias
        n = tanh(a_n + r * inner)

        d_z = dout * (before - n) * z * (1.0 - z)
        d_n = dout * (1.0 - z) * (1.0 - n * n)
        d_r = d_n * inner * r * (1.0 - r)
        tl.store(dgates_ptr + place, d_r, mask=inside)
        tl.store(dgates_ptr + place + H, d_z, mask=inside)
        tl.store(dgates_ptr + place + 2 * H, d_n, mask=inside)
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
        tl.store(dproducts_ptr + place, d_r, mask=inside)
        tl.store(dproducts_ptr + place + H, d_z, mask=inside)
        tl.store(dproducts_ptr + place + 2 * H, d_n, mask=inside)
        new_dh = product(d_r, u_r, ACC, PRECISION, UPCAST)
        new_dh += product(d_z, u_z, ACC, PRECISION, UPCAST)
        new_dh += product(d_n, u_n, ACC, PRECISION, UPCAST)
        if dropout_ptr is not None:
            new_dh *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
        new_dh += dout * z
        if zoneout_h_ptr is not None or SHARE_H is not None:
            new_dh += stays
        if lengths_ptr is not None:
            new_dh = tl.where(alive[:, None], new_dh, dh)
        if reset_ptr is not None:
            new_dh = tl.where(kept(reset_ptr, now, local, rows, B, T), new_dh, 0.0)
        dh = new_dh
    tl.store(dh0_ptr + state, dh, mask=inside)
    tl.store(dbias_ptr + tl.program_id(0) * W + units, tl.sum(dbias, 0), mask=columns < D)
    sums = dgain_ptr + tl.program_id(0) * (3 * W) + outputs
    tl.store(sums, tl.sum(dgain_r, 0), mask=columns < D)
    tl.store(sums + H, tl.sum(dgain_z, 0), mask=columns < D)
    tl.store(sums + 2 * H, tl.sum(dgain_n, 0), mask=columns < D)


def forward(
    gates_BTG: Tensor,
    weight_GD: Tensor,
    h0_BH: Tensor,
    gain_G: Tensor,
    bias_n_H: Tensor,
    walk: Walk,
    save: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Returns y_BTH, h_BH and, to ``save``, 1 / sigma (B, T, P) of U h."""
    launch = Launch(gates_BTG, weight_GD, 3, walk, "layer_norm_gru")
    y_BTH = gates_BTG.new_empty(*gates_BTG.shape[:2], h0_BH.shape[1])
    h_BH, scale_BTP = empty_as(h0_BH), per_head(launch, gain_G) if save else None
    given = (gates_BTG, turned(weight_GD), gain_G, bias_n_H, h0_BH)
    launch(forward_kernel, given, (y_BTH, h_BH, scale_BTP), EPS=eps)
    return y_BTH, h_BH, scale_BTP


def backward(
    dstates: tuple[Tensor, ...], kept: tuple[Tensor, ...], weights: tuple[Tensor, ...], walk: Walk
) -> tuple[Tensor, ...]:
    """Gradients of the gates, of U h, of h0, of the gain and of b' of n.

    Args:
        dstates: gradients of y and h.
        kept: gates, U h_{t-1} of all steps, h_{t-1} and 1 / sigma.
        weights: U, its gain and b' of n.
        walk: the forward scan's.
    """
    gates_BTG = kept[0]
    launch = Launch(gates_BTG, weights[0], 3, walk, "layer_norm_gru")
    states = [empty_as(like) for like in (gates_BTG, gates_BTG, dstates[1])]
    sums = [per_tile(launch, like) for like in weights[1:]]
    launch(backward_kernel, (*dstates, *kept, *weights), (*states, *sums))
    return *states, *(parts.sum(0) for parts in sums)
