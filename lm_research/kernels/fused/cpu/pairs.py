"""Products of bfloat16, two numbers of K at a time, where the processor has them (AVX512-BF16).

A pair is 32 bits, the first number in the lower half. Sums are float32; numbers too small for a
normal float32 count as zero, as the processor has it.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from lm_research.kernels.fused.cpu.vectors import FEATURES, WIDTH, vector_type

PAIRS = WIDTH == 16 and bool(FEATURES.get("avx512bf16"))
"""Whether bfloat16 is multiplied as it is; else it becomes float32 first."""
PAIR = ir.IntType(32)
_NAME = "llvm.x86.avx512bf16.dpbf16ps.512"


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite knows no name for."""

    null = "0.0"

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_HALVES = ir.VectorType(_BFloat(), 2 * WIDTH)


def plus_products(builder: ir.IRBuilder, sums: ir.Value, a: ir.Value, b: ir.Value) -> Any:
    """sums + a_0 b_0 + a_1 b_1, of vectors of pairs."""
    floats = vector_type(WIDTH)
    signature = ir.FunctionType(floats, [floats, _HALVES, _HALVES])
    function = cgutils.get_or_insert_function(builder.module, signature, _NAME)
    parts = [builder.bitcast(part, _HALVES) for part in (a, b)]
    return builder.call(function, [sums, *parts])
