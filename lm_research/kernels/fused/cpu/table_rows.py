"""Loops over the rows of a table that a step touches: sums of gradients, optimizers' steps.

Shapes: V rows of the table, D columns, M rows read (with repeats), U of them distinct, B bags, P
pending rows, S steps. All floating numbers have the table's type, scalars too: numba takes a
float32 with a number of Python's to float64, which halves a loop's speed. Rows are distinct
wherever rows are written, so that threads can share them out, and each number depends on its own
row alone.
"""

from functools import partial

import numpy as np

from lm_research.kernels.fused.cpu.compiled import compiled
from lm_research.kernels.fused.cpu.threads import over_rows

CHUNK = 16
"""Steps without a gradient between two looks at whether they still move the row."""


def summed(order_M, starts_U1, bag_M, weight_M, gradient_BD, sums_UD):
    """sums[u] = the sum over k in starts[u] .. starts[u + 1] of weight gradient[bag], at order[k].

    ``weight_M`` may be empty: all ones.
    """
    given = order_M, starts_U1, bag_M, weight_M, gradient_BD, sums_UD
    over_rows(partial(_summed, *given), len(sums_UD))


@compiled
def _summed(order, starts, bag, weight, gradient, sums, first, end):
    for u in range(first, end):
        total = sums[u]
        total[:] = 0.0
        for k in range(starts[u], starts[u + 1]):
            at = order[k]
            row = gradient[bag[at]]
            if weight.size:
                scale = weight[at]
                for d in range(total.size):
                    total[d] += scale * row[d]
            else:
                for d in range(total.size):
                    total[d] += row[d]


def sgd(rows_U, gradient_UD, table_VD, rate):
    """w -= rate g."""
    over_rows(partial(_sgd, rows_U, gradient_UD, table_VD, rate), len(rows_U))


@compiled
def _sgd(rows, gradient, table, rate, first, end):
    for u in range(first, end):
        w, g = table[rows[u]], gradient[u]
        for d in range(g.size):
            w[d] -= rate * g[d]


def adagrad(rows_U, gradient_UD, table_VD, sum_VD, rate, eps):
    """s += g g; w -= rate g / (sqrt(s) + eps)."""
    over_rows(partial(_adagrad, rows_U, gradient_UD, table_VD, sum_VD, rate, eps), len(rows_U))


@compiled
def _adagrad(rows, gradient, table, squares, rate, eps, first, end):
    for u in range(first, end):
        w, s, g = table[rows[u]], squares[rows[u]], gradient[u]
        for d in range(g.size):
            total = s[d] + g[d] * g[d]
            s[d] = total
            w[d] -= rate * g[d] / (np.sqrt(total) + eps)


def adam(rows_U, gradient_UD, tables, step, settings):
    """Adam's step on rows with a gradient.

    Args:
        tables: w, m, v (V, D).
        step: keep, size, scale: w = keep w - size m / (scale sqrt(v) + eps).
        settings: b1, 1 - b1, b2, 1 - b2, l2, eps; l2 w joins the gradient.
    """
    over_rows(partial(_adam, rows_U, gradient_UD, *tables, *step, *settings), len(rows_U))


@compiled
def _adam(
    rows, gradient, table, first_moment, second_moment,
    keep, size, scale, b1, c1, b2, c2, l2, eps, first, end,
):  # fmt: skip
    for u in range(first, end):
        at = rows[u]
        w, m, v, g = table[at], first_moment[at], second_moment[at], gradient[u]
        for d in range(g.size):
            x = g[d] + l2 * w[d]
            y = b1 * m[d] + c1 * x
            z = b2 * v[d] + c2 * x * x
            m[d], v[d] = y, z
            w[d] = keep * w[d] - size * y / (scale * np.sqrt(z) + eps)


@compiled
def pending(ids, last, now, all_rows, rows, firsts):
    """Note the distinct rows among ``ids`` that are behind step ``now``; returns how many.

    ``last`` becomes ``now`` there. A row whose ``last`` is negative has never had a gradient, and
    stays where it is.

    Args:
        ids: read rows, or anything where ``all_rows``.
        rows, firsts: room for what is found: row, and the step that it is at.
    """
    count = 0
    for k in range(last.size if all_rows else ids.size):
        row = k if all_rows else ids[k]
        if 0 <= last[row] < now:
            rows[count], firsts[count] = row, last[row]
            last[row] = now
            count += 1
    return count


def advanced(rows_P, firsts_P, tables, steps, settings, limits):
    """Adam's steps with no gradient from each row's own step on to the last.

    The bits do not depend on where such a walk is cut in two.

    Args:
        firsts_P: places in ``steps``.
        tables, settings: as of :func:`adam`.
        steps: keep_S, size_S, scale_S.
        limits: tiny: moments below it become 0 (subnormal numbers are slow, and never get there by
            themselves); limit: see :func:`_is_settled`; whether any keep is not 1.
    """
    given = rows_P, firsts_P, *tables, *steps, *settings, *limits
    over_rows(partial(_advanced, *given), len(rows_P))


@compiled
def _is_settled(w, m, limit):
    """Whether no step moves w, to the bit: |m| is far below what changes half of w's last bit."""
    largest, smallest = np.abs(m[0]), np.abs(w[0])
    for d in range(m.size):
        largest = max(largest, np.abs(m[d]))
        smallest = min(smallest, np.abs(w[d]))
    return largest <= limit * smallest


@compiled
def _walk(w, m, v, keep, size, scale, b1, c1, b2, c2, l2, eps, tiny, first, end):
    zero = tiny - tiny
    for s in range(first, end):
        kept, rate, wide = keep[s], size[s], scale[s]
        for d in range(w.size):
            x = l2 * w[d]
            y = b1 * m[d] + c1 * x
            z = b2 * v[d] + c2 * x * x
            y = zero if np.abs(y) < tiny else y
            z = zero if z < tiny else z
            m[d], v[d] = y, z
            w[d] = kept * w[d] - rate * y / (wide * np.sqrt(z) + eps)


@compiled
def _faded(w, m, v, keep, b1, b2, tiny, decays, first, end):
    """The same, of a row that is settled."""
    zero = tiny - tiny
    for s in range(first, end):
        for d in range(w.size):
            y, z = b1 * m[d], b2 * v[d]
            m[d] = zero if np.abs(y) < tiny else y
            v[d] = zero if z < tiny else z
        if decays:
            for d in range(w.size):
                w[d] = keep[s] * w[d]


@compiled
def _advanced(
    rows, firsts, table, first_moment, second_moment, keep, size, scale,
    b1, c1, b2, c2, l2, eps, tiny, limit, decays, first, end,
):  # fmt: skip
    for p in range(first, end):
        at = rows[p]
        w, m, v = table[at], first_moment[at], second_moment[at]
        step = firsts[p]
        while step < keep.size:
            stop = min(step + CHUNK, keep.size)
            if l2 == 0 and _is_settled(w, m, limit):
                _faded(w, m, v, keep, b1, b2, tiny, decays, step, stop)
            else:
                _walk(w, m, v, keep, size, scale, b1, c1, b2, c2, l2, eps, tiny, step, stop)
            step = stop
