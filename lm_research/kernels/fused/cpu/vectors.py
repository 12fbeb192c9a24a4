"""Functions over rows of numbers, written as expressions, run as the processor's vectors.

LLVM's own vectorizer gives up on a dozen rows that might overlap, so the vectors are spelled out:
an expression is built once for whole vectors and once for what is left of a row. Rows are float32,
or bfloat16 as its 16 bits; expressions are float32 in either case.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

FEATURES = binding.get_host_cpu_features()
WIDTH = 16 if FEATURES.get("avx512f") else 8 if FEATURES.get("avx2") else 4
"""Numbers of one vector."""
FLOAT, INDEX = ir.FloatType(), ir.IntType(64)
POINTER = types.CPointer(types.float32)
HALF = types.CPointer(types.uint16)
"""To bfloat16, which numba knows no type for."""
_LARGEST = 9.0
"""Beyond it float32's tanh is 1."""
# tanh(x) = x P(x^2) / Q(x^2) up to there, highest power first: fitted to the least largest relative
# error (Lawson's weights), which is 2.1e-8; in float32 3.3e-7
_ABOVE = (1.335467547e-8, 2.060909306e-5, 3.495588804e-3, 0.1338102622, 0.9999999795)
_BELOW = (7.77656422e-7, 3.285635909e-4, 2.58769848e-2, 0.4671434181, 1.0)


def vector_type(width: int) -> ir.Type:
    """Of ``width`` numbers; of one, the number itself."""
    return FLOAT if width == 1 else ir.VectorType(FLOAT, width)


def constant(value: float, width: int) -> ir.Constant:
    """``value`` in every place."""
    return ir.Constant(vector_type(width), float(value) if width == 1 else [float(value)] * width)


def _whole(bits: int, width: int) -> ir.Type:
    """Of ``width`` integers."""
    return ir.IntType(bits) if width == 1 else ir.VectorType(ir.IntType(bits), width)


def _everywhere(value: int, width: int) -> ir.Constant:
    return ir.Constant(_whole(32, width), value if width == 1 else [value] * width)


def load(builder: ir.IRBuilder, kind: Any, row: ir.Value, place: ir.Value, width: int) -> ir.Value:
    """``width`` numbers of a row of ``kind`` (POINTER or HALF), as float32."""
    at = builder.gep(row, [place])
    if kind == POINTER:
        return builder.load(builder.bitcast(at, vector_type(width).as_pointer()), align=4)
    bits = builder.load(builder.bitcast(at, _whole(16, width).as_pointer()), align=2)
    upper = builder.shl(builder.zext(bits, _whole(32, width)), _everywhere(16, width))
    return builder.bitcast(upper, vector_type(width))


def store(
    builder: ir.IRBuilder, kind: Any, value: ir.Value, row: ir.Value, place: ir.Value, width: int
) -> None:
    """The reverse; bfloat16 is the nearest, of two the even one, and NaN stays NaN."""
    at = builder.gep(row, [place])
    if kind == POINTER:
        builder.store(value, builder.bitcast(at, vector_type(width).as_pointer()), align=4)
        return
    bits = builder.bitcast(value, _whole(32, width))
    sixteen = _everywhere(16, width)
    odd = builder.and_(builder.lshr(bits, sixteen), _everywhere(1, width))
    rounded = builder.add(builder.add(bits, _everywhere(0x7FFF, width)), odd)
    nan = builder.fcmp_unordered("uno", value, value)
    kept = builder.select(nan, _everywhere(0x7FC00000, width), rounded)
    half = builder.trunc(builder.lshr(kept, sixteen), _whole(16, width))
    builder.store(half, builder.bitcast(at, _whole(16, width).as_pointer()), align=2)


def is_half(kind: Any) -> bool:
    """Whether numbers behind a pointer, or of an array, are bfloat16's bits."""
    return bool(kind.dtype == types.uint16)


def kind_of(array: Any) -> Any:
    """Of a pointer into an array that numba has the type of."""
    return HALF if array.dtype == types.uint16 else POINTER


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

    def __truediv__(self, other: "Vector | float") -> "Vector":
        return self._of(self.builder.fdiv(self.value, self._value(other)))

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

    def everywhere(self, value: float) -> "Vector":
        """``value`` in every place, whatever is there (0 times inf would be NaN)."""
        return self._of(constant(value, self.width))

    def if_below(self, limit: float, then: "Vector | float", other: "Vector | float") -> "Vector":
        """``then`` where self < limit; ``other`` elsewhere, also where self is NaN."""
        return self._if("<", limit, then, other)

    def if_at_most(self, limit: float, then: "Vector | float", other: "Vector | float") -> "Vector":
        """``then`` where self <= limit; ``other`` elsewhere, also where self is NaN."""
        return self._if("<=", limit, then, other)

    def _if(
        self, sign: str, limit: float, then: "Vector | float", other: "Vector | float"
    ) -> "Vector":
        true = self.builder.fcmp_ordered(sign, self.value, self._value(limit))
        return self._of(self.builder.select(true, self._value(then), self._value(other)))

    def between(self, low: float, high: float) -> "Vector":
        """The nearest number from ``low`` to ``high``; NaN stays NaN."""
        least, limit = self.if_below(low, low, self), self.everywhere(high)
        below = self.builder.fcmp_ordered("<", limit.value, least.value)
        return self._of(self.builder.select(below, limit.value, least.value))

    def polynomial(self, coefficients: Sequence[float]) -> "Vector":
        """Of self, by Horner; the highest power's coefficient first."""
        total = self.times_plus(coefficients[0], coefficients[1])
        for coefficient in coefficients[2:]:
            total = total.times_plus(self, coefficient)
        return total


def tanh(x: Vector) -> Vector:
    """To within 3.3e-7, of the result; 1 where it rounds to that."""
    bounded = x.between(-_LARGEST, _LARGEST)
    square = bounded * bounded
    ratio = bounded * square.polynomial(_ABOVE) / square.polynomial(_BELOW)
    return ratio.between(-1.0, 1.0)


def sigmoid(x: Vector) -> Vector:
    """(1 + tanh(x / 2)) / 2: within 1.7e-7, of 1."""
    return tanh(x * 0.5).times_plus(0.5, 0.5)


def rowwise(
    inputs: Sequence[str], outputs: Sequence[str], function: Callable[..., Sequence[Vector]]
) -> Any:
    """A function for compiled code: (pointers of the rows named, in order; their length).

    Args:
        inputs: rows that ``function`` is given, by position.
        outputs: rows that take what it returns; they may be inputs, too.
        function: of :class:`Vector`s.
    """
    count = len(inputs) + len(outputs)

    @intrinsic
    def over_a_row(typing: Any, pointers: Any, length: Any) -> Any:
        kinds = list(pointers.types)
        signature = types.void(pointers, types.intp)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            rows = cgutils.unpack_tuple(builder, arguments[0], count)
            place = ir.Constant(INDEX, 0)
            for width in (WIDTH, 1):
                place = _loop(builder, [*zip(kinds, rows, strict=True)], place, arguments[1], width)
            return context.get_dummy_value()

        return signature, generate

    def _loop(
        builder: ir.IRBuilder,
        rows: list[tuple[Any, ir.Value]],
        start: ir.Value,
        length: ir.Value,
        width: int,
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
        read, written = rows[: len(inputs)], rows[len(inputs) :]
        values = [Vector(builder, load(builder, *row, place, width), width) for row in read]
        for (kind, row), value in zip(written, function(*values), strict=True):
            store(builder, kind, value.value, row, place, width)
        place.add_incoming(after, builder.block)
        builder.branch(head)
        builder.position_at_end(behind)
        return place

    return over_a_row
