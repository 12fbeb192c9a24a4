"""From records with named fields, or pieces of plain text, to documents; counts what is left out.

Reasons in ``skipped``: "undecodable" (bytes that are not text in the given encoding), "binary" (NUL
bytes), "empty" (nothing but whitespace), "malformed" (no record, or a field that holds a list or an
object; the label's may hold a list of labels), "missing_field" (a field that the file's first
record has), "too_long" (above the limit, with a target, so that it cannot be cut).
"""

import difflib
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from lm_research.data.document import Category, DataError, Document, Source
from lm_research.data.sources.streams import pieces

Errors = Literal["skip", "replace", "error"]

SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
SMALLEST_LIMIT = 64  # bytes: a cut piece has to hold a few characters
FIXES = {
    "binary": "give text (a file in UTF-16 is text once data.encoding=utf-16 says so)",
    "empty": "give files with text in them",
    "malformed": "repair the records, or check data.format",
    "missing_field": "check the names of the columns",
    "too_long": "a larger data.max_document_bytes",
    "undecodable": "name the encoding (data.encoding=gb18030, latin-1), or data.errors=replace",
}
_REMEMBERED_IDS = 1_000_000
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises ``ValueError`` with what is allowed."""
    if value not in allowed:
        raise ValueError(f"{option}={value!r}: allowed are {', '.join(map(repr, allowed))}")


def check_separator(separator: str | None) -> None:
    """Raises ``ValueError``: nothing parts nothing."""
    if separator == "":
        raise ValueError("label_separator='': give what stands between labels, such as ','")


def several_labels(value: Any, separator: str | None = None) -> tuple[str, ...] | None:
    """The labels in a field that may hold several, each once; None where it is one label, or none.

    Args:
        value: a list has several labels, an empty one says that no class applies.
        separator: what parts the labels of a text; an empty text has none, too.

    Raises:
        TypeError: a list holds no names and numbers alone.
    """
    if isinstance(value, list):
        if any(item is None or isinstance(item, list | dict) for item in value):
            raise TypeError("a list of labels with a list, an object or null in it")
        return tuple(dict.fromkeys(_text(item) for item in value))
    if separator is None or value is None or isinstance(value, dict):
        return None
    parts = (part.strip() for part in _text(value).split(separator))
    return tuple(dict.fromkeys(part for part in parts if part))


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


class RecordSource(Source):
    """What local files and Hugging Face data sets share: which field is what, and the limits.

    Attributes:
        duplicate_ids: documents of the last iteration whose ``id_field`` had been seen before
            (among the first million); they are kept.
    """

    def __init__(
        self,
        *,
        text_field: str,
        label_field: str | None,
        target_field: str | None,
        id_field: str | None,
        split_field: str | None,
        errors: Errors,
        max_document_bytes: int,
        label_separator: str | None = None,
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
        self.fields = {
            "text_field": text_field,
            "label_field": label_field,
            "target_field": target_field,
            "id_field": id_field,
            "split_field": split_field,
        }
        check_separator(label_separator)
        self.label_separator = label_separator
        self.errors = errors
        self.max_document_bytes = max_document_bytes
        self._begin()

    def _begin(self) -> None:
        self.skipped = Counter()
        self.duplicate_ids = 0
        self._ids: set[int] = set()

    def _columns(self) -> list[str]:
        return [column for column in self.fields.values() if column is not None]

    def _check_columns(self, available: Iterable[str], where: str) -> None:
        """Raises ``DataError`` naming the first column that is asked for and not there."""
        names = [str(name) for name in available]
        for option, column in self.fields.items():
            if column is not None and column not in names:
                close = difflib.get_close_matches(column, names, n=1)
                guess = close[0] if close else "COLUMN"
                raise DataError(
                    f"{where}: no column {column!r} ({option}); its columns are "
                    f"{', '.join(map(repr, names))}; fix: data.{option}={guess}"
                )

    def _skip(self, reason: str, where: str, detail: str = "") -> None:
        """Count what is left out; with ``errors="error"``, broken data raises ``DataError``."""
        if self.errors == "error" and reason in ("undecodable", "malformed"):
            raise DataError(
                f"{where}: {reason}{detail and f' ({detail})'}; fix: repair it, name its encoding "
                "by data.encoding, or leave it out by data.errors=skip"
            )
        self.skipped[reason] += 1

    def _no_document(self, where: str) -> DataError:
        """What to say when everything was left out."""
        fixes = [fix for reason, fix in FIXES.items() if self.skipped[reason]]
        return DataError(
            f"{self.name}: no document in {where}; left out: {dict(self.skipped) or 'nothing'}; "
            f"fix: {'; '.join(fixes or [FIXES['empty']])}"
        )

    def _decode(self, content: bytes, where: str) -> str | None:
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            if self.errors == "replace":
                return content.decode("utf-8", "replace")
            self._skip("undecodable", where, f"byte {content[error.start]:#04x}")
            return None

    def _from_bytes(self, content: bytes, id: str) -> Iterator[Document]:
        """One document of plain text, already within the limit."""
        if b"\0" in content:
            self._skip("binary", id)
            return
        text = self._decode(content, id)
        if text is not None:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            if text.strip():
                yield Document(text, self.name, f"{self.name}/{id}")
            else:
                self._skip("empty", id)

    def _from_record(self, record: Mapping[str, Any], id: str) -> Iterator[Document]:
        """The documents of one record: one, or none, or several where its text is too long."""
        if any(column not in record for column in self._columns()):
            self._skip("missing_field", id)
            return
        values = {option: record[column] for option, column in self.fields.items() if column}
        try:
            labels = several_labels(values.get("label_field"), self.label_separator)
            if labels is not None:
                labels = tuple(self._string(label, id) or "" for label in labels)
                values["label_field"] = None
            strings = {option: self._string(value, id) for option, value in values.items()}
        except TypeError as error:
            self._skip("malformed", id, str(error))
            return
        except UnicodeError as error:
            self._skip("undecodable", id, str(error))
            return
        for document in self._from_strings(strings, id):
            yield document if labels is None else replace(document, labels=labels)

    def _from_strings(self, strings: dict[str, str | None], id: str) -> Iterator[Document]:
        text = strings["text_field"] or ""
        target = strings.get("target_field")
        if "\0" in text:
            self._skip("binary", id)
        elif not text.strip():
            self._skip("empty", id)
        elif len(content := text.encode()) <= self.max_document_bytes:
            yield self._labelled(text, self._identity(strings, id), strings)
        elif target is not None:
            self._skip("too_long", id)
        else:
            identity = self._identity(strings, id)
            parts = pieces(io.BytesIO(content), "file", self.max_document_bytes)
            for number, part in enumerate(parts):
                if part.decode().strip():  # bytes know the white space of ASCII alone
                    yield self._labelled(part.decode(), f"{identity}#{number}", strings)

    def _labelled(self, text: str, id: str, strings: dict[str, str | None]) -> Document:
        split = strings.get("split_field")
        if split is not None and split.lower() not in SPLITS:
            raise DataError(f"{id}: split {split!r}; allowed are {', '.join(SPLITS)}")
        return Document(
            text,
            self.name,
            id,
            strings.get("label_field"),
            strings.get("target_field"),
            SPLITS[split.lower()] if split is not None else None,
        )

    def _identity(self, strings: dict[str, str | None], id: str) -> str:
        given = strings.get("id_field")
        if given is None:
            return f"{self.name}/{id}"
        if hash(given) in self._ids:
            self.duplicate_ids += 1
        elif len(self._ids) < _REMEMBERED_IDS:
            self._ids.add(hash(given))
        return f"{self.name}/{given}"

    def _string(self, value: Any, where: str) -> str | None:
        """Raises ``TypeError`` for what is no scalar, ``UnicodeError`` for what is no text."""
        if value is None:
            return None
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace" if self.errors == "replace" else "strict")
        elif isinstance(value, (list, dict)):
            raise TypeError(f"a {type(value).__name__} where text was expected")
        text = str(value)
        if text.isascii() or not _SURROGATE.search(text):
            return text
        if self.errors == "replace":
            return _SURROGATE.sub("\ufffd", text)
        raise UnicodeError("bytes that are not text in the given encoding")
