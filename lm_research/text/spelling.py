"""What it costs to spell a piece that a vocabulary does not hold.

A vocabulary with an unknown token gives a text no probability: "unknown" says that some piece
came, not which. The open-vocabulary construction completes the code,

    p(piece) = p(unknown) * p_spell(piece),

where p_spell is a distribution over all byte strings. It stays an upper bound on the bits per
byte, since p_spell also gives probability to the pieces that the vocabulary does hold.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

END_SYMBOL = 256
LONGEST_ORDER = 16
"""Memory grows with the order times the text that is learned from."""
SYMBOLS = 257
"""The alphabet: 256 byte values and the end of the piece."""

# A piece becomes a string of one character per symbol, so that contexts are plain slices.
_START = chr(257)
_END = chr(END_SYMBOL)
_CACHE_LIMIT = 1 << 17


class SpellingModel:
    """Byte n-gram with interpolated Witten-Bell smoothing, over strings closed by an end symbol.

    With c the counts, T(h) the number of different symbols seen after the context h, and h' the
    context h without its oldest symbol,

        p(s | h) = (c(h, s) + T(h) p(s | h')) / (c(h) + T(h)),

    down to the uniform 1/257 below the empty context; a context never seen leaves the shorter one's
    estimate alone (Witten and Bell 1991, method C; Chen and Goodman 1999, section 2.6). Every step
    is a proper distribution and ending is always possible, so all byte strings together have
    probability one. Before training the model is uniform.

    Args:
        order: symbols an estimate looks at, itself included (5: four bytes of context).
        minimum_types: with fewer types seen once than this, all types are learned from.
        maximum_types: more types than this are thinned to it, by a hash of the piece, which bounds
            the memory and the time of loading.
    """

    def __init__(
        self, order: int = 5, minimum_types: int = 50, maximum_types: int = 50_000
    ) -> None:
        if order < 1:
            raise ValueError(f"order is {order}; a spelling model needs at least 1")
        self.order = order
        self.minimum_types = minimum_types
        self.maximum_types = maximum_types
        self._learn(())

    def train(self, counts: Mapping[str, int]) -> None:
        """Learn from the types that the training text has once: the likest to unknown pieces.

        Args:
            counts: piece -> how often it occurs in the training text.
        """
        types = [piece for piece, count in counts.items() if count <= 1]
        if len(types) < self.minimum_types:
            types = list(counts)
        types.sort(key=_hash_order)
        self._learn(sorted(types[: self.maximum_types]))

    def nats(self, piece: str) -> float:
        """-ln p_spell(piece), end symbol included."""
        return self._nats_of_piece[piece]

    def distribution(self, prefix: bytes) -> np.ndarray:
        """p(symbol | the bytes so far): float64 [257], the last entry being the end."""
        history = (_START + prefix.decode("latin-1"))[max(len(prefix) + 2 - self.order, 0) :]
        steps = (self._probability(history + chr(s)) for s in range(SYMBOLS))
        return np.fromiter(steps, np.float64, SYMBOLS)

    def state_dict(self) -> dict[str, Any]:
        """The learned types; the counts follow from them."""
        return {"order": self.order, "types": self._types}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        order, types = state["order"], state["types"]
        if not (isinstance(order, int) and 1 <= order <= LONGEST_ORDER):
            raise ValueError(f"order is {order!r}; expected 1 to {LONGEST_ORDER}")
        if not all(isinstance(piece, str) for piece in types):
            raise ValueError("types: expected a list of text")
        self.order = order
        self._learn(types)

    def _learn(self, types: Iterable[str]) -> None:
        self._types = list(types)
        self._counts: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._followers: dict[str, int] = {}
        self._shorter = _Cache(self._probability)
        self._nats_of_ngram = _Cache(self._ngram_nats)
        self._nats_of_piece = _Cache(self._piece_nats)
        for piece in self._types:
            self._count(_symbols(piece))

    def _count(self, symbols: str) -> None:
        counts, totals, followers = self._counts, self._totals, self._followers
        for end in range(2, len(symbols) + 1):
            for start in range(end - 1, max(end - self.order, 0) - 1, -1):
                context, ngram = symbols[start : end - 1], symbols[start:end]
                seen = counts.get(ngram, 0)
                counts[ngram] = seen + 1
                totals[context] = totals.get(context, 0) + 1
                if not seen:
                    followers[context] = followers.get(context, 0) + 1

    def _piece_nats(self, piece: str) -> float:
        symbols, order, nats = _symbols(piece), self.order, self._nats_of_ngram
        ends = range(2, len(symbols) + 1)
        return math.fsum([nats[symbols[max(end - order, 0) : end]] for end in ends])

    def _ngram_nats(self, ngram: str) -> float:
        return -math.log(self._probability(ngram))

    def _probability(self, ngram: str) -> float:
        """p(last symbol | the symbols before it): the next shorter context's, mixed with counts."""
        context = ngram[:-1]
        shorter = self._shorter[ngram[1:]] if context else 1 / SYMBOLS
        total = self._totals.get(context)
        if total is None:
            return shorter
        followers = self._followers[context]
        return (self._counts.get(ngram, 0) + followers * shorter) / (total + followers)


class _Cache(dict[str, float]):
    """Answers of a function, forgotten all at once when there are many."""

    def __init__(self, function: Callable[[str], float]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, key: str) -> float:
        if len(self) >= _CACHE_LIMIT:
            self.clear()
        self[key] = value = self._function(key)
        return value


def _symbols(piece: str) -> str:
    return _START + piece.encode("utf-8", "surrogatepass").decode("latin-1") + _END


def _hash_order(piece: str) -> tuple[int, str]:
    return zlib.crc32(piece.encode("utf-8", "surrogatepass")), piece
