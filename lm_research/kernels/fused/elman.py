"""The Elman scan, forward and backward, one program a batch tile and head.

h_t = f(a_t + U h_{t-1}), f being tanh or relu, whose derivative follows from h_t alone: nothing is
saved for the backward pass but y.

Shapes: B batch, T time, H hidden size, D head size (H if there is one head).
"""

import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.fused.arithmetic import product, tanh
from lm_research.kernels.fused.launch import Launch, turned
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@triton.jit(do_not_specialize=["B", "T"])
def forward_kernel(
    gates_ptr,
    turned_ptr,
    h0_ptr,
    lengths_ptr,
    reset_ptr,
    y_ptr,
    h_ptr,
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
    """All steps of a batch tile and head; see the module for the layout."""
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    local = tl.arange(0, BLOCK_B)
    rows = tl.program_id(0) * BLOCK_B + local
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    columns = tl.arange(0, BLOCK_D)
    units = tl.program_id(1) * D + columns
    here = rows < B
    inside = here[:, None] & (columns < D)[None, :]
    state = rows.to(tl.int64)[:, None] * H + units[None, :]
    narrow = local[:, None] * (T * H) + units[None, :]
    square = (columns < D)[:, None] & (columns < D)[None, :]
    u = tl.load(turned_ptr + units[:, None] * D + columns[None, :], mask=square, other=0.0)
    h = tl.load(h0_ptr + state, mask=inside, other=0.0).to(ACC)
    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    for step in range(T):
        t = T - 1 - step if REVERSE else step
        now = first + t
        if HAS_RESET:
            kept = tl.load(reset_ptr + now + local * T, mask=here, other=0) == 0
            h = tl.where(kept[:, None], h, 0.0)
        place = now * H
        a = tl.load(gates_ptr + place + narrow, mask=inside, other=0.0).to(ACC)
        a += product(h.to(u.dtype), u, ACC, PRECISION, UPCAST)
        # a where a > 0 would make a zero of NaN, which has to be seen
        new_h = tl.where(a < 0.0, 0.0, a) if RELU else tanh(a)
        if HAS_LENGTHS:
            real = (t < lengths)[:, None]
            tl.store(y_ptr + place + narrow, tl.where(real, new_h, 0.0), mask=inside)
            h = tl.where(real, new_h, h)
        else:
            tl.store(y_ptr + place + narrow, new_h, mask=inside)
            h = new_h
    tl.store(h_ptr + state, h, mask=inside)


@triton.jit(do_not_specialize=["B", "T"])
def backward_kernel(
    dy_ptr,
    dh_ptr,
    y_ptr,
    weight_ptr,
    lengths_ptr,
    reset_ptr,
    dgates_ptr,
    dh0_ptr,
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
    """All steps against the forward scan's order; writes gradients before the gates' f."""
    # A program's own offsets fit 32 bits; where its rows begin may need 64.
    local = tl.arange(0, BLOCK_B)
    rows = tl.program_id(0) * BLOCK_B + local
    first = tl.program_id(0).to(tl.int64) * BLOCK_B * T
    columns = tl.arange(0, BLOCK_D)
    units = tl.program_id(1) * D + columns
    here = rows < B
    inside = here[:, None] & (columns < D)[None, :]
    state = rows.to(tl.int64)[:, None] * H + units[None, :]
    narrow = local[:, None] * (T * H) + units[None, :]
    square = (columns < D)[:, None] & (columns < D)[None, :]
    u = tl.load(weight_ptr + units[:, None] * D + columns[None, :], mask=square, other=0.0)
    dh = tl.load(dh_ptr + state, mask=inside, other=0.0).to(ACC)
    if HAS_LENGTHS:
        lengths = tl.load(lengths_ptr + rows, mask=here, other=0)
    for step in range(T):
        t = step if REVERSE else T - 1 - step
        now = first + t
        place = now * H
        y = tl.load(y_ptr + place + narrow, mask=inside, other=0.0).to(ACC)
        da = dh + tl.load(dy_ptr + place + narrow, mask=inside, other=0.0).to(ACC)
        da = tl.where(y > 0.0, da, 0.0) if RELU else da * (1.0 - y * y)
        if HAS_LENGTHS:
            real = (t < lengths)[:, None]
            da = tl.where(real, da, 0.0)
        da = da.to(u.dtype)
        tl.store(dgates_ptr + place + narrow, da, mask=inside)
        new_dh = product(da, u, ACC, PRECISION, UPCAST)
        if HAS_LENGTHS:
            new_dh = tl.where(real, new_dh, dh)
        if HAS_RESET:
            kept = tl.load(reset_ptr + now + local * T, mask=here, other=0) == 0
            new_dh = tl.where(kept[:, None], new_dh, 0.0)
        dh = new_dh
    tl.store(dh0_ptr + state, dh, mask=inside)


def forward(
    gates_BTH: Tensor,
    weight_HD: Tensor,
    h0_BH: Tensor,
    walk: Walk,
    relu: bool,
) -> tuple[Tensor, Tensor]:
    """Returns y_BTH and h_BH."""
    y_BTH, h_BH = empty_as(gates_BTH), empty_as(h0_BH)
    Launch(gates_BTH, weight_HD, 1, walk)(
        forward_kernel,
        (gates_BTH, turned(weight_HD), h0_BH),
        (y_BTH, h_BH),
        RELU=relu,
    )
    return y_BTH, h_BH


def backward(
    dy_BTH: Tensor,
    dh_BH: Tensor,
    y_BTH: Tensor,
    weight_HD: Tensor,
    walk: Walk,
    relu: bool,
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the gates and of h0."""
    dgates_BTH, dh0_BH = empty_as(y_BTH), empty_as(dh_BH)
    Launch(y_BTH, weight_HD, 1, walk)(
        backward_kernel,
        (dy_BTH, dh_BH, y_BTH, weight_HD),
        (dgates_BTH, dh0_BH),
        RELU=relu,
    )
    return dgates_BTH, dh0_BH
