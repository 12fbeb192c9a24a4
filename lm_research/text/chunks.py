"""Text in chunks that no token reaches across: what a chunk becomes is worked out once.

A chunk ends before every space that a visible character follows. Words (``word.segment_words``)
and the pieces of byte-level BPE (Radford et al. 2019) take such a space along as their first
character, and neither looks at what is before it, so cutting there changes no token. In running
text nine of ten chunks have been met before: looking one up takes a tenth of the time of cutting
and encoding it again.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

MOST_REMEMBERED = 1 << 18
"""Chunks that a memory holds before it forgets them all: some 50 MB."""
_BORDER = re.compile(r" (?=\S)")


def split(text: str) -> list[str]:
    """The chunks of a text, all but the first without the space that they begin with."""
    return _BORDER.split(text)


class ChunkMemory:
    """Ids of texts, chunk by chunk.

    Args:
        encode: ids, int64, of one chunk, and what each of its unknown pieces costs to spell, in
            nats; it must give for a text what it gives for its chunks in turn.
        unknown_id: the id of an unknown piece.
    """

    def __init__(
        self, encode: Callable[[str], tuple[np.ndarray, list[float]]], unknown_id: int = -1
    ) -> None:
        self._encode, self._unknown_id = encode, unknown_id
        self.forget()

    def forget(self) -> None:
        """Begin anew, after a change of vocabulary."""
        self._first = _Memory(self._ids_of_first)
        self._later = _Memory(self._ids_of_later)
        self._nats: list[float] = []

    def ids(self, text: str) -> tuple[np.ndarray, float]:
        """Ids of a text, int64, and the nats that its unknown pieces cost, added in its order."""
        if len(self._first) + len(self._later) > MOST_REMEMBERED:
            self.forget()
        first, *later = split(text)
        data = bytearray(self._first[first])
        data += b"".join(map(self._later.__getitem__, later))
        ids_N = np.frombuffer(data, np.int64)
        places = np.flatnonzero(ids_N < 0)
        nats = sum(map(self._nats.__getitem__, (-1 - ids_N[places]).tolist()), 0.0)
        ids_N[places] = self._unknown_id
        return ids_N, nats

    def _ids_of_first(self, chunk: str) -> bytes:
        """Ids of a chunk; that of an unknown piece is -1 - the place of its nats."""
        ids_N, nats = self._encode(chunk)
        if nats:
            start = len(self._nats)
            ids_N[ids_N == self._unknown_id] = -1 - np.arange(start, start + len(nats))
            self._nats += nats
        return ids_N.tobytes()

    def _ids_of_later(self, chunk: str) -> bytes:
        return self._ids_of_first(f" {chunk}")


class _Memory(dict[str, bytes]):
    """Answers of a function."""

    def __init__(self, function: Callable[[str], bytes]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, chunk: str) -> bytes:
        self[chunk] = answer = self._function(chunk)
        return answer


def count_pieces(texts: Iterable[str], segment: Callable[[str], Iterable[str]]) -> Counter[str]:
    """How often each piece occurs, each chunk being cut once however often it comes.

    Args:
        segment: cuts a text; it must give for a text what it gives for its chunks in turn.
    """
    pieces: Counter[str] = Counter()
    first: Counter[str] = Counter()
    later: Counter[str] = Counter()
    for text in texts:
        chunk, *chunks = split(text)
        first[chunk] += 1
        later.update(chunks)
        if len(first) + len(later) > MOST_REMEMBERED:
            _add(pieces, first, later, segment)
    _add(pieces, first, later, segment)
    return pieces


def _add(
    pieces: Counter[str],
    first: Counter[str],
    later: Counter[str],
    segment: Callable[[str], Iterable[str]],
) -> None:
    """Move the counts of the chunks to their pieces."""
    for counts, space in ((first, ""), (later, " ")):
        for chunk, count in counts.items():
            for piece in segment(space + chunk):
                pieces[piece] += count
        counts.clear()
