"""Texts with words of a list of one's own: abusive ones, say."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Literal

from lm_research.config.types import Probability
from lm_research.text.cleaning import Drop, Rule
from lm_research.text.word_pieces import segment_words


class WordList(Rule):
    """Drops documents with words of a file, or masks the words.

    The file has a word or phrase a line, in UTF-8; empty lines and those that begin with "#" do not
    count. One rule a language. Case does not matter. Words are those of `segment_words`: a
    listed "ass" is not found in "class"; Chinese, which has no spaces, is matched by characters.
    C4 (Raffel et al. 2020, section 2.2, third item) drops a page for a single word of the "List of
    Dirty, Naughty, Obscene or Otherwise Bad Words". No list comes with this project: what is
    offensive depends on who asks and what for, and such lists drop texts by and about minorities
    (Dodge et al. 2021).

    Args:
        path: the file.
        action: "drop" the document, or "mask" the words.
        max_share: largest share of listed words that a document may have: "drop" drops, and "mask"
            masks, above it. 0 allows none.
        replacement: the mask.

    Raises:
        ValueError: the file cannot be read, or has no word.
    """

    name = "word_list"

    def __init__(
        self,
        path: str,
        action: Literal["drop", "mask"] = "drop",
        max_share: Probability = 0.0,
        replacement: str = "<word>",
    ) -> None:
        if action not in ("drop", "mask"):
            raise ValueError(f"action is {action!r}; it must be drop or mask")
        self.path, self.action, self.max_share = path, action, max_share
        self.replacement = replacement
        try:
            self._content = Path(path).read_bytes()
            lines = self._content.decode("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(
                f"path={path} cannot be read: {error}; allowed is UTF-8 text, one word a line"
            ) from error
        words = (line.strip() for line in lines)
        self._phrases = {_words(word) for word in words if word and not word.startswith("#")}
        self._lengths = sorted({len(phrase) for phrase in self._phrases}, reverse=True)
        if not self._phrases:
            raise ValueError(f"path={path} has no word; it must have one word or phrase a line")
        self._firsts = {phrase[0] for phrase in self._phrases}

    def __call__(self, text: str) -> str | Drop:
        """The text, masked or whole, or why it is dropped."""
        pieces = segment_words(text)
        words = [piece.strip().casefold() for piece in pieces]
        found = list(self._found(words))
        share = sum(end - start for start, end in found) / max(sum(map(bool, words)), 1)
        if not found or share <= self.max_share:
            return text
        return Drop("listed words") if self.action == "drop" else self._masked(pieces, found)

    def _found(self, words: list[str]) -> Iterator[tuple[int, int]]:
        i = 0
        while i < len(words):
            end = self._end(words, i) if words[i] in self._firsts else i
            if end > i:
                yield i, end
            i = max(end, i + 1)

    def _end(self, words: list[str], start: int) -> int:
        """Where the longest listed phrase that begins at ``start`` ends; ``start`` if none does."""
        for length in self._lengths:
            if tuple(words[start : start + length]) in self._phrases:
                return min(start + length, len(words))
        return start

    def _masked(self, pieces: list[str], found: list[tuple[int, int]]) -> str:
        for start, end in found:
            space = pieces[start][: len(pieces[start]) - len(pieces[start].lstrip())]
            pieces[start:end] = [space + self.replacement, *[""] * (end - start - 1)]
        return "".join(pieces)

    def signature(self) -> str:
        """The file's content."""
        return sha256(self._content).hexdigest()


def _words(phrase: str) -> tuple[str, ...]:
    return tuple(piece.strip().casefold() for piece in segment_words(phrase))
