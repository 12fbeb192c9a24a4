"""Words of a text that carry tags: where they are in it, how a text without marks is cut into some.

A sentence is handled as pieces, one a word: the white space before the word, and the word. They
concatenate to the sentence, and each is encoded by itself, so that with any tokenizer a word is
some tokens in a row, and no token is of two words.

Shapes: N tokens, W words of a sentence.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from lm_research.text.chinese_word import jieba_tokenizer, slices
from lm_research.text.cleaning import Cleaner, Comparing, Rule
from lm_research.text.tokenizer import Tokenizer
from lm_research.text.unicode import valid_unicode
from lm_research.text.word_pieces import segment_words

LONGEST = 256
"""Words of a sentence; the rest of a longer one is a sentence of its own."""
Cut = Literal["auto", "spaces"]
_SPACE = re.compile(r"\s*")
_LINE_END = re.compile("[\n\r\u2028\u2029]")
_WHOLE = re.compile(r"(\d++(?:[.,:]\d++)++|\b(?:[^\W\d_]\.){2,64}+)")
_CLITIC = re.compile(r"(.+?)(n['’]t|['’](?:s|re|ve|ll|d|m))", re.IGNORECASE)
_CANNOT = re.compile(r"(can)(not)", re.IGNORECASE)


class EncodedWords(NamedTuple):
    """Ids of a sentence (int64), where in them each word ends, and what unknown pieces cost.

    Word w has the tokens ``ends_W[w - 1] .. ends_W[w] - 1``, and at least one.
    """

    ids_N: np.ndarray
    ends_W: np.ndarray
    spelling_nats: float


def as_it_is(word: str) -> str:
    """The word."""
    return word


def cleaning_of(rules: Iterable[Rule]) -> Callable[[str], str]:
    """What cleaning rules make of a word by itself; a word that they would drop stays."""
    cleaner = Cleaner(rule for rule in rules if not isinstance(rule, Comparing))
    return lambda word: cleaner.clean(word) or word


def aligned(
    text: str, words: Sequence[str], changed: Callable[[str], str] = as_it_is
) -> list[str] | None:
    """The pieces of a text, one a word; None where the words are not those of the text, in order.

    Nothing but white space may stand between words. A text that was cut ends before its last words,
    which then have no piece.

    Args:
        changed: what cleaning may have made of a word that is not in the text as it is.
    """
    pieces: list[str] = []
    at = 0
    for word in words:
        start = _end_of_space(text, at)
        if not text.startswith(word, start):
            word = changed(word)
        if not word or not text.startswith(word, start):
            return pieces if word.startswith(text[start:]) else None
        pieces.append(text[at : start + len(word)])
        at = start + len(word)
    return None if text[at:].strip() else pieces


def _end_of_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def sentences(pieces: Sequence[str]) -> list[list[str]]:
    """Pieces by sentences, which line ends part, the white space before each left out."""
    found: list[list[str]] = []
    for piece in pieces:
        word = piece.lstrip()
        space = piece[: len(piece) - len(word)]
        if not found or _LINE_END.search(space) or len(found[-1]) >= LONGEST:
            found.append([word])
        else:
            found[-1].append(piece)
    return found


def encoded(tokenizer: Tokenizer, pieces: Sequence[str]) -> EncodedWords | None:
    """A sentence as ids; None if there is a word that the tokenizer has no token for."""
    encodings = tokenizer.encode_batch(pieces, np.dtype(np.int64))
    separators = np.cumsum(encodings.lengths_D + 1) - 1
    if not encodings.lengths_D.all():
        return None
    ids_N = np.delete(encodings.ids_N, separators).astype(np.int64)
    return EncodedWords(ids_N, np.cumsum(encodings.lengths_D), float(encodings.nats_D.sum()))


def words_of(text: str, language: str, cut: Cut = "auto") -> list[str]:
    """The words of a text that nobody has cut, in order; they hold all of it but white space.

    Args:
        language: Chinese is cut by jieba; others where white space and punctuation are, numbers
            ("1,234.5") and initials ("U.S.") whole; English also before "n't", "'s" and the like,
            as in treebanks.
        cut: "spaces": white space alone parts words; the text was cut before.
    """
    text = valid_unicode(text)
    if cut == "spaces":
        return text.split()
    if language == "zh":
        pieces = [word for part in slices(text) for word in jieba_tokenizer().cut(part)]
        return [word for piece in pieces for word in piece.split()]
    found: list[str] = []
    for part in _WHOLE.split(text):
        pieces = [part] if _WHOLE.fullmatch(part) else segment_words(part)
        found += [word for piece in pieces for word in piece.split()]
    return [part for word in found for part in _parted(word)] if language == "en" else found


def _parted(word: str) -> Sequence[str]:
    """ "do" and "n't", "can" and "not"."""
    match = _CANNOT.fullmatch(word) or _CLITIC.fullmatch(word)
    return match.groups() if match else (word,)
