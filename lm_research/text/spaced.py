"""Words of a corpus that somebody has tokenized already: what spaces part, and nothing else."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from lm_research.config.types import PositiveInt
from lm_research.text.tokenizer import Encoding
from lm_research.text.unicode import valid_unicode
from lm_research.text.vocabulary import (
    EMPTY_TRAINING_TEXT,
    UNKNOWN_ID,
    VocabularyTokenizer,
    id_array,
)


class SpacedTokenizer(VocabularyTokenizer):
    """Words parted by single spaces, as in Mikolov's Penn Treebank and in WikiText.

    With the separator as the end of a line, the tokens are those that published perplexities count.
    The corpus' own word for rare words (``<unk>``) is text like any other: it is predicted,
    it costs nothing beyond that, and its id is the one of unknown words, so that the vocabulary has
    as many ids as the published one. Other unknown words are spelled.

    A text with other white space than single spaces between words would not come back from the
    ids: its ``Encoding.spelling_nats`` are NaN, and bits per byte undefined.

    Args:
        vocabulary_size: most ids there may be, separator and unknown included.
        unknown: the corpus' word for rare words; ``None``: it has none.
        minimum_count: occurrences that a word of the vocabulary needs in the training text.
    """

    def __init__(
        self,
        vocabulary_size: PositiveInt,
        unknown: str | None = "<unk>",
        minimum_count: PositiveInt = 1,
    ) -> None:
        super().__init__(vocabulary_size, minimum_count)
        self.unknown = unknown

    def segment(self, text: str) -> Sequence[str]:
        """What white space parts."""
        return text.split()

    def train(self, texts: Iterable[str]) -> None:
        """Count words and keep the most frequent. Raises ValueError where there is none."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(self.segment(valid_unicode(text)))
        if not counts:
            raise ValueError(EMPTY_TRAINING_TEXT)
        if self.unknown is not None:
            counts.pop(self.unknown, None)
        self._set_pieces(self._most_frequent(counts) if counts else [])
        self.spelling.train(counts)

    def encode(self, text: str) -> Encoding:
        """Ids of one text; NaN nats where the spaces cannot be told from them."""
        words = self.segment(valid_unicode(text))
        if " ".join(words) != text:
            return Encoding(super().encode(text).ids_N, float("nan"))
        others = [word for word in words if word != self.unknown]
        nats = super().encode(" ".join(others)).spelling_nats
        return Encoding(super().encode(text).ids_N, nats)

    def decode(self, ids: Iterable[int]) -> str:
        """Words with a space between, separators as newlines, unknown words as :attr:`unknown`."""
        lines: list[list[str]] = [[]]
        for i in id_array(ids, self.vocabulary_size).tolist():
            if i == self.separator_id:
                lines.append([])
            else:
                known = i != UNKNOWN_ID or self.unknown is None
                lines[-1].append(self._pieces[i] if known else str(self.unknown))
        return "\n".join(map(" ".join, lines))

    def token(self, id: int) -> str:
        """A printable name of one id."""
        own = int(id) == UNKNOWN_ID and self.unknown is not None
        return str(self.unknown) if own else super().token(id)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        if self.unknown in state["pieces"]:
            raise ValueError(
                f"pieces: {self.unknown!r} is the unknown word, which has id {UNKNOWN_ID}"
            )
        super().load_state_dict(state)
