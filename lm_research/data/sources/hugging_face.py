"""Hugging Face data sets, from the hub or from disk, by the ``datasets`` library."""

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from lm_research.config.types import PositiveInt
from lm_research.data.document import Category, DataError, Document
from lm_research.data.sources.records import SPLITS, RecordSource

UNSAFE_FORMATS = {"cache", "eval", "generator", "pandas", "spark", "sql"}
"""Formats of the library that run code from the data, in some version of it or other."""


class HuggingFace(RecordSource):
    """Documents from the rows of a data set; loading never runs code that the data set brings.

    What is left out is counted as in the module ``records``. A missing library, data set, split or
    column raises ``DataError``, and so does a data set without any document.

    Args:
        path: a name on the hub ("ag_news"), a folder, or a format ("json", "parquet", "csv",
            "text") with ``data_files``.
        config_name: which of the data set's configurations.
        split: the split to read ("train", "train[:10%]"); its documents are then split by the
            seeded rule. ``None`` reads every split and keeps them as the official ones.
        revision: commit or tag on the hub. Without one, the documents can change while
            ``signature`` stays the same.
        text_field: the column of the text.
        label_field: the column of the class, or of the list of several; numbers become names where
            the data set has them.
        target_field: the column of the text to produce from ``text_field``.
        id_field: the column of the id; otherwise the number of the row.
        data_files: files or patterns, where ``path`` is a format or a folder.
        data_dir: the folder that ``data_files`` start from, or that is read.
        streaming: read while downloading, without a copy on disk.
        cache_dir: where copies go; ``None`` leaves it to the library.
        errors: what to do with undecodable text: "skip", "replace" or "error".
        max_document_bytes: a longer text is cut, as by ``LocalFiles``.
    """

    def __init__(
        self,
        path: str,
        config_name: str | None = None,
        split: str | None = "train",
        revision: str | None = None,
        text_field: str = "text",
        label_field: str | None = None,
        target_field: str | None = None,
        id_field: str | None = None,
        data_files: list[str] | None = None,
        data_dir: str | None = None,
        streaming: bool = False,
        cache_dir: str | None = None,
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
            text_field=text_field,
            label_field=label_field,
            target_field=target_field,
            id_field=id_field,
            split_field=None,
            errors=errors,
            max_document_bytes=max_document_bytes,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )
        self.path = path
        self.config_name = config_name
        self.split = split
        self.revision = revision
        self.data_files = None if data_files is None else list(data_files)
        self.data_dir = data_dir
        self.streaming = streaming
        self.cache_dir = cache_dir

    def __iter__(self) -> Iterator[Document]:
        self._begin()
        found = False
        for split, dataset in self._load().items():
            official = SPLITS.get(split) if self.split is None else None
            for number, row in enumerate(self._rows(dataset)):
                for document in self._from_record(row, f"{split}/{number}"):
                    found = True
                    yield self._in_split(document, official)
        if not found:
            raise self._no_document(self.path)

    def signature(self) -> str:
        """The options, and, of what lies on disk, each file's name, size and time of change."""
        stats = [(os.path.basename(path), os.stat(path)) for path in self._local_files()]
        files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        options = [
            self.name,
            self.path,
            self.config_name,
            self.split,
            self.revision,
            self.fields,
            self.data_files,
            self.data_dir,
            self.errors,
            self.max_document_bytes,
        ]
        digest = hashlib.sha256(json.dumps([options, files]).encode()).hexdigest()
        return f"HuggingFace:{os.path.basename(self.path)}:{self.revision}:{digest[:16]}"

    def _local_files(self) -> list[str]:
        folders = [folder for folder in (self.path, self.data_dir) if folder]
        patterns = [os.path.join(glob.escape(folder), "**") for folder in folders]
        for name in self.data_files or ():
            patterns += [name, *(os.path.join(glob.escape(folder), name) for folder in folders)]
        found = {path for pattern in patterns for path in glob.glob(pattern, recursive=True)}
        return sorted(path for path in found if os.path.isfile(path))

    def _load(self) -> Mapping[str, Any]:
        """The data sets by split."""
        try:
            import datasets
        except ImportError:
            raise DataError(
                f"{self.name}: needs the library datasets; fix: pip install 'lm-research[hf]'"
            ) from None
        if self.path in UNSAFE_FORMATS:
            raise DataError(
                f"{self.name}: path={self.path!r} reads pickles or runs queries, which a "
                "configuration may not ask for; fix: convert the files to Parquet or JSON"
            )
        datasets.disable_progress_bars()
        try:
            loaded = datasets.load_dataset(
                self.path,
                name=self.config_name,
                split=self.split,
                revision=self.revision,
                data_files=self.data_files,
                data_dir=self.data_dir,
                streaming=self.streaming,
                cache_dir=self.cache_dir,
            )
        except Exception as error:  # the library raises whatever its builders do
            raise self._unreadable(error) from error
        return loaded if self.split is None else {self.split: loaded}

    def _rows(self, dataset: Any) -> Iterator[dict[str, Any]]:
        """The columns that are asked for, with class numbers turned into names."""
        try:
            names = dataset.column_names or list(next(iter(dataset), {}))
            if names:
                self._check_columns(names, f"{self.name}: {self.path}")
                dataset = dataset.select_columns(list(dict.fromkeys(self._columns())))
            class_names = _class_names(dataset, self.fields["label_field"])
            for row in dataset:
                yield row | {
                    column: _named(row[column], names_of)
                    for column, names_of in class_names.items()
                }
        except DataError:
            raise
        except Exception as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DataError:
        cause = str(error.__cause__ or error).strip().splitlines() or [""]
        return DataError(
            f"{self.name}: {self.path} cannot be read: {type(error).__name__}: {cause[0]}; fix: "
            "check data.path, data.config_name, data.split and data.data_files, and, for a name "
            "on the hub, the network"
        )

    def _in_split(self, document: Document, official: str | None) -> Document:
        if official is None:
            return document
        return replace(document, split=official)


def _class_names(dataset: Any, column: str | None) -> dict[str, dict[int, str]]:
    """``{column: {number: name}}`` if the column is of ``ClassLabel``, or lists of it; else {}."""
    feature = (dataset.features or {}).get(column) if column else None
    names = getattr(getattr(feature, "feature", feature), "names", None)
    return {column: dict(enumerate(names))} if column and names else {}


def _named(value: Any, names: Mapping[int, str]) -> Any:
    """The name of a number, or those of a list of them."""
    return [names.get(item) for item in value] if isinstance(value, list) else names.get(value)
