"""Corpora as tables: CSV, TSV or JSON Lines, with columns for text, label and target."""

import csv
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from lm_research.config.types import Fraction
from lm_research.data.document import Category, DataError, Document
from lm_research.data.downloads import RemoteFile
from lm_research.data.sources.downloaded import (
    LONGEST_RECORD,
    DownloadedSource,
    Leaks,
    SplitName,
    texts,
)
from lm_research.data.sources.records import check_choice, check_separator, several_labels


class Table(DownloadedSource):
    """Each row of a table is a document.

    Left out and counted: rows without text ("empty"), with more or fewer cells than columns
    ("malformed"), and without any of the target's columns ("without target").

    Args:
        files, downloads, leaks, only, encoding, validation_share: see :class:`DownloadedSource`.
        format: CSV cells may stand in double quotes, TSV cells may not. ``None``: each file by the
            end of its name.
        text: the columns of the text, joined by spaces; a list in a cell of JSON is joined, too.
        label: the column of the class; a file that has no such column has no labels. A list in a
            cell of JSON is of several labels.
        target: columns of the text to produce: the first that a row has; of a list its first item.
        labels: names of the labels in the files, {"0": negative}.
        label_separator: what parts several labels in one cell: ``,`` for "3,27". An empty cell
            then says that no class applies.
    """

    def __init__(
        self,
        files: list[RemoteFile],
        downloads: str,
        format: Literal["csv", "tsv", "jsonl"] | None,
        text: list[str],
        leaks: Leaks = "drop",
        only: list[SplitName] | None = None,
        encoding: str = "utf-8",
        validation_share: Fraction = 0.0,
        label: str | None = None,
        target: list[str] | None = None,
        labels: dict[str, str] | None = None,
        label_separator: str | None = None,
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str = "",
    ) -> None:
        super().__init__(
            files,
            downloads,
            leaks,
            only,
            encoding,
            validation_share,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )
        for kind in [format] if format else map(_named, texts(files)):
            check_choice("format", kind, ("csv", "tsv", "jsonl"))
        self.format = format
        self.text = list(text)
        self.label = label
        self.target = None if target is None else list(target)
        self.labels = None if labels is None else dict(labels)
        check_separator(label_separator)
        self.label_separator = label_separator

    def _documents(self) -> Iterator[Document]:
        for file in texts(self.files):
            read = self._records if self._format(file) == "jsonl" else self._rows
            for number, record in enumerate(read(file), start=1):
                document = self._document(record, file, self._id(file, number))
                if document is not None:
                    yield document

    def _format(self, file: RemoteFile) -> str:
        return self.format or _named(file)

    def _document(self, record: Mapping[str, Any], file: RemoteFile, id: str) -> Document | None:
        text = " ".join(self._joined(record, column, file) for column in self.text)
        if not text.strip():
            self.skipped["empty"] += 1
            return None
        target = self._target(record)
        if self.target and target is None:
            self.skipped["without target"] += 1
            return None
        label = None if self.label is None else record.get(self.label)
        several = self._several(label, id)
        if several is not None:
            names = tuple(map(self._named_label, several))
            return Document(text, self.name, id, None, target, file.split, labels=names)
        named = None if label is None else self._named_label(str(label))
        return Document(text, self.name, id, named, target, file.split)

    def _named_label(self, label: str) -> str:
        return (self.labels or {}).get(label, label)

    def _several(self, label: Any, id: str) -> tuple[str, ...] | None:
        try:
            return several_labels(label, self.label_separator)
        except TypeError as error:
            raise DataError(
                f"data={self.name}: {id}: {error}; data.label names a column of names"
            ) from None

    def _joined(self, record: Mapping[str, Any], column: str, file: RemoteFile) -> str:
        if column not in record:
            known = ", ".join(map(repr, record))
            raise DataError(
                f"data={self.name}: {file.name} has no column {column!r}; its columns are {known}"
            )
        value = record[column]
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    def _target(self, record: Mapping[str, Any]) -> str | None:
        for column in self.target or ():
            value = record.get(column)
            first = (value[0] if value else None) if isinstance(value, list) else value
            if first is not None and str(first).strip():
                return str(first)
        return None

    def _rows(self, file: RemoteFile) -> Iterator[dict[str, str]]:
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_RECORD))
        rows = csv.reader(
            (f"{line}\n" for line in self._lines(file)),
            delimiter="," if self._format(file) == "csv" else "\t",
            quoting=csv.QUOTE_MINIMAL if self._format(file) == "csv" else csv.QUOTE_NONE,
        )
        header = file.columns or next(rows, [])
        for row in rows:
            if len(row) == len(header):
                yield dict(zip(header, row, strict=True))
            elif row:
                self.skipped["malformed"] += 1

    def _records(self, file: RemoteFile) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(self._lines(file), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise DataError(
                    f"data={self.name}: {file.name}, line {number}: {error}; fix: move the file "
                    "away and run the same command again"
                ) from None
            yield record


def _named(file: RemoteFile) -> str:
    """The end of a file's name: "csv"."""
    return file.name.rpartition(".")[2]
