"""Small matrix products, rows (R, K) times a weight (K, N), in registers from end to end.

A weight is packed once for all steps: panels of as many columns as a few vectors hold, (K, columns)
each, so that the inner loop reads memory in order. Six rows of sums stay in registers (four on
processors with 16 of them) while it runs over K; sums are taken in K's order, whatever the number
of rows.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lm_research.kernels.fused.cpu.compiled import compiled
from lm_research.kernels.fused.cpu.vectors import (
    INDEX,
    POINTER,
    WIDTH,
    Vector,
    constant,
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

    return POINTER(array, types.intp), generate


pointer: Any = intrinsic(_pointer)


def _rows_times_panel(rows: int) -> Any:
    """sums[rows, columns] (+)= a[rows, K] times a panel, for compiled code."""

    @intrinsic
    def product(
        typing: Any, a: Any, stride: Any, panel: Any, sums: Any, pitch: Any, size: Any, add: Any
    ) -> Any:
        index = types.intp
        signature = types.void(POINTER, index, POINTER, POINTER, index, index, index)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, stride, panel, sums, pitch, size, add = arguments
            rows_of_a = [_row(builder, a, stride, row) for row in range(rows)]
            places = [
                _at(builder, _row(builder, sums, pitch, row), ir.Constant(INDEX, v * WIDTH))
                for row in range(rows)
                for v in range(VECTORS)
            ]
            start = _start(builder, places, add)
            ends = _over_k(builder, rows_of_a, panel, size, start)
            for place, value in zip(places, ends, strict=True):
                builder.store(value, place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return product


def _row(builder: ir.IRBuilder, first: ir.Value, stride: ir.Value, number: int) -> ir.Value:
    return builder.gep(first, [builder.mul(stride, ir.Constant(INDEX, number))])


def _at(builder: ir.IRBuilder, row: ir.Value, place: ir.Value) -> ir.Value:
    """A vector's place in a row."""
    return builder.bitcast(builder.gep(row, [place]), vector_type(WIDTH).as_pointer())


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
    """The inner loop; ``size`` is at least 1."""
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
        factor = Vector(builder, _spread(builder, builder.load(builder.gep(row, [k]))), WIDTH)
        for v, part in enumerate(parts):
            term = Vector(builder, sums[number * VECTORS + v], WIDTH)
            after.append(factor.times_plus(Vector(builder, part, WIDTH), term).value)
    following = builder.add(k, ir.Constant(INDEX, 1))
    k.add_incoming(following, loop)
    for total, first, value in zip(sums, start, after, strict=True):
        total.add_incoming(first, before)
        total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, size), loop, behind)
    builder.position_at_end(behind)
    return after


def _spread(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """A number in every place of a vector."""
    nothing = ir.Constant(vector_type(WIDTH), ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, nothing, places)


_SIX, _FOUR, _TWO, _ONE = (_rows_times_panel(rows) for rows in (6, 4, 2, 1))


@compiled
def width_of(columns: int) -> int:
    """Columns of a product with a packed weight: whole panels."""
    return -(-columns // COLUMNS) * COLUMNS


@compiled
def packed(weight, rows, size, row_step, column_step):
    """Panels (N / columns, K, columns) of a weight's transpose, as one axis; zeros beyond N.

    ``weight`` is one axis, in which (n, k) lies at n row_step + k column_step.
    """
    panels = -(-rows // COLUMNS)
    found = np.zeros(panels * size * COLUMNS, np.float32)
    for first in range(0, rows, COLUMNS):
        for k in range(0, size, WIDTH):  # a block fits the nearest cache, whichever way it lies
            for n in range(first, min(first + COLUMNS, rows)):
                for j in range(k, min(k + WIDTH, size)):
                    value = weight[n * row_step + j * column_step]
                    found[first * size + j * COLUMNS + n - first] = value
    return found


@compiled
def product(a, rows, size, panels, sums, width, add):
    """sums[rows, width] (+)= a[rows, size] times the weight in ``panels``; all of one axis."""
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
