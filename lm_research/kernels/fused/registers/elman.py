"""The Elman scan with U in registers; ``fused.elman`` says what lies where.

Shapes: B batch, T time, H hidden size, D head size (H if there is one head).
"""

from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2

from lm_research.kernels.fused.registers.launch import Launch
from lm_research.kernels.fused.registers.tile import (
    accumulator,
    cleared,
    direction,
    kept,
    matrix,
    offsets,
    operand,
    place,
    staging,
    tanh,
    write_state,
)
from lm_research.kernels.operators import empty_as
from lm_research.kernels.walk import Walk


@gluon.jit(do_not_specialize=["B", "T", "reverse"])
def forward_kernel(
    gates_ptr,
    weight_ptr,
    h0_ptr,
    lengths_ptr,
    reset_ptr,
    y_ptr,
    h_ptr,
    B,
    T,
    H,
    D,
    reverse,
    RELU: gl.constexpr,
    BLOCK_D: gl.constexpr,
):
    """All steps of a batch tile, head and direction, two in a round of the loop."""
    TYPE: gl.constexpr = weight_ptr.dtype.element_ty
    SUM: gl.constexpr = accumulator(gl.num_warps())
    LEFT: gl.constexpr = operand(0, SUM, TYPE)
    RIGHT: gl.constexpr = operand(1, SUM, TYPE)
    local, here, columns, inside = place(B, D, BLOCK_D, SUM)
    second, start, stride = direction(H, D, T, reverse)
    W = gl.num_programs(1) * D
    unit = gl.program_id(1) * D
    corner = gl.program_id(0).to(gl.int64) * 16
    first = corner * T + start
    state = offsets(local, unit + columns, W)
    narrow = offsets(local, unit + columns, T * W)

    u = matrix(weight_ptr + unit * D, D, True, BLOCK_D, RIGHT)
    even = gl.allocate_shared_memory(TYPE, [16, BLOCK_D], staging(16, BLOCK_D, TYPE))
    odd = gl.allocate_shared_memory(TYPE, [16, BLOCK_D], staging(16, BLOCK_D, TYPE))

    h = gl.load(h0_ptr + corner * W + state, mask=inside, other=0.0)
    a = gl.load(gates_ptr + first * W + narrow, mask=inside, other=0.0)
    if lengths_ptr is not None:
        lengths = gl.load(lengths_ptr + corner + local, mask=here, other=0).to(gl.int32)
    if reset_ptr is not None:
        reset_ptr += second.to(gl.int64) * B * T
        past = (local * T).to(gl.uint32)
        h = cleared(h, kept(reset_ptr + first, past, here))
    for pair in range(0, T, 2):
        for half in gl.static_range(2):
            step = pair + half
            now = first + stride * step
            alive = step < T
            stage = even if half == 0 else odd
            stage.store(h)
            total = a.to(gl.float32)
            later = first + stride * gl.minimum(step + 1, T - 1)
            a = gl.load(gates_ptr + later * W + narrow, mask=inside, other=0.0)
            if reset_ptr is not None:
                goes_on = kept(reset_ptr + later, past, here & (step + 1 < T))
            total = mma_v2(stage.load(LEFT), u, total)
            # total where total > 0 would make a zero of NaN, which has to be seen
            value = gl.where(total < 0.0, 0.0, total) if RELU else tanh(total, TYPE)
            new_h = value.to(TYPE)
            y = new_h
            real = alive
            if lengths_ptr is not None:
                real = (alive & (start + stride * step < lengths))[:, None]
                y = cleared(new_h, real)
            gl.store(y_ptr + now * W + narrow, y, mask=inside & alive)
            h = gl.where(real, new_h, stage.load(SUM))
            if reset_ptr is not None:
                h = cleared(h, goes_on)
    write_state(h_ptr, h, even, B, D)


@gluon.jit(do_not_specialize=["B", "T", "reverse"])
def backward_kernel(
    dy_ptr,
    dh_ptr,
    value_ptr,
    weight_ptr,
    lengths_ptr,
    reset_ptr,
    dgates_ptr,
    dh0_ptr,
    B,
    T,
    H,
    D,
    reverse,
    RELU: gl.constexpr,
    BLOCK_D: gl.constexpr,
):
    """All steps against the forward scan's order; writes gradients before the gates' f."""
    TYPE: gl.constexpr = weight_ptr.dtype.element_ty
    SUM: gl.constexpr = accumulator(gl.num_warps())
    LEFT: gl.constexpr = operand(0, SUM, TYPE)
    RIGHT: gl.constexpr = operand(1, SUM, TYPE)
    local, here, columns, inside = place(B, D, BLOCK_D, SUM)
    second, end, onward = direction(H, D, T, reverse)
    start = end + onward * (T - 1)
    stride = 0 - onward
    W = gl.num_programs(1) * D
    unit = gl.program_id(1) * D
    corner = gl.program_id(0).to(gl.int64) * 16
    first = corner * T + start
    state = offsets(local, unit + columns, W)
    narrow = offsets(local, unit + columns, T * W)

    u = matrix(weight_ptr + unit * D, D, False, BLOCK_D, RIGHT)
    even = gl.allocate_shared_memory(TYPE, [16, BLOCK_D], staging(16, BLOCK_D, TYPE))
    odd = gl.allocate_shared_memory(TYPE, [16, BLOCK_D], staging(16, BLOCK_D, TYPE))

    dh = gl.load(dh_ptr + corner * W + state, mask=inside, other=0.0).to(gl.float32)
    if lengths_ptr is not None:
        lengths = gl.load(lengths_ptr + corner + local, mask=here, other=0).to(gl.int32)
    if reset_ptr is not None:
        reset_ptr += second.to(gl.int64) * B * T
        past = (local * T).to(gl.uint32)
    value = gl.load(value_ptr + first * W + narrow, mask=inside, other=0.0)
    dy = gl.load(dy_ptr + first * W + narrow, mask=inside, other=0.0)
    for pair in range(0, T, 2):
        for half in gl.static_range(2):
            step = pair + half
            alive = step < T
            now = first + stride * gl.minimum(step, T - 1)
            later = first + stride * gl.minimum(step + 1, T - 1)
            stage = even if half == 0 else odd
            f = value.to(gl.float32)
            da = dh + dy.to(gl.float32)
            da = gl.where(f > 0.0, da, 0.0) if RELU else da * (1.0 - f * f)
            real = alive
            if lengths_ptr is not None:
                real = (alive & (start + stride * step < lengths))[:, None]
            da = gl.where(real, da, 0.0).to(TYPE)
            stage.store(da)
            gl.store(dgates_ptr + now * W + narrow, da, mask=inside & alive)
            value = gl.load(value_ptr + later * W + narrow, mask=inside, other=0.0)
            dy = gl.load(dy_ptr + later * W + narrow, mask=inside, other=0.0)
            if reset_ptr is not None:
                goes_on = kept(reset_ptr + now, past, here & alive)
            new_dh = mma_v2(stage.load(LEFT), u, gl.zeros([16, BLOCK_D], gl.float32, SUM))
            dh = gl.where(real, new_dh, dh)
            if reset_ptr is not None:
                dh = cleared(dh, goes_on)
    gl.store(dh0_ptr + corner * W + state, dh.to(TYPE), mask=inside)


def forward(
    gates_BTH: Tensor, weight_HD: Tensor, h0_BH: Tensor, walk: Walk, save: bool, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns y_BTH, h_BH and nothing else to save: f's values are y."""
    y_BTH, h_BH = empty_as(gates_BTH), empty_as(h0_BH)
    Launch(gates_BTH, weight_HD, 1, walk)(
        forward_kernel, (gates_BTH, weight_HD, h0_BH), (y_BTH, h_BH), RELU=relu
    )
    return y_BTH, h_BH, gates_BTH.new_empty(0)


def backward(
    dy_BTH: Tensor, dh_BH: Tensor, values_BTH: Tensor, weight_HD: Tensor, walk: Walk, relu: bool
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the gates and of h0; ``values_BTH`` are y."""
    dgates_BTH, dh0_BH = empty_as(values_BTH), empty_as(dh_BH)
    Launch(values_BTH, weight_HD, 1, walk)(
        backward_kernel,
        (dy_BTH, dh_BH, values_BTH, weight_HD),
        (dgates_BTH, dh0_BH),
        RELU=relu,
    )
    return dgates_BTH, dh0_BH
