"""Local files: plain text, JSON Lines, CSV, TSV and Parquet, compressed or not.

Files are read as streams: what is in memory is one document (at most ``max_document_bytes``), one
line of JSON or row of CSV (at most 64 MiB), or one batch of rows of Parquet.
"""

import codecs
import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

from lm_research.config.types import PositiveInt
from lm_research.data.document import Category, DataError, Document
from lm_research.data.sources.found import find
from lm_research.data.sources.records import RecordSource, check_choice
from lm_research.data.sources.streams import (
    OPENERS,
    READ_ERRORS,
    open_utf8,
    pieces,
    record_lines,
)

SUFFIXES = {
    ".txt": "txt",
    ".text": "txt",
    ".md": "txt",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
LONGEST_RECORD = 64 * 2**20  # bytes
PARQUET_ROWS = 256  # a batch
HEAD = 8192  # bytes in which a NUL says that a file is not text


class LocalFiles(RecordSource):
    """Documents from files on disk.

    Left out and counted in ``skipped``, with the reasons of the module ``records``: a text file
    with a NUL byte in its first 8 KiB ("binary"), a document with a byte that the encoding does not
    allow ("undecodable"), a line of JSON or a row of CSV that cannot be read ("malformed"), and so
    on. A file that cannot be read at all (truncated compression, a first line that is no JSON
    object, a missing column) raises ``DataError``, and so does a source without any document.

    Args:
        paths: files, folders (everything below with a known suffix) or glob patterns (``**`` goes
            through folders), relative to the working directory.
        format: "auto" goes by each file's suffix; an unknown suffix is plain text.
        text_field: the column or key of the text.
        label_field: the column of the class; where a document may have several, of their list
            (``["a", "b"]``; ``[]``: none applies, ``null``: not known).
        target_field: the column of the text to produce from ``text_field``.
        id_field: the column of the id; otherwise the file's name and the number of the row.
        split_field: the column of the official split: train, validation (valid, dev) or test.
        columns: the column names of CSV and TSV files that have no header row.
        quoting: whether CSV and TSV cells may stand in double quotes: "auto" is yes for CSV, no for
            TSV.
        document: what a document is in a plain text file: the file, a paragraph (blank lines
            around it), a line or a sentence (`split_sentences`).
        encoding: of the files, except Parquet.
        errors: for undecodable bytes: "skip" the document, "replace" them with U+FFFD, or raise
            an "error", which then malformed records do, too.
        max_document_bytes: a longer text is cut into several documents, at paragraph or line
            borders where it has some. With a target it is left out ("too_long").
        label_separator: what parts the labels of ``label_field`` where they stand in one text, as
            in CSV: ``,`` for "a,b". An empty cell then says that none applies.
    """

    def __init__(
        self,
        paths: list[str] | str,
        format: Literal["auto", "txt", "jsonl", "csv", "tsv", "parquet"] = "auto",
        text_field: str = "text",
        label_field: str | None = None,
        target_field: str | None = None,
        id_field: str | None = None,
        split_field: str | None = None,
        columns: list[str] | None = None,
        quoting: Literal["auto", "standard", "none"] = "auto",
        document: Literal["file", "paragraph", "line", "sentence"] = "file",
        encoding: str = "utf-8",
        errors: Literal["skip", "replace", "error"] = "skip",
        max_document_bytes: PositiveInt = 1048576,
        label_separator: str | None = None,
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        super().__init__(
            text_field=text_field,
            label_field=label_field,
            target_field=target_field,
            id_field=id_field,
            split_field=split_field,
            errors=errors,
            max_document_bytes=max_document_bytes,
            label_separator=label_separator,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )
        check_choice("format", format, ("auto", "txt", "jsonl", "csv", "tsv", "parquet"))
        check_choice("quoting", quoting, ("auto", "standard", "none"))
        check_choice("document", document, ("file", "paragraph", "line", "sentence"))
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(
                f"encoding={encoding!r} is unknown; examples are utf-8, latin-1, gb18030"
            ) from None
        self.paths = [paths] if isinstance(paths, str) else list(paths)
        self.format = format
        self.columns = None if columns is None else list(columns)
        self.quoting = quoting
        self.document = document
        self.encoding = encoding

    def __iter__(self) -> Iterator[Document]:
        self._begin()
        found = False
        for path, id in self._files():
            try:
                for document in self._read(path, id):
                    found = True
                    yield document
            except FileNotFoundError as error:
                raise DataError(
                    f"{path}: was there when reading began, and is gone; fix: run again when "
                    "nothing moves the files any more"
                ) from error
            except READ_ERRORS as error:
                raise DataError(
                    f"{path}: cannot be read: {error}; fix: copy or compress it again, or check "
                    f"its suffix and data.format"
                ) from error
        if not found:
            raise self._no_document(", ".join(self.paths))

    def signature(self) -> str:
        """The options, and each file's id, size and time of change."""
        files = [(id, *_state(path)) for path, id in self._files()]
        options = [
            self.name,
            self.format,
            self.fields,
            self.columns,
            self.quoting,
            self.document,
            self.encoding,
            self.errors,
            self.max_document_bytes,
            *filter(None, [self.label_separator]),
        ]
        digest = hashlib.sha256(json.dumps([options, files]).encode()).hexdigest()
        return f"LocalFiles:{len(files)} files:{digest[:16]}"

    def _files(self) -> list[tuple[Path, str]]:
        """The files in the order of ``paths``, sorted within each, with their ids."""
        return find(
            self.paths, lambda path: _format(path) is not None, self.name, "[FOLDER/**/*.txt]"
        )

    def _read(self, path: Path, id: str) -> Iterator[Document]:
        format = self.format if self.format != "auto" else _format(path) or "txt"
        if format == "parquet":
            yield from self._read_parquet(path, id)
            return
        with open_utf8(path, self.encoding) as stream:
            head = stream.peek(HEAD)[:HEAD]
            if not head:
                self._skip("empty", id)
            elif b"\0" in head:
                self._skip("binary", id)
            elif format == "txt":
                yield from self._read_text(stream, id)
            elif format == "jsonl":
                yield from self._read_jsonl(stream, path, id)
            else:
                yield from self._read_csv(stream, path, id, format)

    def _read_text(self, stream: BinaryIO, id: str) -> Iterator[Document]:
        small: bytes | None = None  # the first piece, whose id has no number if there is no other
        number = 0
        for number, piece in enumerate(pieces(stream, self.document, self.max_document_bytes)):
            if number == 0 and self.document == "file":
                small = piece
                continue
            if small is not None:
                yield from self._from_bytes(small, f"{id}#0")
                small = None
            content = piece.strip(b"\r\n") if self.document != "file" else piece
            yield from self._from_bytes(content, f"{id}#{number}")
        if small is not None:
            yield from self._from_bytes(small, id)

    def _read_jsonl(self, stream: BinaryIO, path: Path, id: str) -> Iterator[Document]:
        first = True
        for number, line in enumerate(_named(record_lines(stream, LONGEST_RECORD), path), start=1):
            if not line.strip():
                continue
            text = self._decode(line, f"{id}#{number}")
            if text is None:
                continue
            record = _json_object(text)
            if first and record is None:
                raise DataError(
                    f"{path}: line {number} is no JSON object, so this is not JSON Lines; fix: one "
                    'object a line, such as {"text": "..."}, or data.format=txt'
                )
            if record is None:
                self._skip("malformed", f"{id}#{number}")
                continue
            if first:
                self._check_columns(record, str(path))
                first = False
            yield from self._from_record(record, f"{id}#{number}")

    def _read_csv(self, stream: BinaryIO, path: Path, id: str, format: str) -> Iterator[Document]:
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_RECORD))
        quoted = self.quoting == "standard" or (self.quoting == "auto" and format == "csv")
        lines = _named(record_lines(stream, LONGEST_RECORD), path)
        rows = csv.reader(
            (line.decode("utf-8", "surrogateescape") for line in lines),
            delimiter="," if format == "csv" else "\t",
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        )
        try:
            header = self.columns or next(rows, [])
            self._check_columns(header, str(path))
            for number, row in enumerate(rows, start=1):
                if len(row) == len(header):
                    record = dict(zip(header, row, strict=True))
                    yield from self._from_record(record, f"{id}#{number}")
                elif row:
                    detail = f"{len(row)} cells where the header has {len(header)}"
                    self._skip("malformed", f"{id}#{number}", detail)
        except csv.Error as error:
            raise DataError(
                f"{path}: line {rows.line_num}: {error}; fix: an unclosed quote? try "
                "data.quoting=none"
            ) from None

    def _read_parquet(self, path: Path, id: str) -> Iterator[Document]:
        import pyarrow
        from pyarrow import parquet

        if path.suffix.lower() in OPENERS:
            raise DataError(f"{path}: Parquet compresses inside; fix: decompress the file")
        try:
            with parquet.ParquetFile(path) as file:
                self._check_columns(file.schema_arrow.names, str(path))
                columns = list(dict.fromkeys(self._columns()))
                number = 0
                for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=columns):
                    for row in _rows(batch):
                        number += 1
                        yield from self._from_record(row, f"{id}#{number}")
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:  # broken column names
            raise DataError(
                f"{path}: no whole Parquet file: {error}; fix: copy it again, or check its suffix "
                "and data.format"
            ) from error


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change; of a file that has gone since it was found, what no file has."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def _format(path: Path) -> str | None:
    """The format that the suffix before any compression's says."""
    plain = path.with_suffix("") if path.suffix.lower() in OPENERS else path
    return SUFFIXES.get(plain.suffix.lower())


def _named(lines: Iterator[bytes], path: Path) -> Iterator[bytes]:
    """The lines, with the file's name before the message of a ``DataError``."""
    try:
        yield from lines
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _rows(batch: Any) -> Iterator[dict[str, Any]]:
    """Rows of a record batch, its strings as bytes, so that broken UTF-8 reaches the counter."""
    import pyarrow
    from pyarrow import types

    columns = []
    for column in batch.columns:
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if types.is_string(column.type):
            column = column.cast(pyarrow.binary())
        elif types.is_large_string(column.type):
            column = column.cast(pyarrow.large_binary())
        columns.append(column.to_pylist())
    for values in zip(*columns, strict=True):
        yield dict(zip(batch.schema.names, values, strict=True))
