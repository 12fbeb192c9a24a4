"""Co-occurrences by compiled loops: the same numbers as ``cooccurrence.py`` counts without them.

A token's row is summed up in one dense array of V numbers, which stays in a core's cache, over all
the places where the token stands.

Shapes: M tokens of a chunk, V vocabulary, n window.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from scipy import sparse

from lm_research.vectorizers.compiled import compiled

_CELLS = 1 << 21
"""Cells that a share of the rows may have: bounds what is reserved for them."""


def places(firsts_M: np.ndarray, starts_V1: np.ndarray, places_M: np.ndarray) -> None:
    """Where each token stands: ``places_M[starts[v] : starts[v + 1]]`` for token v."""
    for token in firsts_M:
        if token >= 0:
            starts_V1[token + 1] += 1
    for token in range(len(starts_V1) - 1):
        starts_V1[token + 1] += starts_V1[token]
    free = starts_V1.copy()
    for place, token in enumerate(firsts_M):
        if token >= 0:
            places_M[free[token]] = place
            free[token] += 1


def rows(
    first: int,
    last: int,
    ids_M: np.ndarray,
    starts_V1: np.ndarray,
    places_M: np.ndarray,
    weights_n: np.ndarray,
    indptr_V1: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
) -> int:
    """Rows [first, last) of the counts, sorted; their lengths go to ``indptr[row + 1]``.

    Returns the number of cells.
    """
    sums = np.zeros(len(starts_V1) - 1)
    end = 0
    for token in range(first, last):
        begin = end
        for at in range(starts_V1[token], starts_V1[token + 1]):
            place = places_M[at]
            for distance in range(len(weights_n)):
                other = ids_M[place + 1 + distance]
                if other < 0:  # past the document's end
                    break
                if sums[other] == 0:
                    indices[end] = other
                    end += 1
                sums[other] += weights_n[distance]
        if (end - begin) * 64 < len(sums):
            indices[begin:end].sort()
        else:  # of so many, looking at every token finds them in order sooner
            cell = begin
            for other in range(len(sums)):
                if sums[other] != 0:
                    indices[cell] = other
                    cell += 1
        for cell in range(begin, end):
            data[cell] = sums[indices[cell]]
            sums[indices[cell]] = 0
        indptr_V1[token + 1] = end - begin
    return end


@cache
def _compiled() -> tuple[Any, Any]:
    return compiled(places), compiled(rows)


def count_after(
    firsts_M: np.ndarray,
    ids_M: np.ndarray,
    vocabulary_size: int,
    weights_n: np.ndarray,
    threads: int,
) -> sparse.csr_array:
    """The weights summed over the pairs of a token of ``firsts_M`` and one after it in
    ``ids_M``."""
    find_places, fill = _compiled()
    starts_V1, places_M = np.zeros(vocabulary_size + 1, np.int64), np.empty(len(ids_M), np.int64)
    find_places(firsts_M, starts_V1, places_M)
    indptr_V1 = np.zeros(vocabulary_size + 1, np.int64)
    most_V = np.minimum(np.diff(starts_V1) * len(weights_n), vocabulary_size)

    def share(span: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        room = int(most_V[slice(*span)].sum())
        indices, data = np.empty(room, np.int32), np.empty(room)
        end = fill(*span, ids_M, starts_V1, places_M, weights_n, indptr_V1, indices, data)
        return indices[:end].copy(), data[:end].copy()

    with ThreadPoolExecutor(threads) as pool:
        filled = list(pool.map(share, _shares(most_V)))
    indices, data = (np.concatenate(parts) for parts in zip(*filled, strict=True))
    shape = (vocabulary_size, vocabulary_size)
    return sparse.csr_array((data, indices, np.cumsum(indptr_V1)), shape=shape)


def _shares(most_V: np.ndarray) -> list[tuple[int, int]]:
    """Spans of rows with at most ``_CELLS`` cells (or one row)."""
    ends = np.cumsum(most_V)
    spans, first = [], 0
    while first < len(most_V):
        done = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _CELLS, side="right")))
        spans.append((first, last))
        first = last
    return spans
