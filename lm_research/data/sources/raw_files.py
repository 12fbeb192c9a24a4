"""What sources of raw formats share: files read one after the other, limits, and counts.

Reasons in ``skipped`` that all of them know: "vanished" (a file that went away while others were
read), "unreadable" (broken or truncated compression; what came before the break is kept), "binary"
(NUL bytes), "undecodable", "empty", "too large". With ``errors="error"`` the broken ones
(``BROKEN``) raise ``DataError`` instead.
"""

import codecs
import hashlib
import importlib.util
import io
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, TypeVar

from lm_research.data.document import Category, DataError, Document, Source
from lm_research.data.sources.found import find
from lm_research.data.sources.records import SMALLEST_LIMIT, check_choice
from lm_research.data.sources.streams import OPENERS, READ_ERRORS, open_utf8, pieces

T = TypeVar("T")
Errors = Literal["skip", "replace", "error"]
BROKEN = ("vanished", "unreadable", "undecodable", "malformed")
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class RawFiles(Source):
    """Documents out of files of one raw format, compressed or not.

    Args:
        paths: files, folders (everything below with one of ``suffixes``) or glob patterns.
        errors: what to do with undecodable text: "skip" and count the document, "replace" with
            U+FFFD; "error" raises for whatever is broken.
        max_document_bytes: a longer text is cut into several documents, at paragraph or line
            borders where it has some.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()  # modules that the extra "web" brings

    def __init__(
        self,
        *,
        paths: list[str] | str,
        errors: Errors,
        max_document_bytes: int,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str,
    ) -> None:
        super().__init__(
            name=name, language=language, category=category, licence=licence, citation=citation
        )
        check_choice("errors", errors, ("skip", "replace", "error"))
        if max_document_bytes < SMALLEST_LIMIT:
            raise ValueError(f"max_document_bytes={max_document_bytes}: at least {SMALLEST_LIMIT}")
        self.paths = [paths] if isinstance(paths, str) else list(paths)
        self.errors = errors
        self.max_document_bytes = max_document_bytes

    @abstractmethod
    def _read(self, path: Path, id: str) -> Iterator[Document]:
        """The documents of one file. May raise ``OSError`` and the like (``READ_ERRORS``)."""

    def __iter__(self) -> Iterator[Document]:
        self._check_libraries()
        self.skipped = Counter()
        found = False
        for document in self._all():
            found = True
            yield document
        if not found:
            raise DataError(
                f"{self.name}: no document in {', '.join(self.paths)}; left out: "
                f"{dict(self.skipped) or 'nothing'}; fix: check data.paths and that the files are "
                "what this source reads"
            )

    def signature(self) -> str:
        """The options, and each file's id, size and time of change."""
        self._check_libraries()
        files, skipped = [], self.skipped.copy()
        for path, id in self._files():
            try:
                files.append((id, path.stat().st_size, path.stat().st_mtime_ns))
            except FileNotFoundError:
                files.append((id, -1, -1))
        self.skipped = skipped  # looking for files counts, too, and this is no iteration
        unread = ("skipped", "language", "category", "licence", "citation", "paths")
        options = {key: value for key, value in vars(self).items() if key not in unread}
        content = json.dumps([options, files], sort_keys=True, default=str)
        digest = hashlib.sha256(content.encode()).hexdigest()
        return f"{type(self).__name__}:{len(files)} files:{digest[:16]}"

    def _all(self) -> Iterator[Document]:
        for path, id in self._files():
            yield from self._guarded(self._read(path, id), id)

    def _guarded(self, items: Iterator[T], id: str) -> Iterator[T]:
        """What a file yields until it ends or breaks; a break is counted."""
        try:
            yield from items
        except FileNotFoundError:
            self._skip("vanished", id)
        except READ_ERRORS as error:
            self._skip("unreadable", id, str(error))

    def _files(self) -> list[tuple[Path, str]]:
        example = f"[FOLDER/**/*{self.suffixes[0]}]"
        return find(self.paths, self._is_wanted, self.name, example)

    def _is_wanted(self, path: Path) -> bool:
        plain = path.with_suffix("") if path.suffix.lower() in OPENERS else path
        return plain.name.lower().endswith(self.suffixes)

    def _check_libraries(self) -> None:
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        if absent:
            raise DataError(
                f"{self.name}: needs {', '.join(absent)}; fix: pip install 'lm-research[web]'"
            )

    def _skip(self, reason: str, where: str, detail: str = "") -> None:
        if self.errors == "error" and reason in BROKEN:
            raise DataError(
                f"{where}: {reason}{detail and f' ({detail})'}; fix: repair it or copy it again, "
                "or leave it out by data.errors=skip"
            )
        self.skipped[reason] += 1

    def _open(self, path: Path) -> BinaryIO:
        """Decompressed by the suffix; a mark of UTF-8 at the start is gone."""
        return open_utf8(path)

    def _whole(self, path: Path, id: str, limit: int) -> bytes | None:
        """All of a file that is one document; ``None``, and counted, above ``limit`` bytes."""
        with io.BufferedReader(opened(path)) as stream:  # with its byte order mark
            content = stream.read(limit + 1)
        if len(content) <= limit:
            return content
        self._skip("too large", id)
        return None

    def _decode(self, content: bytes, encoding: str, id: str) -> str | None:
        """Text with "\\n" at line ends by the byte order mark, else by ``encoding``."""
        encoding = marked_encoding(content) or encoding
        try:
            strict = "replace" if self.errors == "replace" else "strict"
            text = content.decode(encoding, strict)
        except (UnicodeError, LookupError) as error:
            self._skip("undecodable", id, str(error)[:80])
            return None
        if "\0" in text:
            self._skip("binary", id)
            return None
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _documents(self, text: str, id: str, label: str | None = None) -> Iterator[Document]:
        """One document, or several where the text is too long, or none, counted, without text."""
        content = text.encode("utf-8", "replace")  # lone surrogates become "?"
        if not text.strip():
            self._skip("empty", id)
        elif len(content) <= self.max_document_bytes:
            yield Document(content.decode(), self.name, f"{self.name}/{id}", label)
        else:
            parts = pieces(io.BytesIO(content), "file", self.max_document_bytes)
            for number, part in enumerate(parts):
                if part.strip():
                    yield Document(part.decode(), self.name, f"{self.name}/{id}#{number}", label)


def opened(path: Path) -> Any:
    """The file's bytes, decompressed by its suffix."""
    opener = OPENERS.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb", buffering=0)


def marked_encoding(content: bytes) -> str | None:
    """The encoding that a byte order mark names."""
    return next((name for mark, name in _BOMS.items() if content.startswith(mark)), None)
