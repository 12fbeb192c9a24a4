"""What word2vec's negatives are drawn from: the unigram distribution to a power, by parts.

The vocabulary is dealt to K parts anew for every chunk of text, and the negatives of a target come
from the part of the target: then the parts share no rows of the context table, and are trained
side by side. Each part holds about 1 / K of the tokens of every frequency, so that over the deals
a token is drawn about as often as from the whole.

Shapes: V vocabulary, K parts.
"""

from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from lm_research.vectorizers.compiled import compiled

PARTS = 16
"""K at most, and with it the threads that have work."""
_PART = 64
"""Fewest tokens of a part: with fewer, negatives would repeat each other."""


class Noise(NamedTuple):
    """Walker's alias tables (1977), one a part.

    ``ids_V`` are the tokens part by part, part p in [starts[p], starts[p + 1]). Of a place drawn
    evenly among them its own token is taken with the probability ``share_V``, else the one at the
    place ``other_V``. ``part_V`` is each token's part.
    """

    part_V: np.ndarray
    starts: np.ndarray
    ids_V: np.ndarray
    share_V: np.ndarray
    other_V: np.ndarray

    @property
    def parts(self) -> int:
        """K."""
        return len(self.starts) - 1

    @property
    def tables(self) -> tuple[np.ndarray, ...]:
        """What the loops draw from."""
        return self.starts, self.ids_V, self.share_V, self.other_V


def parts_of(counts_V: np.ndarray) -> int:
    """K for a text with these counts."""
    return int(np.clip(np.count_nonzero(counts_V) // _PART, 1, PARTS))


def deal(counts_V: np.ndarray, power: float, parts: int, rng: np.random.Generator) -> Noise:
    """Deal the tokens by chance, of each K in the order of frequency one to a part."""
    size, order = len(counts_V), np.argsort(-counts_V, kind="stable")
    part_V = np.zeros(size, dtype=np.int16)
    rows = -(-size // parts)
    part_V[order] = rng.random((rows, parts)).argsort(1).reshape(-1)[:size]
    ids_V = np.argsort(part_V, kind="stable").astype(np.int32)
    starts = np.searchsorted(part_V[ids_V], np.arange(parts + 1))
    weights_V = np.where(counts_V > 0, counts_V.astype(np.float64) ** power, 0)[ids_V]
    share_V, other_V = np.ones(size, np.float32), np.arange(size, dtype=np.int32)
    for first, last in pairwise(starts):
        _alias()(weights_V, first, last, share_V, other_V)
    return Noise(part_V, starts, ids_V, share_V, other_V)


@cache
def _alias() -> Any:
    from lm_research.vectorizers.word2vec_loops import alias

    return compiled(alias)
