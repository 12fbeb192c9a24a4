"""Words, numbers, punctuation and white space, cut so that nothing is lost."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lm_research.config.types import PositiveInt
from lm_research.text.chunks import ChunkMemory, count_pieces
from lm_research.text.tokenizer import Encoding, Encodings
from lm_research.text.unicode import valid_unicode, with_prefix_space
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
        add_prefix_space: read " word" for a text that begins with "word", so that its first word is
            the token that it is elsewhere; ``decode`` keeps that space.
    """

    def __init__(
        self,
        vocabulary_size: PositiveInt,
        lowercase: bool = False,
        minimum_count: PositiveInt = 1,
        add_prefix_space: bool = False,
    ) -> None:
        super().__init__(vocabulary_size, minimum_count)
        self.lowercase, self.add_prefix_space = lowercase, add_prefix_space
        self._memory = ChunkMemory(self._encode_chunk, UNKNOWN_ID)

    def segment(self, text: str) -> Sequence[str]:
        """Pieces of the text, with its prefix and lower-cased as asked for."""
        return segment_words(self._read(text))

    def _read(self, text: str) -> str:
        text = with_prefix_space(text) if self.add_prefix_space else text
        return text.lower() if self.lowercase else text

    def _loses_capitals(self, text: str) -> bool:
        return self.lowercase and text.lower() != text

    def encode(self, text: str) -> Encoding:
        """Ids of one text, and the nats of its unknown pieces; NaN where capitals were lost."""
        self._require_vocabulary()
        text = valid_unicode(text)
        ids_N, nats = self._memory.ids(self._read(text))
        return Encoding(ids_N, float("nan") if self._loses_capitals(text) else nats)

    def encode_batch(self, texts: Sequence[str], dtype: np.dtype) -> Encodings:
        """The same, by operations on all characters at once."""
        self._require_vocabulary()
        valid = [valid_unicode(text) for text in texts]
        found = self._encode_all(list(map(self._read, valid)))
        separator = np.array([self.separator_id], dtype)
        ids = [part for one in found for part in (one.ids_N.astype(dtype), separator)]
        nats_D = np.array([one.spelling_nats for one in found], np.float64)
        nats_D[list(map(self._loses_capitals, valid))] = np.nan
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
        return count_pieces(map(self._read, texts), segment_words)

    def _set_pieces(self, pieces: Sequence[str]) -> None:
        super()._set_pieces(pieces)
        self._memory.forget()
        self._lookup = Lookup(pieces, len(SPECIAL_NAMES), UNKNOWN_ID)
