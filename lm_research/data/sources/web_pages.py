"""Web pages in HTML files: their main text, without menus, banners and footers."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from lm_research.config.types import PositiveInt
from lm_research.data.document import Category, Document
from lm_research.data.sources.main_text import MainTextError, declared_encoding, main_text
from lm_research.data.sources.raw_files import RawFiles


class WebSource(RawFiles):
    """What single pages and archives of pages share: how a page becomes a document.

    Left out and counted: "too large" (``max_page_bytes``, or 200,000 tags), "too deep" (512 tags in
    one another), "no main text", "other language", and the reasons of ``raw_files``.

    Args:
        keep_title: whether a page's title is the document's first line.
        only_language: keep pages alone whose ``lang`` attribute begins with this ("en"), and those
            without the attribute; ``None`` keeps all.
        max_page_bytes: of HTML, decompressed.
    """

    needs: ClassVar[tuple[str, ...]] = ("resiliparse",)

    def __init__(
        self,
        *,
        paths: list[str] | str,
        keep_title: bool,
        only_language: str | None,
        max_page_bytes: int,
        errors: Literal["skip", "replace", "error"],
        max_document_bytes: int,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str,
    ) -> None:
        super().__init__(
            paths=paths,
            errors=errors,
            max_document_bytes=max_document_bytes,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )
        self.keep_title = keep_title
        self.only_language = only_language
        self.max_page_bytes = max_page_bytes

    def _page(self, content: bytes, id: str, charset: str | None = None) -> Iterator[Document]:
        """The document of one page, decoded by its mark, HTTP's ``charset`` or its own word."""
        html = self._decode(content, declared_encoding(content, charset), id)
        if html is None:
            return
        try:
            page = main_text(html)
        except MainTextError as reason:
            self._skip(str(reason), id)
            return
        wanted = (self.only_language or "").lower()
        if page.language and not page.language.lower().startswith(wanted):
            self._skip("other language", id)
            return
        with_title = self.keep_title and page.title and not page.text.startswith(page.title)
        yield from self._documents(f"{page.title}\n\n{page.text}" if with_title else page.text, id)


class WebPages(WebSource):
    """Pages saved as files (.html, .htm, .xhtml), compressed or not: a document each.

    The encoding is that of the byte order mark, else the page's own declaration, else guessed.
    See ``WebSource`` and ``RawFiles`` for the arguments and for what is left out.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".html", ".htm", ".xhtml")

    def __init__(
        self,
        paths: list[str] | str,
        keep_title: bool = True,
        only_language: str | None = None,
        max_page_bytes: PositiveInt = 4194304,
        errors: Literal["skip", "replace", "error"] = "skip",
        max_document_bytes: PositiveInt = 1048576,
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        super().__init__(
            paths=paths,
            keep_title=keep_title,
            only_language=only_language,
            max_page_bytes=max_page_bytes,
            errors=errors,
            max_document_bytes=max_document_bytes,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )

    def _read(self, path: Path, id: str) -> Iterator[Document]:
        content = self._whole(path, id, self.max_page_bytes)
        if content is None:
            return
        if content.strip():
            yield from self._page(content, id)
        else:
            self._skip("empty", id)
