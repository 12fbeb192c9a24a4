"""Text in chunks that no token reaches across: what a chunk becomes is worked out once.

A chunk is a run of white space and the run of other characters after it. Words
(``segment_words``) and the pieces of byte-level BPE (Radford et al. 2019) begin with the white
space that is theirs and end before the next, and look at nothing beyond the run that they are
in, so cutting there changes no token. In running text nine of ten chunks have been met before:
looking one up takes a tenth of the time of cutting and encoding it again.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

MOST_REMEMBERED = 1 << 17
"""Chunks that a memory takes up before it forgets those that have not come again: some 50 MB."""
LONGEST_REMEMBERED = 64
"""Characters of a chunk that may come again; text without spaces is one chunk."""
_CHUNK = re.compile(r"\s*\S+|\s+")
_DISPUTED = re.compile("[\x1c-\x1f]")
"""White space for Python, and for our words; not for byte-level BPE."""


def split(text: str) -> list[str]:
    """The chunks of a text, which concatenate to it."""
    return [text] if _DISPUTED.search(text) else _CHUNK.findall(text)


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
        self._known = _Memory(self._ids_of)
        self._nats: list[float] = []

    def ids(self, text: str) -> tuple[np.ndarray, float]:
        """Ids of a text, int64, and the nats that its unknown pieces cost, added in its order."""
        if len(self._nats) > 8 * MOST_REMEMBERED:
            self.forget()
        self._known.keep_to(MOST_REMEMBERED)
        data = bytearray().join(map(self._known.__getitem__, split(text)))
        ids_N = np.frombuffer(data, np.int64)
        places = np.flatnonzero(ids_N < 0)
        nats = sum(map(self._nats.__getitem__, (-1 - ids_N[places]).tolist()), 0.0)
        ids_N[places] = self._unknown_id
        return ids_N, nats

    def _ids_of(self, chunk: str) -> bytes:
        """Ids of a chunk; that of an unknown piece is -1 - the place of its nats."""
        ids_N, nats = self._encode(chunk)
        if nats:
            start = len(self._nats)
            ids_N[ids_N == self._unknown_id] = -1 - np.arange(start, start + len(nats))
            self._nats += nats
        return ids_N.tobytes()


class _Memory(dict[str, bytes]):
    """Answers of a function: those of late, and behind them those of before, which may come again.

    What is asked for often is moved to the new ones each time, and so is never forgotten.
    """

    def __init__(self, function: Callable[[str], bytes]) -> None:
        super().__init__()
        self._function = function
        self._before: dict[str, bytes] = {}

    def __missing__(self, chunk: str) -> bytes:
        answer = self._before.get(chunk)
        if answer is None:
            answer = self._function(chunk)
        if len(chunk) <= LONGEST_REMEMBERED:
            self[chunk] = answer
        return answer

    def keep_to(self, most: int) -> None:
        """Forget what has not come since the last time that there were more than ``most``."""
        if len(self) > most:
            self._before = dict(self)
            self.clear()


def count_pieces(texts: Iterable[str], segment: Callable[[str], Iterable[str]]) -> Counter[str]:
    """How often each piece occurs, each chunk being cut once however often it comes.

    Args:
        segment: cuts a text; it must give for a text what it gives for its chunks in turn.
    """
    pieces: Counter[str] = Counter()
    chunks: Counter[str] = Counter()
    for text in texts:
        chunks.update(split(text))
        if len(chunks) > MOST_REMEMBERED:
            _add(pieces, chunks, segment)
    _add(pieces, chunks, segment)
    return pieces


def _add(
    pieces: Counter[str], chunks: Counter[str], segment: Callable[[str], Iterable[str]]
) -> None:
    """Move the counts of the chunks to their pieces."""
    for chunk, count in chunks.items():
        for piece in segment(chunk):
            pieces[piece] += count
    chunks.clear()
