"""How often tokens occur near each other.

Shapes: N tokens of a document, M of a chunk, V vocabulary.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from scipy import sparse

from lm_research.vectorizers.checks import as_ids
from lm_research.vectorizers.vectorizer import NOTHING

_CHUNK = 200_000
"""Tokens counted at a time: bounds the memory that pairs take before equal ones are added up."""


def cooccurrences(
    documents: Iterable[np.ndarray], vocabulary_size: int, window: int, chunk: int = _CHUNK
) -> sparse.csr_array:
    """X (V x V, symmetric, float64): X_ij sums 1 / distance over the times that j is near i.

    Near means at most ``window`` tokens before or after, in the same document (Pennington et al.
    2014, section 4.2). A token is its own neighbour where it recurs.
    """
    after_VV = sparse.csr_array((vocabulary_size, vocabulary_size), dtype=np.float64)
    pieces = _pieces((as_ids(d, vocabulary_size) for d in documents), window, chunk)
    for firsts_M, ids_M in _joined(pieces, chunk):
        after_VV = after_VV + _count_after(firsts_M, ids_M, vocabulary_size, window)
    return (after_VV + after_VV.T).tocsr()


def _pieces(
    documents: Iterable[np.ndarray], window: int, chunk: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut long documents: the tokens of a piece, and the same with the ``window`` after them."""
    gap = np.full(window, NOTHING, dtype=np.int64)
    for ids_N in documents:
        padded = np.concatenate([ids_N, gap])
        for start in range(0, len(ids_N), chunk):
            own = ids_N[start : start + chunk]
            yield np.concatenate([own, gap]), padded[start : start + len(own) + window]


def _joined(
    pieces: Iterable[tuple[np.ndarray, np.ndarray]], chunk: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Join short pieces; the gaps keep them from seeing each other."""
    pending: list[tuple[np.ndarray, np.ndarray]] = []
    size = 0
    for piece in pieces:
        pending.append(piece)
        size += len(piece[0])
        if size >= chunk:
            yield np.concatenate([p[0] for p in pending]), np.concatenate([p[1] for p in pending])
            pending, size = [], 0
    if pending:
        yield np.concatenate([p[0] for p in pending]), np.concatenate([p[1] for p in pending])


def _count_after(
    firsts_M: np.ndarray, ids_M: np.ndarray, vocabulary_size: int, window: int
) -> sparse.csr_array:
    """1 / distance summed over the pairs of a token and one after it."""
    rows, columns, weights = [], [], []
    for distance in range(1, window + 1):
        first, second = firsts_M[:-distance], ids_M[distance:]
        real = (first >= 0) & (second >= 0)
        rows.append(first[real])
        columns.append(second[real])
        weights.append(np.full(len(rows[-1]), 1 / distance))
    pairs = (np.concatenate(rows), np.concatenate(columns))
    shape = (vocabulary_size, vocabulary_size)
    return sparse.coo_array((np.concatenate(weights), pairs), shape=shape).tocsr()
