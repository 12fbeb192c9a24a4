"""Functions over rows of float32, written as expressions, run as the processor's vectors.

LLVM's own vectorizer gives up on a dozen rows that might overlap, so the vectors are spelled out:
an expression is built once for whole vectors and once for what is left of a row.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_FEATURES = binding.get_host_cpu_features()
WIDTH = 16 if _FEATURES.get("avx512f") else 8 if _FEATURES.get("avx2") else 4
"""Numbers of one vector."""
FLOAT, INDEX = ir.FloatType(), ir.IntType(64)
POINTER = types.CPointer(types.float32)
# exp(r) for |r| <= ln(2) / 2 to float32's last bit, highest power first, after 1 + r + r^2 (...)
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
_LN2 = (0.693359375, -2.12194440e-4)
"""In two parts, the first so short that whole multiples of it are exact."""
_ROUNDING = 1.5 * 2.0**23
"""What is added to it is rounded to a whole number, which the sum's last bits hold."""


def vector_type(width: int) -> ir.Type:
    """Of ``width`` numbers; of one, the number itself."""
    return FLOAT if width == 1 else ir.VectorType(FLOAT, width)


def constant(value: float, width: int) -> ir.Constant:
    """``value`` in every place."""
    return ir.Constant(vector_type(width), float(value) if width == 1 else [float(value)] * width)


class Vector:
    """An expression of numbers at the same places of several rows."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value, width: int) -> None:
        self.builder, self.value, self.width = builder, value, width

    def _of(self, value: ir.Value) -> "Vector":
        return Vector(self.builder, value, self.width)

    def _value(self, other: "Vector | float") -> ir.Value:
        return other.value if isinstance(other, Vector) else constant(other, self.width)

    def __add__(self, other: "Vector | float") -> "Vector":
        return self._of(self.builder.fadd(self.value, self._value(other)))

    def __mul__(self, other: "Vector | float") -> "Vector":
        return self._of(self.builder.fmul(self.value, self._value(other)))

    def __sub__(self, other: "Vector | float") -> "Vector":
        return self._of(self.builder.fsub(self.value, self._value(other)))

    def __rsub__(self, other: float) -> "Vector":
        return self._of(self.builder.fsub(self._value(other), self.value))

    def __rtruediv__(self, other: float) -> "Vector":
        return self._of(self.builder.fdiv(self._value(other), self.value))

    def _intrinsic(self, name: str, *others: "Vector | float") -> "Vector":
        kind = vector_type(self.width)
        suffix = "f32" if self.width == 1 else f"v{self.width}f32"
        signature = ir.FunctionType(kind, [kind] * (1 + len(others)))
        function = cgutils.get_or_insert_function(
            self.builder.module, signature, f"llvm.{name}.{suffix}"
        )
        values = [self.value, *map(self._value, others)]
        return self._of(self.builder.call(function, values))

    def times_plus(self, factor: "Vector | float", term: "Vector | float") -> "Vector":
        """self * factor + term, rounded once."""
        return self._intrinsic("fma", factor, term)

    def if_below(self, limit: float, then: "Vector", other: "Vector | float") -> "Vector":
        """``then`` where self < limit; ``other`` elsewhere, also where self is NaN."""
        below = self.builder.fcmp_ordered("<", self.value, self._value(limit))
        return self._of(self.builder.select(below, then.value, self._value(other)))

    def between(self, low: float, high: float) -> "Vector":
        """The nearest number from ``low`` to ``high``; NaN stays NaN."""
        least = self.if_below(low, self._of(constant(low, self.width)), self)
        return (0.0 - least).if_below(-high, self._of(constant(high, self.width)), least)

    def power_of_two(self) -> "Vector":
        """2^k of ``self`` = k + ``_ROUNDING``, -126 <= k <= 127: its last bits as an exponent."""
        whole = ir.IntType(32) if self.width == 1 else ir.VectorType(ir.IntType(32), self.width)

        def everywhere(value: int) -> ir.Constant:
            return ir.Constant(whole, value if self.width == 1 else [value] * self.width)

        exponent = self.builder.add(self.builder.bitcast(self.value, whole), everywhere(127))
        bits = self.builder.shl(exponent, everywhere(23))
        return self._of(self.builder.bitcast(bits, vector_type(self.width)))


def exp(x: Vector) -> Vector:
    """e^x, to the last bit or two; from -87 to 88, beyond which it stays what it is there."""
    bounded = x.between(-87.0, 88.0)
    shifted = bounded.times_plus(1 / math.log(2), _ROUNDING)
    twos = shifted - _ROUNDING
    rest = twos.times_plus(-_LN2[0], bounded)
    rest = twos.times_plus(-_LN2[1], rest)
    series = rest.times_plus(_EXP[0], _EXP[1])
    for coefficient in _EXP[2:]:
        series = series.times_plus(rest, coefficient)
    return (series * rest).times_plus(rest, rest + 1.0) * shifted.power_of_two()


def sigmoid(x: Vector) -> Vector:
    """1 / (1 + e^-x)."""
    return 1.0 / (exp(0.0 - x) + 1.0)


def tanh(x: Vector) -> Vector:
    """(e^2x - 1) / (e^2x + 1); near 0 by its series, where that difference loses digits."""
    square = x * x
    series = square.times_plus(-17 / 315, 2 / 15)
    series = square.times_plus(series, -1 / 3)
    near = (x * square).times_plus(series, x)
    return square.if_below(0.02, near, 1.0 - 2.0 / (exp(x * 2.0) + 1.0))


def rowwise(
    inputs: Sequence[str], outputs: Sequence[str], function: Callable[..., Sequence[Vector]]
) -> Any:
    """A function for compiled code: (pointers of the rows named, in order; their length).

    Args:
        inputs: rows that ``function`` is given, by position.
        outputs: rows that take what it returns; they may be inputs, too.
        function: of :class:`Vector`s.
    """
    names = (*inputs, *outputs)

    @intrinsic
    def over_a_row(typing: Any, pointers: Any, length: Any) -> Any:
        signature = types.void(types.UniTuple(POINTER, len(names)), types.intp)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            given = cgutils.unpack_tuple(builder, arguments[0], len(names))
            place = ir.Constant(INDEX, 0)
            for width in (WIDTH, 1):
                place = _loop(builder, given, place, arguments[1], width)
            return context.get_dummy_value()

        return signature, generate

    def _loop(
        builder: ir.IRBuilder, given: Any, start: ir.Value, length: ir.Value, width: int
    ) -> ir.Value:
        """As many whole vectors as there are; returns the place behind them."""
        before, head = builder.block, builder.append_basic_block()
        body, behind = builder.append_basic_block(), builder.append_basic_block()
        builder.branch(head)
        builder.position_at_end(head)
        place = builder.phi(INDEX)
        place.add_incoming(start, before)
        after = builder.add(place, ir.Constant(INDEX, width))
        builder.cbranch(builder.icmp_signed("<=", after, length), body, behind)
        builder.position_at_end(body)
        at = [
            builder.bitcast(builder.gep(row, [place]), vector_type(width).as_pointer())
            for row in given
        ]
        values = [Vector(builder, builder.load(row, align=4), width) for row in at[: len(inputs)]]
        for row, value in zip(at[len(inputs) :], function(*values), strict=True):
            builder.store(value.value, row, align=4)
        place.add_incoming(after, builder.block)
        builder.branch(head)
        builder.position_at_end(behind)
        return place

    return over_a_row
