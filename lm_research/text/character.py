"""Characters: Unicode code points, the rare ones unknown."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lm_research.config.types import PositiveInt
from lm_research.text.tokenizer import Encoding, Encodings
from lm_research.text.unicode import valid_unicode
from lm_research.text.vocabulary import SPECIAL_NAMES, UNKNOWN_ID, VocabularyTokenizer

BLOCK = 1 << 20
"""Characters that are counted at once."""


class CharacterTokenizer(VocabularyTokenizer):
    """One id for each code point; those outside the vocabulary are unknown, and spelled.

    A character here is a code point, not what a reader sees: an emoji of a family, or a letter with
    a combining accent, is several.

    Args:
        vocabulary_size: most ids there may be, separator and unknown included.
        minimum_count: occurrences that a character of the vocabulary needs in the training text.
    """

    def __init__(self, vocabulary_size: PositiveInt, minimum_count: PositiveInt = 1) -> None:
        super().__init__(vocabulary_size, minimum_count)

    def segment(self, text: str) -> Sequence[str]:
        """The text itself: a string is a sequence of its characters."""
        return text

    def encode(self, text: str) -> Encoding:
        """Ids of one text, looked up in one array operation."""
        self._require_vocabulary()
        data = valid_unicode(text).encode("utf-32-le")
        points_N = np.frombuffer(data, np.uint32)
        ids_N = self._id_of_point[points_N]
        unknown_N = points_N[ids_N == UNKNOWN_ID]
        return Encoding(ids_N.astype(np.int64), self._spelling_nats(unknown_N))

    def encode_batch(self, texts: Sequence[str], dtype: np.dtype) -> Encodings:
        """The same as one array of code points."""
        self._require_vocabulary()
        data = "\n".join([*map(valid_unicode, texts), ""]).encode("utf-32-le")
        points_N = np.frombuffer(data, np.uint32)
        ids_N = self._id_of_point[points_N].astype(dtype, copy=False)
        lengths_D = np.fromiter(map(len, texts), np.int64, len(texts))
        ends_D = np.cumsum(lengths_D + 1) - 1
        ids_N[ends_D] = self.separator_id
        return Encodings(ids_N, lengths_D, self._nats_of(points_N, ids_N, ends_D))

    def _nats_of(self, points_N: np.ndarray, ids_N: np.ndarray, ends_D: np.ndarray) -> np.ndarray:
        """What the unknown characters of each text cost; it ends at ``ends_D``."""
        nats_D = np.zeros(len(ends_D))
        places = np.flatnonzero(ids_N == UNKNOWN_ID)
        documents, first = np.unique(np.searchsorted(ends_D, places), return_index=True)
        unknown = np.split(points_N[places], first[1:])  # one part, an empty one, where is none
        for document, points in zip(documents, unknown, strict=False):
            nats_D[document] = self._spelling_nats(points)
        return nats_D

    def _count(self, texts: Iterable[str]) -> Counter[str]:
        counts_P = np.zeros(sys.maxunicode + 1, np.int64)
        for block in _blocks(texts):
            found_P = np.bincount(np.frombuffer(block.encode("utf-32-le"), np.uint32))
            counts_P[: len(found_P)] += found_P
        return Counter({chr(p): int(counts_P[p]) for p in np.flatnonzero(counts_P)})

    def _spelling_nats(self, points_N: np.ndarray) -> float:
        points, counts = np.unique(points_N, return_counts=True)
        return sum(
            (n * self.spelling.nats(chr(p)) for p, n in zip(points, counts.tolist(), strict=True)),
            0.0,
        )

    def _set_pieces(self, pieces: Sequence[str]) -> None:
        super()._set_pieces(pieces)
        points = [ord(piece) for piece in pieces]
        dtype = np.uint16 if len(self._pieces) <= 1 << 16 else np.uint32
        self._id_of_point = np.full(sys.maxunicode + 1, UNKNOWN_ID, dtype)
        self._id_of_point[points] = np.arange(len(points)) + len(SPECIAL_NAMES)


def _blocks(texts: Iterable[str]) -> Iterator[str]:
    """The texts, so many at a time that counting a block costs more than beginning it."""
    held: list[str] = []
    size = 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size > BLOCK:
            yield "".join(held)
            held, size = [], 0
    yield "".join(held)
