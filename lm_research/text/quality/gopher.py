"""The heuristics of Gopher (MassiveText): documents that are no text, and repetition.

Rae et al. 2021, Scaling Language Models: Methods, Analysis & Insights from Training Gopher,
arXiv:2112.11446, appendix A.1.1: "Quality Filtering", "Repetition Removal" and table A1. Every
bound is one that a document may just meet.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from lm_research.config.types import NonNegativeFloat, NonNegativeInt, PositiveInt, Probability
from lm_research.text.cleaning import Drop, Rule
from lm_research.text.word_pieces import segment_words

_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_BULLETS = ("•", "‣", "▶", "◀", "◦", "■", "□", "▪", "▫", "–", "- ", "* ", "●", "⁃", "∙", "·")
_WORD = re.compile(r"[^\W\d_]+")
_PARAGRAPHS = re.compile(r"\n\s*\n")
_TOP = {2: 0.20, 3: 0.18, 4: 0.16}
_DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


class GopherQuality(Rule):
    """Drops documents that are unlike running English text.

    Appendix A.1.1, "Quality Filtering". Words are what stands between white space. Which signs are
    bullets the paper does not say: here the usual ones, and "-" and "*" before a space.

    Args:
        min_words: fewest words.
        max_words: most words.
        min_mean_word_length: shortest mean word, in characters.
        max_mean_word_length: longest mean word.
        max_symbols_per_word: most hash signs for a word, and most ellipses.
        max_bullet_lines: largest share of lines that begin with a bullet.
        max_ellipsis_lines: largest share of lines that end with an ellipsis.
        min_alphabetic_words: smallest share of words with a letter in them.
        min_stop_words: fewest of the eight words the, be, to, of, and, that, have, with that must
            occur.
    """

    name = "gopher_quality"

    def __init__(
        self,
        min_words: NonNegativeInt = 50,
        max_words: PositiveInt = 100_000,
        min_mean_word_length: NonNegativeFloat = 3.0,
        max_mean_word_length: NonNegativeFloat = 10.0,
        max_symbols_per_word: NonNegativeFloat = 0.1,
        max_bullet_lines: Probability = 0.9,
        max_ellipsis_lines: Probability = 0.3,
        min_alphabetic_words: Probability = 0.8,
        min_stop_words: NonNegativeInt = 2,
    ) -> None:
        self.min_words = min_words
        self.max_words = max_words
        self.min_mean_word_length = min_mean_word_length
        self.max_mean_word_length = max_mean_word_length
        self.max_symbols_per_word = max_symbols_per_word
        self.max_bullet_lines = max_bullet_lines
        self.max_ellipsis_lines = max_ellipsis_lines
        self.min_alphabetic_words = min_alphabetic_words
        self.min_stop_words = min_stop_words

    def __call__(self, text: str) -> str | Drop:
        """The text, or the first reason to drop it."""
        words = text.split()
        if not words:
            return text if self.min_words == 0 else Drop("too few words")
        reason = self._of_words(words) or self._of_signs(text, words) or self._of_letters(words)
        return Drop(reason) if reason else text

    def _of_words(self, words: list[str]) -> str | None:
        mean = sum(map(len, words)) / len(words)
        if len(words) < self.min_words:
            return "too few words"
        if len(words) > self.max_words:
            return "too many words"
        if mean < self.min_mean_word_length:
            return "words too short"
        return "words too long" if mean > self.max_mean_word_length else None

    def _of_signs(self, text: str, words: list[str]) -> str | None:
        most = self.max_symbols_per_word * len(words)
        if text.count("#") > most:
            return "too many hash signs"
        if text.count("...") + text.count("…") > most:
            return "too many ellipses"
        lines = [line for raw in text.split("\n") if (line := raw.strip())]
        if sum(line.startswith(_BULLETS) for line in lines) > self.max_bullet_lines * len(lines):
            return "too many lines begin with a bullet"
        ellipses = sum(line.endswith(("...", "…")) for line in lines)
        if ellipses > self.max_ellipsis_lines * len(lines):
            return "too many lines end with an ellipsis"
        return None

    def _of_letters(self, words: list[str]) -> str | None:
        alphabetic = sum(any(map(str.isalpha, word)) for word in words)
        if alphabetic < self.min_alphabetic_words * len(words):
            return "too few words with letters"
        present = {w for word in words for w in _WORD.findall(word.lower()) if w in _STOP_WORDS}
        return "too few stop words" if len(present) < self.min_stop_words else None


class GopherRepetition(Rule):
    """Drops documents that repeat themselves.

    Appendix A.1.1, "Repetition Removal", with the thresholds of table A1. What repeats is every
    occurrence of a line, paragraph or n-gram after its first; of the most frequent 2-, 3- and
    4-gram, which must occur twice, all occurrences count. Shares of characters are of those in
    words (in lines, in paragraphs), none counted twice.

    Args:
        max_duplicate_lines: largest share of lines that repeat another.
        max_duplicate_paragraphs: the same of paragraphs, which empty lines part.
        max_duplicate_line_characters: largest share of characters in such lines.
        max_duplicate_paragraph_characters: the same of paragraphs.
        max_top_ngrams: n -> largest share of characters in the most frequent n-gram; null: table
            A1's (2: 0.20, 3: 0.18, 4: 0.16).
        max_duplicate_ngrams: n -> largest share of characters in n-grams that repeat; null: table
            A1's (5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10).
        words: what stands between white space ("spaces"), or the words and numbers of
            `word_pieces.segment_words`, where each Han character is one ("pieces", for Chinese).
    """

    name = "gopher_repetition"

    def __init__(
        self,
        max_duplicate_lines: Probability = 0.3,
        max_duplicate_paragraphs: Probability = 0.3,
        max_duplicate_line_characters: Probability = 0.2,
        max_duplicate_paragraph_characters: Probability = 0.2,
        max_top_ngrams: dict[int, Probability] | None = None,
        max_duplicate_ngrams: dict[int, Probability] | None = None,
        words: Literal["spaces", "pieces"] = "spaces",
    ) -> None:
        if words not in ("spaces", "pieces"):
            raise ValueError(f"words is {words!r}; it must be spaces or pieces")
        self.lines = max_duplicate_lines, max_duplicate_line_characters
        self.paragraphs = max_duplicate_paragraphs, max_duplicate_paragraph_characters
        self.top = _TOP if max_top_ngrams is None else max_top_ngrams
        self.duplicate = _DUPLICATE if max_duplicate_ngrams is None else max_duplicate_ngrams
        self.words = words

    def __call__(self, text: str) -> str | Drop:
        """The text, or the first reason to drop it."""
        reason = next(self._reasons(text), None)
        return Drop(reason) if reason else text

    def _reasons(self, text: str) -> Iterator[str]:
        parts = {"lines": text.split("\n"), "paragraphs": _PARAGRAPHS.split(text)}
        for name, most in (("lines", self.lines), ("paragraphs", self.paragraphs)):
            items, characters = duplicate_shares([p for raw in parts[name] if (p := raw.strip())])
            if items > most[0]:
                yield f"duplicate {name}"
            if characters > most[1]:
                yield f"characters in duplicate {name}"
        words = text.split() if self.words == "spaces" else alphanumeric_pieces(text)
        for n, share in self.top.items():
            if top_ngram_share(words, n) > share:
                yield f"top {n}-gram"
        for n, share in self.duplicate.items():
            if duplicate_ngram_share(words, n) > share:
                yield f"duplicate {n}-grams"


def alphanumeric_pieces(text: str) -> list[str]:
    """Words and numbers in lower case, as `segment_words` cuts them; Han characters singly."""
    pieces = (piece.lstrip(" ") for piece in segment_words(text.lower()))
    return [piece for piece in pieces if piece[:1].isalnum()]


def duplicate_shares(items: Sequence[str]) -> tuple[float, float]:
    """Share of the items that repeat an earlier one, and share of the characters in those."""
    seen: set[str] = set()
    repeated = characters = 0
    for item in items:
        if item in seen:
            repeated, characters = repeated + 1, characters + len(item)
        seen.add(item)
    total = sum(map(len, items))
    return repeated / max(len(items), 1), characters / max(total, 1)


def top_ngram_share(words: Sequence[str], n: int) -> float:
    """Share of the words' characters in the most frequent n-gram; 0 if none occurs twice.

    Of n-grams that occur equally often, the one with the most characters.
    """
    counts = Counter(_ngrams(words, n))
    if not counts:
        return 0.0
    most = max(counts.values())
    if most < 2:
        return 0.0
    top = max((g for g, count in counts.items() if count == most), key=lambda g: sum(map(len, g)))
    starts = (i for i, ngram in enumerate(_ngrams(words, n)) if ngram == top)
    return _covered(words, n, starts)


def duplicate_ngram_share(words: Sequence[str], n: int) -> float:
    """Share of the words' characters in n-grams that have occurred before."""
    if len(set(_ngrams(words, n))) > len(words) - n:
        return 0.0
    seen: set[tuple[str, ...]] = set()
    starts = []
    for i, ngram in enumerate(_ngrams(words, n)):
        if ngram in seen:
            starts.append(i)
        seen.add(ngram)
    return _covered(words, n, starts)


def _ngrams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[i:] for i in range(n)), strict=False)


def _covered(words: Sequence[str], n: int, starts: Iterator[int] | Sequence[int]) -> float:
    """Share of the characters in n-grams that begin at ``starts``, which ascend."""
    covered = end = 0
    for start in starts:
        covered += sum(map(len, words[max(start, end) : start + n]))
        end = start + n
    return covered / max(sum(map(len, words)), 1)
