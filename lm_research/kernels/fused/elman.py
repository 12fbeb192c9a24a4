"""The Elman scan, forward and backward, one program a batch tile, head and direction.

h_t = f(a_t + U h_{t-1}), f being tanh or relu, whose derivative follows from its value: nothing is
saved for the backward pass but y. Where zoneout keeps a share of h_{t-1}, y is not f's value, which
is then saved, too; where it keeps all of some units, the others' y is.

Shapes: B batch, T time, H hidden size, D head size (H if there is one head), R directions.
"""

import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.fused.arithmetic import product, tanh
from lm_research.kernels.fused.launch import Launch, turned
from lm_research.kernels.fused.tile import direction, kept, matrix, parted, tile, zoned
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@triton.jit(do_not_specialize=["B", "T", "reverse"])
def forward_kernel(
    gates_ptr,
    turned_ptr,
    h0_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    y_ptr,
    h_ptr,
    saved_ptr,
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
    """All steps; see ``tile`` for the layout."""
    local, rows, columns, units, inside = tile(B, D, BLOCK_B, BLOCK_D)
    second, against = direction(H, D, reverse)
    W = tl.num_programs(1) * D
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    state = rows.to(tl.int64)[:, None] * W + units[None, :]
    narrow = local[:, None] * (T * W) + units[None, :]

    u = matrix(turned_ptr, units, columns, D)
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
        a += product(seen.to(u.dtype), u, ACC, PRECISION, UPCAST)
        # a where a > 0 would make a zero of NaN, which has to be seen
        new_h = tl.where(a < 0.0, 0.0, a) if RELU else tanh(a)
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
    weight_ptr,
    lengths_ptr,
    reset_ptr,
    dropout_ptr,
    zoneout_h_ptr,
    dgates_ptr,
    dh0_ptr,
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
    """All steps against the forward scan's order; writes gradients before the gates' f."""
    local, rows, columns, units, inside = tile(B, D, BLOCK_B, BLOCK_D)
    second, against = direction(H, D, reverse)
    W = tl.num_programs(1) * D
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    state = rows.to(tl.int64)[:, None] * W + units[None, :]
    narrow = local[:, None] * (T * W) + units[None, :]

    u = matrix(weight_ptr, units, columns, D)
    dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    if lengths_ptr is not None:
        lengths = tl.load(lengths_ptr + rows, mask=rows < B, other=0)
    if reset_ptr is not None:
        reset_ptr += second.to(tl.int64) * B * T
    for step in range(T):
        t = tl.where(against, step, T - 1 - step)
        now = first + t
        place = now * W + narrow
        value = tl.load(value_ptr + place, mask=inside, other=0.0).to(ACC)
        da = dh + tl.load(dy_ptr + place, mask=inside, other=0.0).to(ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            stays, da = parted(da, zoneout_h_ptr, SHARE_H, place, inside)
        da = tl.where(value > 0.0, da, 0.0) if RELU else da * (1.0 - value * value)
        if lengths_ptr is not None:
            real = (t < lengths)[:, None]
            da = tl.where(real, da, 0.0)
        da = da.to(u.dtype)
        tl.store(dgates_ptr + place, da, mask=inside)
        new_dh = product(da, u, ACC, PRECISION, UPCAST)
        if dropout_ptr is not None:
            new_dh *= tl.load(dropout_ptr + state, mask=inside, other=0.0).to(ACC)
        if zoneout_h_ptr is not None or SHARE_H is not None:
            new_dh += stays
        if lengths_ptr is not None:
            new_dh = tl.where(real, new_dh, dh)
        if reset_ptr is not None:
            new_dh = tl.where(kept(reset_ptr, now, local, rows, B, T), new_dh, 0.0)
        dh = new_dh
    tl.store(dh0_ptr + state, dh, mask=inside)


def forward(
    gates_BTH: Tensor, weight_HD: Tensor, h0_BH: Tensor, walk: Walk, save: bool, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and, if ``save`` and zoneout keeps a share, f's values."""
    y_BTH, h_BH = empty_as(gates_BTH), empty_as(h0_BH)
    keep = save and walk.share_h is not None
    values_BTH = gates_BTH.new_empty(gates_BTH.shape if keep else (0,))
    Launch(gates_BTH, weight_HD, 1, walk)(
        forward_kernel,
        (gates_BTH, turned(weight_HD), h0_BH),
        (y_BTH, h_BH, values_BTH if keep else None),
        RELU=relu,
    )
    return y_BTH, h_BH, values_BTH


def backward(
    dy_BTH: Tensor, dh_BH: Tensor, values_BTH: Tensor, weight_HD: Tensor, walk: Walk, relu: bool
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the gates and of h0; ``values_BTH`` are f's, or y."""
    dgates_BTH, dh0_BH = empty_as(values_BTH), empty_as(dh_BH)
    Launch(values_BTH, weight_HD, 1, walk)(
        backward_kernel,
        (dy_BTH, dh_BH, values_BTH, weight_HD),
        (dgates_BTH, dh0_BH),
        RELU=relu,
    )
    return dgates_BTH, dh0_BH
