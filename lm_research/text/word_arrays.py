"""Words of many texts at once: cut and looked up by operations on arrays of characters.

It gives what `word_pieces.segment_words` and a dictionary of pieces give, and leaves to them the
texts that have combining marks.
"""

import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lm_research.text.run_hashes import run_hashes
from lm_research.text.units import LETTERS_END
from lm_research.text.word_pieces import (
    APOSTROPHES,
    JOINERS,
    LETTERS,
    LONGEST_RUN,
    REPEATED_PUNCTUATION,
    segment_words,
)

OTHER, LETTER, DIGIT, REPEATED, APOSTROPHE, SPACE, WHITE, MARK, BORDER = range(9)
"""Classes of characters: those before SPACE are visible; REPEATED ones stay together with their
like; a BORDER stands behind each text."""
_EXPRESSIONS = {
    LETTER: LETTERS,
    DIGIT: r"\d",
    REPEATED: f"[{re.escape(REPEATED_PUNCTUATION)}]",
    APOSTROPHE: APOSTROPHES,
    SPACE: " ",
    WHITE: r"[^\S ]",
    MARK: JOINERS,
}
_LENGTH_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class Cut(NamedTuple):
    """Pieces of texts, one after the other, and behind each text a border, a piece by itself.

    Attributes:
        text: the texts, a line break behind each.
        values: its code points, uint8 or uint32.
        starts: int64, where the pieces begin.
        borders: int64, the place of each text's border among the pieces.
        whole_D: bool, whether a text's pieces are those of ``segment_words``.
    """

    text: str
    values: np.ndarray
    starts: np.ndarray
    borders: np.ndarray
    whole_D: np.ndarray

    def hashes(self) -> np.ndarray:
        """uint64, one a piece. Two different ones share a hash with probability 2^-64."""
        lengths = np.diff(self.starts, append=len(self.values)).astype(np.uint64)
        found = run_hashes(self.values, self.starts) ^ (lengths * _LENGTH_FACTOR)
        return np.maximum(found, np.uint64(1))  # 0 is an empty slot


class Lookup:
    """Ids of pieces by their hashes.

    Args:
        pieces: of the vocabulary, different ones.
        first: id of the first; the others follow.
        unknown: id of what is none of them.
    """

    def __init__(self, pieces: Sequence[str], first: int, unknown: int) -> None:
        self._bits = max(2 * len(pieces), 1).bit_length()
        self._hashes = np.zeros(1 << self._bits, np.uint64)
        self._ids = np.full(1 << self._bits, unknown, np.int64)
        points = np.frombuffer("".join(pieces).encode("utf-32-le"), np.uint32)
        lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        starts = np.cumsum(lengths) - lengths
        nothing = np.empty(0, np.int64)
        if len(pieces):
            hashes = Cut("", points, starts, nothing, nothing).hashes()
            self._put(hashes, np.arange(first, first + len(pieces)))

    def _put(self, hashes: np.ndarray, ids: np.ndarray) -> None:
        """Each into the first free slot from its own on; of two that want one, one goes on."""
        slots = self._slots(hashes)
        while len(hashes):
            free = self._hashes[slots] == 0
            self._hashes[slots[free]], self._ids[slots[free]] = hashes[free], ids[free]
            left = self._hashes[slots] != hashes
            hashes, ids = hashes[left], ids[left]
            slots = (slots[left] + 1) & (len(self._ids) - 1)

    def _slots(self, hashes: np.ndarray) -> np.ndarray:
        return (hashes >> np.uint64(64 - self._bits)).astype(np.int64)

    def __call__(self, hashes: np.ndarray) -> np.ndarray:
        """int64, the id of each."""
        slots = self._slots(hashes)
        ids, there = self._ids[slots], self._hashes[slots]
        places = np.flatnonzero((there != hashes) & (there != 0))
        slots = slots[places]
        while len(places):
            slots = (slots + 1) & (len(self._ids) - 1)
            there, ids[places] = self._hashes[slots], self._ids[slots]
            elsewhere = (there != hashes[places]) & (there != 0)
            places, slots = places[elsewhere], slots[elsewhere]
        return ids


def cut(texts: Sequence[str], ascii: bool) -> Cut:
    """The pieces of texts of valid Unicode, all of them ASCII or not."""
    text = "\n".join([*texts, ""])
    if ascii:
        values = np.frombuffer(text.encode(), np.uint8)
        classes = _classes()[:128][values]
    else:
        values = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        classes = _classes()[values]
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1) - 1
    classes[ends] = BORDER
    begins = piece_starts(values, classes)
    if more := _within_long(text, classes, np.flatnonzero(begins)):
        begins[more] = True
    starts = np.flatnonzero(begins)
    marked = np.flatnonzero(classes == MARK)
    whole_D = np.ones(len(texts), bool)
    whole_D[np.searchsorted(ends, marked)] = False
    return Cut(text, values, starts, np.searchsorted(starts, ends), whole_D)


def _within_long(text: str, classes: np.ndarray, starts: np.ndarray) -> list[int]:
    """Where pieces begin within those that are longer than a run may be."""
    ends = np.append(starts[1:], len(text))
    more: list[int] = []
    for place in np.flatnonzero(ends - starts > LONGEST_RUN).tolist():
        start, end = int(starts[place]), int(ends[place])
        if not _is_space(classes[start:end]):
            *before, _ = map(len, segment_words(text[start:end]))
            more += (start + np.cumsum(before, dtype=np.int64)).tolist()
    return more


def _is_space(classes: np.ndarray) -> bool:
    return bool(((classes == SPACE) | (classes == WHITE)).all())


def piece_starts(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """bool: where a piece begins, the ends of texts included."""
    before, after = np.full_like(classes, BORDER), np.full_like(classes, BORDER)
    before[1:], after[:-1] = classes[:-1], classes[1:]
    space = classes == SPACE
    # A space right before something visible belongs to it.
    joined = space & (after < SPACE)
    starts = _begins(values, classes, before, after) & (before != SPACE)
    starts |= joined
    white, white_before = space | (classes == WHITE), (before == SPACE) | (before == WHITE)
    starts |= white & ~white_before
    starts |= classes == BORDER
    starts[_last_spaces(classes, space & (before == WHITE), after)] = True
    return starts


def _begins(
    values: np.ndarray, classes: np.ndarray, before: np.ndarray, after: np.ndarray
) -> np.ndarray:
    """bool: where something visible begins that the character before is no part of."""
    letter = classes == LETTER
    inner = (classes == APOSTROPHE) & (before == LETTER) & (after == LETTER)
    word = letter | inner
    same = (classes == before) & ((classes == DIGIT) | (classes == REPEATED))
    same[1:] &= (classes[1:] == DIGIT) | (values[1:] == values[:-1])
    goes_on = same
    goes_on[1:] |= word[1:] & word[:-1]
    return (classes < SPACE) & ~goes_on


def _last_spaces(classes: np.ndarray, first: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Of spaces behind other white space, those with no other white space behind them.

    Args:
        first: bool, spaces behind other white space.
    """
    places = np.flatnonzero(first)
    ends = np.flatnonzero((classes == SPACE) & (after != SPACE))
    behind = after[ends[np.searchsorted(ends, places)]]
    return places[behind != WHITE]


@lru_cache(maxsize=1)
def _classes() -> np.ndarray:
    """uint8, one a code point, from the same expressions that cut a text by itself."""
    every = "".join(map(chr, range(LETTERS_END)))
    classes = np.full(sys.maxunicode + 1, OTHER, np.uint8)
    for kind, expression in _EXPRESSIONS.items():
        for found in re.finditer(f"{expression}+", every):
            classes[found.start() : found.end()] = kind
    return classes
