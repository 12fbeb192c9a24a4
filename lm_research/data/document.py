"""The unit that every source yields, and the contract of a source."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Category = Literal[
    "web",
    "social",
    "books",
    "news",
    "encyclopedia",
    "code",
    "technical",
    "dialogue",
    "reviews",
    "academic",
    "speeches",
    "parallel",
    "mixed",
]


@dataclass(frozen=True, slots=True)
class Document:
    """One text, with where it comes from.

    ``label`` serves classification, ``target`` sequence-to-sequence tasks. Where a document may
    have several labels they are in ``labels``, and ``label`` is None: ``()`` says that none of the
    classes applies, None that nobody has said. ``split`` is the
    official split ("train", "validation", "test") where a corpus has one; ``None`` leaves the
    choice to the seeded split by content. Of a tagged corpus ``words`` are the tokens that its
    annotators saw and ``tags`` one tag for each; ``text`` is what was written.
    """

    text: str
    source: str
    id: str
    label: str | None = None
    target: str | None = None
    split: str | None = None
    words: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None

    @property
    def label_set(self) -> tuple[str, ...] | None:
        """Its labels, one or several; None where nobody has said."""
        if self.labels is None and self.label is not None:
            return (self.label,)
        return self.labels


class Source(ABC):
    """An iterator of documents with its papers in order.

    Iterating twice yields the same documents in the same order. What had to be left out is
    counted in ``skipped`` (reason -> documents), which each iteration starts anew.

    Documents are shuffled before they are used, unless the source is ``ordered``: then the order
    within a split is part of the corpus, as where published results read line after line.

    Args:
        name: short name, used in ids, tables and metric names.
        language: ISO 639-1 code ("en", "zh"), or "mul".
        category: kind of source.
        licence: SPDX expression or a plain sentence.
        citation: whom to credit.
    """

    ordered: bool = False

    def __init__(
        self,
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        self.name = name
        self.language = language
        self.category = category
        self.licence = licence
        self.citation = citation
        self.skipped: Counter[str] = Counter()

    @abstractmethod
    def __iter__(self) -> Iterator[Document]:
        """Yield the documents. Raises ``DataError`` when the source cannot be read at all."""

    @abstractmethod
    def signature(self) -> str:
        """A string that changes whenever the documents would (versions, sizes, checksums).

        It keys the token cache, so it must be cheap: no reading of gigabytes.
        """


class DataError(Exception):
    """Data that cannot be used: says which file or field, what was expected, and the fix."""
