"""How often tokens occur near each other.

Shapes: N tokens of a document, M of a chunk, V vocabulary, n window.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from scipy import sparse

from lm_research.vectorizers.checks import as_ids
from lm_research.vectorizers.compiled import has_numba
from lm_research.vectorizers.count_runs import CountRuns
from lm_research.vectorizers.vectorizer import NOTHING

_CHUNK = 4_000_000
"""Tokens counted at a time: bounds the memory that pairs take before equal ones are added up."""
_EXACT = 22
"""Windows up to which the sums are exact: 1/1, ..., 1/22 are whole multiples of 1/232,792,560."""
MEMORY = float(4 << 30)


def cooccurrences(
    documents: Iterable[np.ndarray],
    vocabulary_size: int,
    window: int,
    chunk: int = _CHUNK,
    memory: float = MEMORY,
    compiled: bool | None = None,
) -> sparse.csr_array:
    """X (V x V, symmetric, float64): X_ij sums 1 / distance over the times that j is near i.

    Near means at most ``window`` tokens before or after, in the same document (Pennington et al.
    2014, section 4.2). A token is its own neighbour where it recurs. For windows of at most 22
    whole numbers are added up, so that neither the chunks, nor the memory, nor numba, nor the
    number of threads (torch's) changes a bit of X.

    Args:
        documents: int arrays ids_N.
        vocabulary_size: V.
        window: n.
        chunk: tokens counted at a time.
        memory: bytes of counts from which on they are kept on the disk, and X mapped from there.
        compiled: count by numba's loops, several threads at once; None: if numba is installed.
    """
    unit = math.lcm(*range(1, window + 1)) if window <= _EXACT else 1
    weights_n = unit / np.arange(1, window + 1)
    threads = torch.get_num_threads() if (has_numba() if compiled is None else compiled) else 0
    runs = CountRuns(vocabulary_size, unit, memory)
    pieces = _pieces((as_ids(d, vocabulary_size) for d in documents), window, chunk)
    for firsts_M, ids_M in _joined(pieces, chunk):
        runs.add(_count_after(firsts_M, ids_M, vocabulary_size, weights_n, threads))
    return runs.result()


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
    firsts_M: np.ndarray, ids_M: np.ndarray, size: int, weights_n: np.ndarray, threads: int
) -> sparse.csr_array:
    """The weights summed over the pairs of a token and one after it. 0 threads: without numba."""
    if threads:
        from lm_research.vectorizers.counting_loops import count_after

        return count_after(firsts_M, ids_M, size, weights_n, threads)
    rows, columns, weights = [], [], []
    for distance, weight in enumerate(weights_n, start=1):
        first, second = firsts_M[:-distance], ids_M[distance:]
        real = (first >= 0) & (second >= 0)
        rows.append(first[real])
        columns.append(second[real])
        weights.append(np.full(len(rows[-1]), weight))
    pairs = (np.concatenate(rows), np.concatenate(columns))
    return sparse.coo_array((np.concatenate(weights), pairs), shape=(size, size)).tocsr()
