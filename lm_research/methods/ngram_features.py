"""Counts of the most frequent n-grams of words, as features of a text.

Zhang, Zhao and LeCun 2015, "Character-level Convolutional Networks for Text Classification"
(arXiv:1509.01626), section 3.1.

Shapes: N texts, P places of words in all of them, V features.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.sparse import csr_array, diags_array

from lm_research.config.types import PositiveInt
from lm_research.text.units import units

Weighting = Literal["count", "tfidf"]
Scale = Literal["none", "corpus", "document"]
ABSENT = -1


class NGramFeatures:
    """Sparse rows of n-gram counts, or of count ln(N / df), over the training texts' own n-grams.

    Words are runs of letters and digits, in lower case. An n-gram is a feature if it is among the
    ``size`` that occur most often in the training texts, n-grams of all lengths together (of equal
    ones the shorter, then the one seen first).

    Args:
        longest: n-grams of 1 to so many words.
        size: V at most.
        weighting: ``tfidf`` multiplies counts by ln(N / df), df of the N training texts having the
            n-gram.
        scale: divide all features by the largest one of the training texts (``corpus``), or those
            of each text by its own largest (``document``).
    """

    def __init__(
        self, longest: PositiveInt, size: PositiveInt, weighting: Weighting, scale: Scale
    ) -> None:
        self.longest, self.size = longest, size
        self.weighting, self.scale = weighting, scale

    def fit(self, texts: Sequence[str]) -> csr_array:
        """Choose the features; returns those of the texts, float64."""
        self.id_of: dict[str, int] = {}
        words_P, text_P = _places(texts, self.id_of, grow=True)
        self.pairs: list[np.ndarray] = []
        found = self._grams(words_P, text_P, grow=True)
        counts = [np.bincount(ids_P[ids_P >= 0], minlength=1) for ids_P in found]
        all_counts = np.concatenate(counts)
        order = np.argsort(-all_counts, kind="stable")[: self.size]
        order = order[all_counts[order] > 0]
        sizes = np.cumsum([0, *map(len, counts)])
        column = np.full(sizes[-1], ABSENT)
        column[order] = np.arange(len(order))
        self.columns = [column[a:b] for a, b in pairwise(sizes)]
        counts_NV = self._counted(found, text_P, len(texts), len(order))
        df_V = np.bincount(counts_NV.indices, minlength=len(order))
        self.idf_V = np.log(len(texts) / np.maximum(df_V, 1))
        weighed_NV = self._weighed(counts_NV)
        self.largest = float(weighed_NV.data.max(initial=0.0)) or 1.0
        return self._scaled(weighed_NV)

    def transform(self, texts: Sequence[str]) -> csr_array:
        """Rows of other texts; n-grams that are no features count for nothing."""
        words_P, text_P = _places(texts, self.id_of, grow=False)
        found = self._grams(words_P, text_P, grow=False)
        counts_NV = self._counted(found, text_P, len(texts), len(self.idf_V))
        return self._scaled(self._weighed(counts_NV))

    def _grams(self, words_P: np.ndarray, text_P: np.ndarray, grow: bool) -> list[np.ndarray]:
        """For n = 1, 2, ... the number of the n-gram that begins at each place, or ``ABSENT``.

        An n-gram is a pair: the (n-1)-gram before, and its last word. Its number is its place
        among the sorted pairs of the training texts.
        """
        found, before_P = [words_P], words_P
        for n in range(2, self.longest + 1):
            last_P = np.full_like(words_P, ABSENT)
            last_P[: 1 - n] = np.where(text_P[: 1 - n] == text_P[n - 1 :], words_P[n - 1 :], ABSENT)
            real_P = (before_P >= 0) & (last_P >= 0)
            pair_P = np.where(real_P, before_P * len(self.id_of) + last_P, ABSENT)
            if grow:
                self.pairs.append(np.unique(pair_P[real_P]))
            before_P = _numbered(pair_P, self.pairs[n - 2])
            found.append(before_P)
        return found

    def _counted(
        self, found: Sequence[np.ndarray], text_P: np.ndarray, texts: int, size: int
    ) -> csr_array:
        rows, columns = [], []
        for ids_P, column_of in zip(found, self.columns, strict=True):
            at_P = np.where(ids_P >= 0, column_of[ids_P], ABSENT)
            rows.append(text_P[at_P >= 0])
            columns.append(at_P[at_P >= 0])
        places = np.concatenate(rows), np.concatenate(columns)
        counts_NV = csr_array((np.ones(len(places[0])), places), shape=(texts, size))
        counts_NV.sum_duplicates()
        return counts_NV

    def _weighed(self, counts_NV: csr_array) -> csr_array:
        if self.weighting == "count":
            return counts_NV
        return csr_array(counts_NV @ diags_array(self.idf_V))

    def _scaled(self, x_NV: csr_array) -> csr_array:
        if self.scale == "corpus":
            return csr_array(x_NV / self.largest)
        if self.scale == "none":
            return x_NV
        largest_N = np.asarray(x_NV.max(axis=1).todense()).ravel()
        return csr_array(diags_array(1 / np.where(largest_N > 0, largest_N, 1.0)) @ x_NV)


def _places(
    texts: Sequence[str], id_of: dict[str, int], grow: bool
) -> tuple[np.ndarray, np.ndarray]:
    """int64: the word at each place, or ``ABSENT``, and the text that it is in."""
    words = [units(text) for text in texts]
    if grow:
        for text in words:
            for word in text:
                id_of.setdefault(word, len(id_of))
    ids = [id_of.get(word, ABSENT) for text in words for word in text]
    lengths_N = [len(text) for text in words]
    return np.array(ids, np.int64), np.repeat(np.arange(len(texts)), lengths_N)


def _numbered(pair_P: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The place of each pair among the sorted ``known`` ones, or ``ABSENT``."""
    if not len(known):
        return np.full_like(pair_P, ABSENT)
    place_P = np.minimum(np.searchsorted(known, pair_P), len(known) - 1)
    return np.where(known[place_P] == pair_P, place_P, ABSENT)
