"""What the tokenizers with a closed vocabulary share: counting, ids, unknown pieces."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from lm_research.text.spelling import SpellingModel
from lm_research.text.tokenizer import Encoding, Tokenizer
from lm_research.text.unicode import REPLACEMENT_CHARACTER, printable, valid_unicode

SPECIAL_NAMES = ("<separator>", "<unknown>")
_SPECIAL_TEXT = ("\n", REPLACEMENT_CHARACTER)
UNKNOWN_ID = 1
EMPTY_TRAINING_TEXT = (
    "the training text is empty, so there is no vocabulary to build: check the data source, the "
    "cleaning rules that drop documents, and the training split"
)


class VocabularyTokenizer(Tokenizer):
    """A tokenizer whose vocabulary is a list of pieces: 0 separator, 1 unknown, then the pieces.

    The pieces are the most frequent of the training text, ties in the order of code points, so that
    the ids depend on the text alone. A piece outside the vocabulary becomes the unknown token and
    is paid for by a :class:`~lm_research.text.spelling.SpellingModel`, in
    ``Encoding.spelling_nats``. A model learns when to expect the unknown token only if the training
    text has some: a ``minimum_count`` of 2 sees to that, whatever ``vocabulary_size`` is.

    Subclasses say how a text is cut, in :meth:`segment`.

    Args:
        vocabulary_size: most ids there may be, separator and unknown included. A training text with
            fewer pieces gives a smaller vocabulary.
        minimum_count: occurrences in the training text that a piece of the vocabulary needs.
    """

    unknown_id = UNKNOWN_ID
    lossless = False

    def __init__(self, vocabulary_size: int, minimum_count: int = 1) -> None:
        if vocabulary_size <= len(SPECIAL_NAMES):
            raise ValueError(
                f"vocabulary_size is {vocabulary_size}, and the separator and the unknown token "
                f"take {len(SPECIAL_NAMES)}: ask for at least {len(SPECIAL_NAMES) + 1}"
            )
        if minimum_count < 1:
            raise ValueError(f"minimum_count is {minimum_count}; it must be at least 1")
        self.maximum_size = vocabulary_size
        self.minimum_count = minimum_count
        self.spelling = SpellingModel()
        self._pieces: list[str] = []
        self._id_of: dict[str, int] = {}

    @abstractmethod
    def segment(self, text: str) -> Sequence[str]:
        """Cut a text into pieces; their concatenation is the text (or its lower-cased form)."""

    @property
    def vocabulary_size(self) -> int:
        """Number of ids. Raises RuntimeError before ``train`` or ``load_state_dict``."""
        self._require_vocabulary()
        return len(self._pieces)

    def train(self, texts: Iterable[str]) -> None:
        """Count pieces and keep the most frequent; memory grows with the distinct pieces alone.

        Raises:
            ValueError: if no piece is left beside the separator and the unknown token.
        """
        counts = self._count(map(valid_unicode, texts))
        self._set_pieces(self._most_frequent(counts))
        self.spelling.train(counts)

    def _count(self, texts: Iterable[str]) -> Counter[str]:
        """How often each piece occurs in texts of valid Unicode."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(self.segment(text))
        return counts

    def encode(self, text: str) -> Encoding:
        """Ids of one text, and the nats that its unknown pieces cost to spell."""
        self._require_vocabulary()
        ids_N, unknown = self._look_up(self.segment(valid_unicode(text)))
        return Encoding(ids_N, sum(map(self.spelling.nats, unknown), 0.0))

    def _look_up(self, pieces: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Ids of pieces, int64, and the pieces that are unknown."""
        ids_N = np.fromiter(map(self._id_of.get, pieces, repeat(UNKNOWN_ID)), np.int64, len(pieces))
        return ids_N, [pieces[i] for i in np.flatnonzero(ids_N == UNKNOWN_ID).tolist()]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; separators become a newline, unknown tokens U+FFFD."""
        pieces = self._pieces
        return "".join([pieces[i] for i in id_array(ids, self.vocabulary_size).tolist()])

    def token(self, id: int) -> str:
        """A printable name of one id, spaces shown as U+2423."""
        id = int(id_array([id], self.vocabulary_size)[0])
        return SPECIAL_NAMES[id] if id < len(SPECIAL_NAMES) else printable(self._pieces[id])

    def state_dict(self) -> dict[str, Any]:
        """The pieces in the order of their ids, and the spelling model."""
        return {
            "pieces": self._pieces[len(SPECIAL_NAMES) :],
            "spelling": self.spelling.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        if not all(isinstance(piece, str) for piece in state["pieces"]):
            raise ValueError("pieces: expected a list of text")
        self._set_pieces(state["pieces"])
        self.spelling.load_state_dict(state["spelling"])

    def _most_frequent(self, counts: Mapping[str, int]) -> list[str]:
        if not counts:
            raise ValueError(EMPTY_TRAINING_TEXT)
        kept = [(-count, piece) for piece, count in counts.items() if count >= self.minimum_count]
        if not kept:
            raise ValueError(
                f"no piece of the training text occurs {self.minimum_count} times, so the "
                "vocabulary would be empty: lower minimum_count or train on more text"
            )
        return [piece for _, piece in sorted(kept)[: self.maximum_size - len(SPECIAL_NAMES)]]

    def _set_pieces(self, pieces: Sequence[str]) -> None:
        self._pieces = [*_SPECIAL_TEXT, *pieces]
        self._id_of = {piece: i for i, piece in enumerate(pieces, len(SPECIAL_NAMES))}

    def _require_vocabulary(self) -> None:
        if not self._pieces:
            raise RuntimeError(
                f"this {type(self).__name__} has no vocabulary yet: call train(texts) or "
                "load_state_dict(state) first"
            )


def id_array(ids: Iterable[int], vocabulary_size: int) -> np.ndarray:
    """Ids as int64 [N]. Raises ValueError for one outside [0, vocabulary_size)."""
    values = ids if isinstance(ids, np.ndarray) else [int(i) for i in ids]
    ids_N = np.asarray(values, dtype=np.int64).reshape(-1)
    outside = ids_N[(ids_N < 0) | (ids_N >= vocabulary_size)]
    if outside.size:
        raise ValueError(f"id {outside[0]} is not in the vocabulary [0, {vocabulary_size})")
    return ids_N
