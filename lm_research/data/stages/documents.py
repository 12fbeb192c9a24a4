"""The first stage: a source's documents in the order in which they are used, read once."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from lm_research.data.document import DataError, Document
from lm_research.data.stages.shards import Shards
from lm_research.text.unicode import utf8_length

SMALLEST, LARGEST = 1 << 18, 1 << 22
"""Bytes of text after which a shard ends: the first ones are small, for budgets that need no more,
each twice the one before. Its documents are in memory several times over."""
_REST = [f.name for f in fields(Document) if f.name != "text"]


@dataclass(frozen=True)
class Shard:
    """Documents one after the other.

    Attributes:
        number: from 0.
        documents: in the order of the stage.
        notes: what the stage has counted; JSON values.
        last: whether no shard follows.
    """

    number: int
    documents: list[Document]
    notes: dict[str, Any] = field(default_factory=dict)
    last: bool = False


def to_parts(shard: Shard) -> list[bytes]:
    """A shard as bytes: notes, lengths of the texts, the texts in UTF-8, the other fields."""
    texts = [d.text.encode("utf-8", "surrogatepass") for d in shard.documents]
    rest = [[getattr(d, name) for name in _REST] for d in shard.documents]
    head = json.dumps({"last": shard.last, "notes": shard.notes}).encode()
    lengths = np.array([len(text) for text in texts], np.int64).tobytes()
    return [head, lengths, b"".join(texts), json.dumps(rest).encode()]


def from_parts(number: int, parts: Sequence[bytes]) -> Shard:
    """The shard of :func:`to_parts`."""
    head, lengths, texts, rest = parts
    known = json.loads(head)
    ends = np.cumsum(np.frombuffer(lengths, np.int64)).tolist()
    documents = []
    for start, end, values in zip([0, *ends], ends, json.loads(rest), strict=False):
        text = texts[start:end].decode("utf-8", "surrogatepass")
        # a shard of before a field was added has fewer; new ones stand at the end
        documents.append(Document(text, **dict(zip(_REST, map(_frozen, values), strict=False))))
    return Shard(number, documents, known["notes"], known["last"])


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class DocumentStage:
    """Shards of documents, read from the source as far as they are asked for.

    Args:
        shards: where they are kept.
        documents: begins a new pass over the source, in the order of use.
        notes: what the pass has counted so far; kept with each shard.
    """

    def __init__(
        self,
        shards: Shards,
        documents: Callable[[], Iterator[Document]],
        notes: Callable[[], dict[str, Any]],
    ) -> None:
        self.shards, self._documents, self._notes = shards, documents, notes

    def __iter__(self) -> Iterator[Shard]:
        return self.after(0)

    def after(self, number: int) -> Iterator[Shard]:
        """The shards from ``number`` on; those that are kept need no look at the source."""
        while (parts := self.shards.read(number)) is not None:
            shard = from_parts(number, parts)
            yield shard
            if shard.last:
                return
            number += 1
        yield from self._made(number)

    def _made(self, number: int) -> Iterator[Shard]:
        """Shards from ``number`` on out of the source; the documents before are kept already."""
        self.shards.clear_leftovers()
        documents = self._documents()
        for earlier in range(number):
            for _ in range(self._count(earlier)):
                next(documents)
        last = False
        while not last:
            held, last = _taken(documents, min(SMALLEST << min(number, 9), LARGEST))
            shard = Shard(number, held, self._notes(), last)
            self.shards.write(number, to_parts(shard))
            yield shard
            number += 1

    def _count(self, number: int) -> int:
        """Documents of a shard that is kept; of one that is not, those that it would have."""
        parts = self.shards.read(number)
        if parts is None:
            raise DataError(f"{self.shards.path(number)} is gone; the same command makes it again")
        return len(parts[1]) // np.dtype(np.int64).itemsize


def _taken(documents: Iterator[Document], enough: int) -> tuple[list[Document], bool]:
    """The next documents, of so many bytes, and whether these are the last."""
    held: list[Document] = []
    size = 0
    for document in documents:
        held.append(document)
        size += utf8_length(document.text)
        if size >= enough:
            return held, False
    return held, True
