"""Web archives (WARC and WET, compressed or not): crawled pages, or the texts made of them."""

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from lm_research.config.types import PositiveInt
from lm_research.data.document import Category, Document
from lm_research.data.sources.raw_files import opened
from lm_research.data.sources.streams import READ_ERRORS
from lm_research.data.sources.web_pages import WebSource

HTML_TYPES = ("text/html", "application/xhtml+xml")


_BUFFER = 1 << 16


class UntilBreak(io.RawIOBase):
    """A file up to where its compression is broken or truncated: what comes before is not lost."""

    def __init__(self, file: Any) -> None:
        self._read = getattr(file, "read1", file.read)
        self._error = ""
        self._last = b""
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """At most ``len(buffer)`` bytes; none at the end and at a break."""
        try:
            content = b"" if self._error else self._read(min(len(buffer), _BUFFER))
        except READ_ERRORS as error:
            self._error, content = str(error), b""
        buffer[: len(content)] = content
        self._last = (self._last + content)[-4:]
        self._position += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Where the file stands, which is all that FastWARC asks; it goes nowhere else."""
        target = offset + (self._position if whence == io.SEEK_CUR else 0)
        if whence == io.SEEK_END or target != self._position:
            raise io.UnsupportedOperation("an archive is read from its start to its end")
        return self._position

    def tell(self) -> int:
        """Bytes that were read."""
        return self._position

    def broken(self) -> str:
        """Why this is not a whole archive, each of whose records ends with two line ends."""
        return self._error or ("" if self._last == b"\r\n\r\n" else "it ends within a record")


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

        with opened(path) as file:
            stream = UntilBreak(file)
            found = False
            for record in ArchiveIterator(stream, parse_http=True, auto_decode="transfer"):
                found = True
                yield from self._record(record, id)
        if not found:
            self._skip("malformed", id, "no WARC record in it")
        elif stream.broken():
            self._skip("unreadable", id, stream.broken())

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
        if kind == WarcRecordType.response and len(content) <= self.max_page_bytes:
            try:
                content = self._unpacked(record, content)
            except (zlib.error, ValueError) as error:
                self._skip("malformed", where, str(error))
                return
        if len(content) > self.max_page_bytes:
            self._skip("too large", where)
        elif kind == WarcRecordType.response:
            yield from self._page(content, where, record.http_charset)
        else:
            text = self._decode(content, "utf-8", where)
            if text is not None:
                yield from self._documents(text, where)

    def _unpacked(self, record: Any, content: bytes) -> bytes:
        """HTTP's Content-Encoding undone, up to one byte more than a page may have."""
        coding = (record.http_headers.get("Content-Encoding", "") or "").strip().lower()
        if coding in ("", "identity", "utf-8", "none"):
            return content
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise ValueError(f"Content-Encoding: {coding[:20]}")
        if coding != "deflate" and not content.startswith(b"\x1f\x8b"):
            return content  # crawlers unpack bodies and leave the header as it was
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(content, self.max_page_bytes + 1)

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
