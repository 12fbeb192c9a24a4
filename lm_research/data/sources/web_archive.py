"""Web archives (WARC and WET, compressed or not): crawled pages, or the texts made of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from lm_research.config.types import PositiveInt
from lm_research.data.document import Category, Document
from lm_research.data.sources.web_pages import WebSource

HTML_TYPES = ("text/html", "application/xhtml+xml")


class WebArchive(WebSource):
    """A document for each page of an archive; its id is the page's URL.

    Responses with HTML become their main text; conversion records (WET) are text already. Counted
    besides what ``WebSource`` counts: "no page" (requests, metadata, revisits and the like), "not
    found" (any HTTP status but 200), "other content type", "unreadable" (a truncated archive: what
    came before is kept).

    Args: see ``WebSource`` and ``RawFiles``.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".warc", ".wet")
    needs: ClassVar[tuple[str, ...]] = ("resiliparse", "fastwarc")

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
        from fastwarc.warc import ArchiveIterator

        with self._open(path) as stream:  # decompressed here, where truncation is told
            found = False
            for record in ArchiveIterator(stream, parse_http=True, auto_decode="all"):
                found = True
                yield from self._record(record, id)
            if not found:
                self._skip("malformed", id, "no WARC record in it")

    def _record(self, record: Any, id: str) -> Iterator[Document]:
        from fastwarc.warc import WarcRecordType

        kind = record.record_type
        where = record.headers.get("WARC-Target-URI", "").strip("<>") or f"{id}#{record.record_id}"
        if kind not in (WarcRecordType.response, WarcRecordType.conversion):
            self._skip("no page", where)
            return
        if kind == WarcRecordType.response and not self._is_html(record, where):
            return
        content = record.reader.read(self.max_page_bytes + 1)
        if len(content) > self.max_page_bytes:
            self._skip("too large", where)
        elif kind == WarcRecordType.response:
            yield from self._page(content, where, record.http_charset)
        else:
            text = self._decode(content, "utf-8", where)
            if text is not None:
                yield from self._documents(text, where)

    def _is_html(self, record: Any, where: str) -> bool:
        if not record.is_http or record.http_headers is None:
            self._skip("other content type", where)
            return False
        if record.http_headers.status_code != 200:
            self._skip("not found", where)
            return False
        if record.http_content_type not in HTML_TYPES:
            self._skip("other content type", where)
            return False
        return True
