"""What the cells share inside a kernel."""

import triton
import triton.language as tl


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow for any x."""
    e = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def tanh(x):
    """tanh without overflow, and without the cancellation that (1 - e) / (1 + e) has near 0.

    There its Taylor series is used, up to x^13: the next term is 6e-9 of x at the border.
    """
    size = tl.abs(x)
    e = tl.exp(-2.0 * size)
    far = (1.0 - e) / (1.0 + e)
    if x.dtype == tl.float64:
        near = far  # 2e-16 / x is far below what anybody asks of the interpreter
    else:
        s = x * x
        p = s * (-0.00886323552990 + s * 0.00359212803657)
        p = s * (-0.05396825396825 + s * (0.02186948853616 + p))
        near = size * (1.0 + s * (-0.33333333333333 + s * (0.13333333333333 + p)))
    value = tl.where(size < 0.3, near, far)
    return tl.where(x < 0, -value, value)


@triton.jit
def product(a, b, ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr):
    """a @ b, summed in ACC. UPCAST mends the interpreter, whose bfloat16 products are wrong."""
    if UPCAST:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision=PRECISION, out_dtype=ACC)
