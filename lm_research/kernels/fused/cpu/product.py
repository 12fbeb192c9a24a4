"""Small matrix products, rows (R, K) times a weight (K, N), in registers from end to end.

A weight is packed once for all steps: panels of as many columns as a few vectors hold, (K, columns)
each, so that the inner loop reads memory in order. Six rows of sums stay in registers (four on
processors with 16 of them) while it runs over K; sums are taken in K's order, whatever the number
of rows. Operands are float32, or both bfloat16 where the processor multiplies that: two numbers of
K at once, rows of an even K, float32 sums.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from lm_research.kernels.fused.cpu.compiled import compiled
from lm_research.kernels.fused.cpu.pairs import PAIR, plus_products
from lm_research.kernels.fused.cpu.vectors import (
    INDEX,
    POINTER,
    WIDTH,
    Vector,
    constant,
    is_half,
    kind_of,
    load,
    store,
    vector_type,
)

VECTORS = 4 if WIDTH == 16 else 2
"""Of one row of sums: with six rows, 24 of 32 registers, or 12 of 16."""
COLUMNS = VECTORS * WIDTH
"""Of one panel."""


def _pointer(typing: Any, array: Any, place: Any) -> Any:
    """To a place in an array of one axis."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.gep(data, [arguments[1]])

    return kind_of(array)(array, types.intp), generate


pointer: Any = intrinsic(_pointer)


def _number(typing: Any, array: Any, place: Any) -> Any:
    """A number of an array of one axis, as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return load(builder, kind_of(array), data, arguments[1], 1)

    return types.float32(array, types.intp), generate


def _put(typing: Any, array: Any, place: Any, value: Any) -> Any:
    """float32 ``value`` in an array of one axis."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        store(builder, kind_of(array), arguments[2], data, arguments[1], 1)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.float32), generate


number: Any = intrinsic(_number)
put: Any = intrinsic(_put)


def _rows_times_panel(rows: int) -> Any:
    """sums[rows, columns] (+)= a[rows, K] times a panel, for compiled code."""

    @intrinsic
    def product(
        typing: Any, a: Any, stride: Any, panel: Any, sums: Any, pitch: Any, size: Any, add: Any
    ) -> Any:
        index = types.intp
        signature = types.void(a, index, panel, POINTER, index, index, index)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, stride, panel, sums, pitch, size, add = arguments
            rows_of_a = [_row(builder, a, stride, row) for row in range(rows)]
            places = [
                _at(builder, _row(builder, sums, pitch, row), ir.Constant(INDEX, v * WIDTH))
                for row in range(rows)
                for v in range(VECTORS)
            ]
            start = _start(builder, places, add)
            if is_half(signature.args[0]):
                rows_of_a = [_of_pairs(builder, row) for row in rows_of_a]
                panel, size = _of_pairs(builder, panel), builder.lshr(size, ir.Constant(INDEX, 1))
            ends = _over_k(builder, rows_of_a, panel, size, start)
            for place, value in zip(places, ends, strict=True):
                builder.store(value, place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return product


def _of_pairs(builder: ir.IRBuilder, row: ir.Value) -> ir.Value:
    return builder.bitcast(row, PAIR.as_pointer())


def _row(builder: ir.IRBuilder, first: ir.Value, stride: ir.Value, number: int) -> ir.Value:
    return builder.gep(first, [builder.mul(stride, ir.Constant(INDEX, number))])


def _at(builder: ir.IRBuilder, row: ir.Value, place: ir.Value) -> ir.Value:
    """A vector's place in a row."""
    numbers = ir.VectorType(row.type.pointee, WIDTH)
    return builder.bitcast(builder.gep(row, [place]), numbers.as_pointer())


def _start(builder: ir.IRBuilder, places: list[ir.Value], add: ir.Value) -> list[ir.Value]:
    """What is there, to ``add`` to it; else zeros."""
    with builder.if_else(builder.icmp_signed("!=", add, ir.Constant(INDEX, 0))) as (then, other):
        with then:
            there = [builder.load(place, align=4) for place in places]
            after_then = builder.block
        with other:
            after_other = builder.block
    starts = []
    for value in there:
        start = builder.phi(vector_type(WIDTH))
        start.add_incoming(value, after_then)
        start.add_incoming(constant(0.0, WIDTH), after_other)
        starts.append(start)
    return starts


def _over_k(
    builder: ir.IRBuilder,
    rows_of_a: list[ir.Value],
    panel: ir.Value,
    size: ir.Value,
    start: list[ir.Value],
) -> list[ir.Value]:
    """The inner loop over numbers, or pairs; ``size`` of them, at least 1."""
    before, loop = builder.block, builder.append_basic_block()
    behind = builder.append_basic_block()
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(INDEX)
    k.add_incoming(ir.Constant(INDEX, 0), before)
    sums = [builder.phi(vector_type(WIDTH)) for _ in start]
    columns = builder.gep(panel, [builder.mul(k, ir.Constant(INDEX, COLUMNS))])
    parts = [
        builder.load(_at(builder, columns, ir.Constant(INDEX, v * WIDTH)), align=4)
        for v in range(VECTORS)
    ]
    after: list[ir.Value] = []
    for number, row in enumerate(rows_of_a):
        factor = _spread(builder, builder.load(builder.gep(row, [k]), align=2))
        for v, part in enumerate(parts):
            after.append(_plus_product(builder, sums[number * VECTORS + v], factor, part))
    following = builder.add(k, ir.Constant(INDEX, 1))
    k.add_incoming(following, loop)
    for total, first, value in zip(sums, start, after, strict=True):
        total.add_incoming(first, before)
        total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, size), loop, behind)
    builder.position_at_end(behind)
    return after


def _plus_product(
    builder: ir.IRBuilder, total: ir.Value, factor: ir.Value, part: ir.Value
) -> ir.Value:
    if part.type.element == PAIR:
        return plus_products(builder, total, factor, part)
    term = Vector(builder, total, WIDTH)
    return Vector(builder, factor, WIDTH).times_plus(Vector(builder, part, WIDTH), term).value


def _spread(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """A number, or a pair, in every place of a vector."""
    nothing = ir.Constant(ir.VectorType(number.type, WIDTH), ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, nothing, places)


_SIX, _FOUR, _TWO, _ONE = (_rows_times_panel(rows) for rows in (6, 4, 2, 1))


@compiled
def width_of(columns: int) -> int:
    """Columns of a product with a packed weight: whole panels."""
    return -(-columns // COLUMNS) * COLUMNS


def _zipped(builder: ir.IRBuilder, one: ir.Value, other: ir.Value, half: int) -> ir.Value:
    """The numbers of the lower (0) or the upper (1) halves of two vectors, in turns."""
    start = half * WIDTH // 2
    places = [start + n // 2 + n % 2 * WIDTH for n in range(WIDTH)]
    mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), places)
    return builder.shuffle_vector(one, other, mask)


def _transpose(typing: Any, source: Any, step: Any, target: Any, pitch: Any) -> Any:
    """A square of vectors, transposed; its rows are ``step`` apart, those written ``pitch``."""
    signature = types.void(source, types.intp, target, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, step, target, pitch = arguments
        at, half = ir.Constant(INDEX, 0), WIDTH // 2
        rows = [
            builder.load(_at(builder, _row(builder, source, step, n), at), align=4)
            for n in range(WIDTH)
        ]
        for _ in range(WIDTH.bit_length() - 1):
            pairs = [*zip(rows[:half], rows[half:], strict=True)]
            rows = [_zipped(builder, *pair, part) for pair in pairs for part in (0, 1)]
        for n, value in enumerate(rows):
            builder.store(value, _at(builder, _row(builder, target, pitch, n), at), align=4)
        return context.get_dummy_value()

    return signature, generate


_turned: Any = intrinsic(_transpose)


@compiled
def packed(weight, rows, size, row_step, column_step):
    """Panels (N / columns, K, columns) of a weight's transpose, as one axis; zeros beyond N.

    ``weight`` is one axis, in which (n, k) lies at n row_step + k column_step.
    """
    panels = -(-rows // COLUMNS)
    found = np.empty(panels * size * COLUMNS, np.float32)
    found[rows // COLUMNS * size * COLUMNS :] = 0
    for first in range(0, rows, COLUMNS):
        end = min(first + COLUMNS, rows)
        for k in range(0, size, WIDTH):
            squares = (end - first) // WIDTH if column_step == 1 and k + WIDTH <= size else 0
            at = first * size + k * COLUMNS
            for n in range(0, squares * WIDTH, WIDTH):
                source = pointer(weight, (first + n) * row_step + k)
                _turned(source, row_step, pointer(found, at + n), COLUMNS)
            for j in range(k, min(k + WIDTH, size)):
                for n in range(first + squares * WIDTH, end):
                    value = weight[n * row_step + j * column_step]
                    found[first * size + j * COLUMNS + n - first] = value
    return found


@compiled
def packed_pairs(weight, rows, size, row_step, column_step):
    """The same of bfloat16's bits, in pairs: (N / columns, K / 2, columns, 2), zeros beyond K."""
    if column_step == 1 and size % 2 == 0 and row_step % 2 == 0:
        # a pair lies together and moves as one number
        pairs = packed(weight.view(np.float32), rows, size // 2, row_step // 2, 1)
        return pairs.view(np.uint16)
    panels, half = -(-rows // COLUMNS), (size + 1) // 2
    found = np.zeros(panels * half * COLUMNS, np.uint32)
    for first in range(0, rows, COLUMNS):
        count = min(COLUMNS, rows - first)
        for k in range(size):
            start, at = first * row_step + k * column_step, first * half + k // 2 * COLUMNS
            shift = np.uint32(16 * (k % 2))
            pairs = found[at : at + count]
            for n in range(count):
                pairs[n] |= np.uint32(weight[start + n * row_step]) << shift
    return found.view(np.uint16)


def row_size(size: Any, panels: Any) -> Any:
    """Numbers from one row of a product's left side to the next: K, for pairs an even one."""


@overload(row_size, strict=False)
def _(size: Any, panels: Any) -> Any:
    if is_half(panels):
        return lambda size, panels: size + size % 2
    return lambda size, panels: size


def as_rows(own: Any, rows: Any, size: Any, panels: Any) -> Any:
    """float32 rows as a product's left side: themselves, or rounded and of an even size."""


@overload(as_rows, strict=False)
def _(own: Any, rows: Any, size: Any, panels: Any) -> Any:
    if not is_half(panels):
        return lambda own, rows, size, panels: own

    def rounded(own, rows, size, panels):
        even = size + size % 2
        found = np.zeros(rows * even, np.uint16)
        for row in range(rows):
            for k in range(size):
                put(found, row * even + k, own[row * size + k])
        return found

    return rounded


@compiled
def product(a, rows, size, panels, sums, width, add):
    """sums[rows, width] (+)= a[rows, size] times the weight in ``panels``; all of one axis.

    ``size`` is that of a row (:func:`row_size`); ``a`` and ``panels`` are of one type.
    """
    for first in range(0, width, COLUMNS):
        panel = pointer(panels, first * size)
        row = 0
        while row + 6 <= rows:
            _SIX(pointer(a, row * size), size, panel,
                 pointer(sums, row * width + first), width, size, add)  # fmt: skip
            row += 6
        if row + 4 <= rows:
            _FOUR(pointer(a, row * size), size, panel,
                  pointer(sums, row * width + first), width, size, add)  # fmt: skip
            row += 4
        if row + 2 <= rows:
            _TWO(pointer(a, row * size), size, panel,
                 pointer(sums, row * width + first), width, size, add)  # fmt: skip
            row += 2
        if row < rows:
            _ONE(pointer(a, row * size), size, panel,
                 pointer(sums, row * width + first), width, size, add)  # fmt: skip
