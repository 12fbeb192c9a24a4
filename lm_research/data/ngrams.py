"""Which runs of n units (see ``text.units``) two collections of documents share.

A window of n units w_i .. w_{i+n-1} has the 64-bit rolling hash

    h = sum_k mix(w_{i+k}) B^k  mod 2^64,    B odd,

which prefix sums give for all windows of a text at once, whatever n is: the difference of two sums,
divided by B^i (an odd number has an inverse). Two different windows collide with a probability of
about 2^-58 or less. A document shorter than n has one window, itself whole, which only an equal
whole document shares: equal texts are always found.

Only the evaluation side is kept in memory; the training side is read in pieces.

Shapes: N units (or windows), D documents.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

BASE = 0x9E3779B97F4A7C15
INVERSE = pow(BASE, -1, 1 << 64)
PIECE = 1 << 20
"""Units of the training side that are looked at together."""
Piece = tuple[np.ndarray, np.ndarray]
"""Hashes of the units of several whole documents, uint32 [N], and each one's length, int64 [D]."""
Pieces = Callable[[], Iterable[Piece]]
"""Gives the pieces anew, from the first."""


@dataclass(frozen=True)
class Windows:
    """Windows of n units: ``hashes_N`` (uint64), where each begins, and its document."""

    hashes_N: np.ndarray
    starts_N: np.ndarray
    documents_N: np.ndarray


def windows(units_N: np.ndarray, lengths_D: np.ndarray, n: int) -> Windows:
    """The windows of n units that lie within one document; a shorter document's is itself whole.

    Args:
        units_N: hashes of the documents' units, one document after the other.
        lengths_D: units of each; they add up to N.
        n: at least 1.
    """
    units_N, lengths_D = np.asarray(units_N), np.asarray(lengths_D, np.int64)
    ends_D = np.cumsum(lengths_D)
    begins_D = ends_D - lengths_D
    counts_D = np.where(lengths_D > 0, np.maximum(lengths_D - n + 1, 1), 0)
    documents_N = np.repeat(np.arange(len(lengths_D)), counts_D)
    first_D = np.cumsum(counts_D) - counts_D
    starts_N = np.arange(len(documents_N)) - first_D[documents_N] + begins_D[documents_N]
    stops_N = np.minimum(starts_N + n, ends_D[documents_N])
    powers = _powers(BASE, len(units_N))
    sums = np.zeros(len(units_N) + 1, np.uint64)
    np.cumsum(_mixed(units_N) * powers, out=sums[1:])
    hashes_N = (sums[stops_N] - sums[starts_N]) * _powers(INVERSE, len(units_N))[starts_N]
    # A whole short document is no part of a longer one: its length makes it a window of its own.
    hashes_N += np.where(stops_N - starts_N < n, (stops_N - starts_N).astype(np.uint64), 0)
    return Windows(hashes_N, starts_N, documents_N)


def _mixed(units_N: np.ndarray) -> np.ndarray:
    """SplitMix64's finish: every bit of a hash reaches all 64."""
    x_N = units_N.astype(np.uint64) + np.uint64(BASE)
    x_N = (x_N ^ (x_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x_N = (x_N ^ (x_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x_N ^ (x_N >> np.uint64(31))


def _powers(base: int, count: int) -> np.ndarray:
    powers = np.full(max(count, 1), base, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)[:count]


class EvaluationSide:
    """The documents whose windows are looked for.

    Args:
        units: hashes of each document's units, uint32.
    """

    def __init__(self, units: Iterable[np.ndarray]) -> None:
        each = [np.asarray(one, np.uint32) for one in units]
        self.lengths_D = np.array([len(one) for one in each], np.int64)
        self.units_N = np.concatenate([*each, np.empty(0, np.uint32)])

    def shared(self, pieces: Iterable[Piece], n: int) -> tuple[Windows, np.ndarray]:
        """All windows of n units, and which of them (bool) the training side has."""
        own = windows(self.units_N, self.lengths_D, n)
        wanted = np.unique(own.hashes_N)
        found = np.zeros(len(wanted), bool)
        for units_N, lengths_D in pieces if len(wanted) else ():
            theirs = np.sort(windows(units_N, lengths_D, n).hashes_N)
            place = np.searchsorted(wanted, theirs)
            place[place == len(wanted)] = 0
            found[place[wanted[place] == theirs]] = True
        return own, found[np.searchsorted(wanted, own.hashes_N)]

    def documents_sharing(self, pieces: Iterable[Piece], n: int) -> np.ndarray:
        """bool [D]: whether a document has a window of n units that the training side has."""
        own, shared_N = self.shared(pieces, n)
        return np.bincount(own.documents_N[shared_N], minlength=len(self.lengths_D)) > 0

    def longest(self, pieces: Pieces) -> tuple[int, int]:
        """Units of the longest run that both sides have, and the document it is in (-1: none).

        By bisection: who shares a run of n units shares all shorter ones.
        """
        low, high, where = 0, int(self.lengths_D.max(initial=0)), -1
        n = min(16, high)
        while low < high:
            holder = self._holder(pieces(), n)
            low, high, where = (n, high, holder) if holder >= 0 else (low, n - 1, where)
            n = min(2 * low, high) if high > 4 * low > 0 else (low + high + 1) // 2
        return low, where

    def _holder(self, pieces: Iterable[Piece], n: int) -> int:
        """A document with a shared window of exactly n units; -1 if there is none."""
        own, shared_N = self.shared(pieces, n)
        shared_N = shared_N & (self.lengths_D[own.documents_N] >= n)
        return int(own.documents_N[shared_N.argmax()]) if shared_N.any() else -1

    def covered(self, own: Windows, shared_N: np.ndarray, n: int) -> int:
        """Units that lie in at least one shared window."""
        edges = np.zeros(len(self.units_N) + 1, np.int64)
        starts = own.starts_N[shared_N]
        ends_D = np.cumsum(self.lengths_D)
        stops = np.minimum(starts + n, ends_D[own.documents_N[shared_N]])
        np.add.at(edges, starts, 1)
        np.add.at(edges, stops, -1)
        return int((np.cumsum(edges)[:-1] > 0).sum())


def gathered(units: Iterable[np.ndarray], most: int = PIECE) -> Iterator[Piece]:
    """Documents' units in pieces of about ``most`` units; memory holds one piece."""
    held: list[np.ndarray] = []
    size = 0
    for one in units:
        held.append(one)
        size += len(one)
        if size >= most:
            yield np.concatenate(held), np.array([len(each) for each in held], np.int64)
            held, size = [], 0
    if held:
        yield np.concatenate(held), np.array([len(each) for each in held], np.int64)
