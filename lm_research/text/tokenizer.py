"""The contract of a tokenizer."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np


class Encoding(NamedTuple):
    """Token ids of one text, and what its unknown pieces cost to spell.

    ``ids_N`` is int64. ``spelling_nats`` is the negative log-likelihood, in nats, of spelling out
    every piece that became the unknown token: 0.0 when nothing was unknown, NaN when the
    tokenizer has no spelling model, which leaves bits per byte undefined.
    """

    ids_N: np.ndarray
    spelling_nats: float


class Encodings(NamedTuple):
    """Several texts encoded.

    ``ids_N``: of all of them, each followed by the separator. ``lengths_D``: int64, ids of each
    without it. ``nats_D``: float64, each one's ``spelling_nats``.
    """

    ids_N: np.ndarray
    lengths_D: np.ndarray
    nats_D: np.ndarray


class Tokenizer(ABC):
    """Text -> ids in ``[0, vocabulary_size)``.

    Id 0 is the document separator in every vocabulary; ``encode`` never produces it, the token
    store writes it between documents. A model pays for predicting it, so that every tokenization
    of the same documents codes exactly the same thing and bits per byte can be compared.

    ``lossless`` tells whether ``decode(encode(t)) == t`` for every ``t``. Where an unknown token
    makes it lossy, ``Encoding.spelling_nats`` repairs the likelihood (open-vocabulary
    construction: p(piece) = p(unknown) * p_spell(piece)).
    """

    separator_id: ClassVar[int] = 0
    unknown_id: int | None = None
    lossless: bool = True

    @property
    @abstractmethod
    def vocabulary_size(self) -> int:
        """Number of ids, the separator included."""

    def train(self, texts: Iterable[str]) -> None:  # noqa: B027 - bytes have nothing to learn
        """Build the vocabulary from the training split alone. ``texts`` is iterated once."""

    @abstractmethod
    def encode(self, text: str) -> Encoding:
        """Ids of one document, without separator."""

    def encode_batch(self, texts: Sequence[str], dtype: np.dtype) -> Encodings:
        """What :meth:`encode` gives for each of the texts; a subclass may know a faster way.

        Args:
            dtype: of the ids.
        """
        separator = np.array([self.separator_id], dtype)
        ids, nats = [np.empty(0, dtype)], []
        for text in texts:
            ids_N, spelled = self.encode(text)
            ids += [ids_N.astype(dtype), separator]  # at once: encoded, an id takes 8 bytes
            nats.append(spelled)
        lengths_D = np.array([len(ids_N) for ids_N in ids[1::2]], np.int64)
        return Encodings(np.concatenate(ids), lengths_D, np.array(nats, np.float64))

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; separators become a newline, unknown tokens U+FFFD."""

    @abstractmethod
    def token(self, id: int) -> str:
        """A printable name of one id, for tables."""

    def state_dict(self) -> dict[str, Any]:
        """What ``train`` learned, as plain JSON values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - nothing to restore
        """Restore what ``state_dict`` returned."""
