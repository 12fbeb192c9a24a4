"""Units: words where spaces part them, characters where none do. What overlap is counted in.

A unit is a Han, kana, Thai, Lao, Khmer or Burmese character, or a run of other letters, digits and
underscores, in lower case. Punctuation and white space are none, so that neither hides a copy. One
rule serves every language and text that mixes them, and no tokenizer enters it.

A unit's hash is the upper half of that of :mod:`~lm_research.text.run_hashes`. All units of many
texts are hashed by a few array operations, ten times as fast as one by one.
"""

import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lm_research.text.run_hashes import run_hashes

_SINGLE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_UNIT = re.compile(f"[{_SINGLE}]|[^\\W{_SINGLE}]+")
LETTERS_END = 0x40000
"""No letter, digit or white space has a code point from here on."""
_SPACE_CLASS, _RUN_CLASS, _SINGLE_CLASS = 1, 2, 3


class Units(NamedTuple):
    """Units of several texts: ``hashes_N`` (uint32) of all of them, one text after the other, and
    of each text how many units it has and how many runs between white space (int64)."""

    hashes_N: np.ndarray
    lengths_D: np.ndarray
    words_D: np.ndarray


def units(text: str) -> list[str]:
    """The units of a text, in order."""
    return _UNIT.findall(text.lower())


def unit_hashes(text: str) -> np.ndarray:
    """uint32 [N]: a hash of each unit.

    Two different units share a hash with probability 2^-32; two different runs of n units, which
    is what overlap asks about, need n such accidents, or one in the 64 bits of their own hash.
    """
    return units_of([text]).hashes_N


def units_of(texts: Sequence[str]) -> Units:
    """Hashes of the units of each text, and its words."""
    ascii_D = np.fromiter(map(str.isascii, texts), bool, len(texts))
    if ascii_D.all():
        return _of_ascii(texts)
    if not ascii_D.any():
        return _of_any(texts)
    plain = _of_ascii([text for text in texts if text.isascii()])
    other = _of_any([text for text in texts if not text.isascii()])
    lengths_D, words_D = (np.empty(len(texts), np.int64) for _ in range(2))
    lengths_D[ascii_D], lengths_D[~ascii_D] = plain.lengths_D, other.lengths_D
    words_D[ascii_D], words_D[~ascii_D] = plain.words_D, other.words_D
    ascii_N = np.repeat(ascii_D, lengths_D)
    hashes_N = np.empty(len(ascii_N), np.uint32)
    hashes_N[ascii_N], hashes_N[~ascii_N] = plain.hashes_N, other.hashes_N
    return Units(hashes_N, lengths_D, words_D)


def _of_ascii(texts: Sequence[str]) -> Units:
    """Bytes by tables: one of what they are in a unit, one of which are white space."""
    data = "\n".join([*texts, ""]).encode()
    values = np.frombuffer(data.translate(_ASCII_VALUES), np.uint8)
    space = np.frombuffer(data.translate(_ASCII_SPACE), bool)
    return _counted(values, _starts(values != 0), space, texts)


def _of_any(texts: Sequence[str]) -> Units:
    lowered = [text.lower() for text in texts]  # may be longer; its spaces are where they were
    data = "\n".join([*lowered, ""]).encode("utf-32-le", "surrogatepass")
    points = np.frombuffer(data, np.uint32)
    classes = _classes()[points]
    single, run = classes == _SINGLE_CLASS, classes == _RUN_CLASS
    values = points * (single | run)
    begins = single | _starts(run)
    return _counted(values, begins, classes == _SPACE_CLASS, lowered)


def _starts(inside: np.ndarray) -> np.ndarray:
    """bool: where a run of true values begins."""
    starts = inside.copy()
    starts[1:] &= ~inside[:-1]
    return starts


def _counted(
    values: np.ndarray, begins: np.ndarray, space: np.ndarray, texts: Sequence[str]
) -> Units:
    """Units and words of texts, each with a line break behind it in ``values``.

    Args:
        values: code points of units, 0 elsewhere.
        begins: whether a unit begins here.
        space: whether this is white space.
    """
    lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
    borders = np.concatenate([[0], np.cumsum(lengths)])
    starts = np.flatnonzero(begins)
    words = np.flatnonzero(_starts(~space))
    lengths_D, words_D = (np.diff(np.searchsorted(where, borders)) for where in (starts, words))
    hashes_N = (run_hashes(values, starts) >> np.uint64(32)).astype(np.uint32)
    return Units(hashes_N, lengths_D, words_D)


@lru_cache(maxsize=1)
def _classes() -> np.ndarray:
    """uint8, one a code point: white space, in a run, a unit by itself, or none of these."""
    every = "".join(map(chr, range(LETTERS_END)))
    classes = np.zeros(sys.maxunicode + 1, np.uint8)
    for test, kind in ((str.isspace, _SPACE_CLASS), (str.isalnum, _RUN_CLASS)):
        classes[:LETTERS_END][np.fromiter(map(test, every), bool, len(every))] = kind
    classes[ord("_")] = _RUN_CLASS
    for found in re.finditer(f"[{_SINGLE}]+", every):
        classes[found.start() : found.end()] = _SINGLE_CLASS
    return classes


def _ascii_value(byte: int) -> int:
    character = chr(byte)
    return ord(character.lower()) if character.isalnum() or character == "_" else 0


_ASCII_VALUES = bytes(_ascii_value(b) if b < 128 else 0 for b in range(256))
"""Bytes of units in lower case, others 0."""
_ASCII_SPACE = bytes(b < 128 and chr(b).isspace() for b in range(256))
