"""Words, numbers, punctuation and white space, cut so that nothing is lost."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lm_research.config.types import PositiveInt
from lm_research.text.chunks import ChunkMemory, count_pieces
from lm_research.text.tokenizer import Encoding, Encodings
from lm_research.text.unicode import valid_unicode
from lm_research.text.vocabulary import SPECIAL_NAMES, UNKNOWN_ID, VocabularyTokenizer
from lm_research.text.word_arrays import Cut, Lookup, cut
from lm_research.text.word_pieces import segment_words


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

    def encode_batch(self, texts: Sequence[str], dtype: np.dtype) -> Encodings:
        """The same, by operations on all characters at once."""
        self._require_vocabulary()
        valid = [valid_unicode(text) for text in texts]
        folded = [text.lower() for text in valid] if self.lowercase else valid
        found = self._encode_all(folded)
        separator = np.array([self.separator_id], dtype)
        ids = [part for one in found for part in (one.ids_N.astype(dtype), separator)]
        nats_D = np.array([one.spelling_nats for one in found], np.float64)
        nats_D[[text != given for text, given in zip(folded, valid, strict=True)]] = np.nan
        lengths_D = np.array([len(one.ids_N) for one in found], np.int64)
        return Encodings(np.concatenate([np.empty(0, dtype), *ids]), lengths_D, nats_D)

    def _encode_all(self, texts: Sequence[str]) -> list[Encoding]:
        """ASCII texts together, one byte a character, and the others."""
        plain = list(map(str.isascii, texts))
        sides = {
            ascii: self._by_arrays(
                [t for t, p in zip(texts, plain, strict=True) if p == ascii], ascii
            )
            for ascii in (True, False)
        }
        return [next(sides[ascii]) for ascii in plain]

    def _by_arrays(self, texts: Sequence[str], ascii: bool) -> Iterator[Encoding]:
        """Each text's ids and nats."""
        if not texts:
            return
        pieces = cut(texts, ascii)
        hashes = pieces.hashes()
        ids = self._lookup(hashes)
        ids[pieces.borders] = self.separator_id
        unknown = np.flatnonzero(ids == UNKNOWN_ID)
        nats = self._nats_of(pieces, unknown, hashes[unknown])
        cuts = np.searchsorted(unknown, pieces.borders)
        first = low = 0
        for place, (border, high) in enumerate(
            zip(pieces.borders.tolist(), cuts.tolist(), strict=True)
        ):
            if pieces.whole_D[place]:
                yield Encoding(ids[first:border], sum(nats[low:high], 0.0))
            else:
                yield Encoding(*self._memory.ids(texts[place]))
            first, low = border + 1, high

    def _nats_of(self, pieces: Cut, unknown: np.ndarray, hashes: np.ndarray) -> list[float]:
        """What each of the unknown pieces costs, those that are alike looked up once."""
        _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
        places, ends = unknown[first], np.append(pieces.starts, len(pieces.text))
        bounds = zip(ends[places].tolist(), ends[places + 1].tolist(), strict=True)
        nats = [self.spelling.nats(pieces.text[start:end]) for start, end in bounds]
        return np.array(nats, np.float64)[which].tolist()

    def _encode_chunk(self, chunk: str) -> tuple[np.ndarray, list[float]]:
        ids_N, unknown = self._look_up(segment_words(chunk))
        return ids_N, [self.spelling.nats(piece) for piece in unknown]

    def _count(self, texts: Iterable[str]) -> Counter[str]:
        lowered = (text.lower() for text in texts) if self.lowercase else texts
        return count_pieces(lowered, segment_words)

    def _set_pieces(self, pieces: Sequence[str]) -> None:
        super()._set_pieces(pieces)
        self._memory.forget()
        self._lookup = Lookup(pieces, len(SPECIAL_NAMES), UNKNOWN_ID)
