"""Words, numbers, punctuation and white space, cut so that nothing is lost."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from lm_research.config.types import PositiveInt
from lm_research.text.chunks import ChunkMemory, count_pieces
from lm_research.text.tokenizer import Encoding
from lm_research.text.unicode import COMBINING_MARKS, valid_unicode
from lm_research.text.vocabulary import UNKNOWN_ID, VocabularyTokenizer

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LONGEST_RUN = 64
_REPEATED_PUNCTUATION = ".-=*#/!?~_"


def _pattern() -> re.Pattern[str]:
    """Every branch is deterministic or a single class, so that matching takes linear time."""
    run = f"{{1,{_LONGEST_RUN}}}+"
    letter = rf"[^\W\d_{_HAN}]"
    # ``re`` takes marks for no letters; Indic and Persian words also need the zero-width joiners.
    joiner = f"[{COMBINING_MARKS}\u200c\u200d]"
    word = rf"{letter}{run}(?:{joiner}{{1,8}}+{letter}{{0,{_LONGEST_RUN}}}+|['’]{letter}{run})"
    word += f"{{0,{_LONGEST_RUN}}}+"
    repeated = "|".join(rf"{re.escape(c)}{{2,{_LONGEST_RUN}}}+" for c in _REPEATED_PUNCTUATION)
    visible = rf" ?(?:{word}|[{_HAN}]|\d{run}|{repeated}|[^\w\s]|\w)"
    # White space before a word: up to its last line break or tab, then all spaces but the word's.
    return re.compile(rf"{visible}|\s*[^\S ]| +(?= \S)|\s+")


_PIECE = _pattern()


def segment_words(text: str) -> list[str]:
    """Cut a text into words and what stands between them; the pieces concatenate to the text.

    - A word is letters with their combining marks, and the apostrophes inside it ("don't",
      "l'eau"); a Han ideograph is a piece of its own, Thai and kana, without spaces, are not cut.
    - Numbers are runs of digits; punctuation comes one by one, except that a repeated mark ("...",
      "====") stays together.
    - Any of these takes the one space before it along, so that " the" is one piece, and "the" at
      the start of a line another. Other white space: a run up to its last line break or tab, then
      the spaces left.

    A run longer than 64 (a base64 blob) is cut there, which keeps the distinct pieces few.
    """
    return _PIECE.findall(text)


class WordTokenizer(VocabularyTokenizer):
    """Words with their leading space, numbers, punctuation, white space: see `segment_words`.

    Unknown pieces are spelled, so that bits per byte stay defined. With ``lowercase`` they do not:
    which letters were capital is lost and nothing pays for it, so ``Encoding.spelling_nats`` is NaN
    (undefined) for every text that lower-casing changes.

    Args:
        vocabulary_size: most ids there may be, separator and unknown included.
        lowercase: fold capitals first.
        minimum_count: occurrences that a piece of the vocabulary needs in the training text; with
            2 or more, the training text itself has unknown pieces to learn from.
    """

    def __init__(
        self,
        vocabulary_size: PositiveInt,
        lowercase: bool = False,
        minimum_count: PositiveInt = 1,
    ) -> None:
        super().__init__(vocabulary_size, minimum_count)
        self.lowercase = lowercase
        self._memory = ChunkMemory(self._encode_chunk, UNKNOWN_ID)

    def segment(self, text: str) -> Sequence[str]:
        """Pieces of the text, or of its lower-cased form."""
        return segment_words(text.lower() if self.lowercase else text)

    def encode(self, text: str) -> Encoding:
        """Ids of one text, and the nats of its unknown pieces; NaN where capitals were lost."""
        self._require_vocabulary()
        text = valid_unicode(text)
        folded = text.lower() if self.lowercase else text
        ids_N, nats = self._memory.ids(folded)
        return Encoding(ids_N, nats if folded == text else float("nan"))

    def _encode_chunk(self, chunk: str) -> tuple[np.ndarray, list[float]]:
        ids_N, unknown = self._look_up(segment_words(chunk))
        return ids_N, [self.spelling.nats(piece) for piece in unknown]

    def _count(self, texts: Iterable[str]) -> Counter[str]:
        lowered = (text.lower() for text in texts) if self.lowercase else texts
        return count_pieces(lowered, segment_words)

    def _set_pieces(self, pieces: Sequence[str]) -> None:
        super()._set_pieces(pieces)
        self._memory.forget()
