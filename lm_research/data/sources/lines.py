"""Corpora with a document a line, with labels or targets in files beside the text, or none."""

from collections.abc import Iterator
from typing import Literal

from lm_research.config.types import FoldCount, Fraction, NonNegativeInt
from lm_research.data.document import Category, DataError, Document
from lm_research.data.downloads import RemoteFile
from lm_research.data.sources.downloaded import DownloadedSource, Leaks, SplitName, texts
from lm_research.data.sources.records import check_choice


class Lines(DownloadedSource):
    """Each line of a file of text is a document.

    Of files with the roles "label" and "target" the line of the same number belongs to it.

    Args:
        files, downloads, leaks, only, encoding, validation_share, folds, fold, fold_seed: see
            :class:`DownloadedSource`.
        strip: without the white space around a line.
        blank: "drop" leaves out lines with nothing but white space, counted as "empty". "keep"
            makes documents of those that hold a space, where a published count has them.
        ordered: documents are used in the file's order; see :class:`Source`.
        label_first: the first word of a line is its label ("DESC:def What is ..."): "coarse" takes
            what stands before a colon in it, "fine" all of it.
        labels: names of the labels in the files, {"0": negative}.
    """

    def __init__(
        self,
        files: list[RemoteFile],
        downloads: str,
        leaks: Leaks = "drop",
        only: list[SplitName] | None = None,
        encoding: str = "utf-8",
        validation_share: Fraction = 0.0,
        strip: bool = True,
        blank: Literal["drop", "keep"] = "drop",
        ordered: bool = False,
        label_first: Literal["coarse", "fine"] | None = None,
        labels: dict[str, str] | None = None,
        folds: FoldCount | None = None,
        fold: NonNegativeInt = 0,
        fold_seed: NonNegativeInt = 0,
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
            folds,
            fold,
            fold_seed,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )
        check_choice("blank", blank, ("drop", "keep"))
        self.strip = strip
        self.blank = blank
        self.ordered = ordered
        self.label_first = label_first
        self.labels = None if labels is None else dict(labels)

    def _documents(self) -> Iterator[Document]:
        for file in texts(self.files):
            for number, (line, label, target) in enumerate(self._rows(file), start=1):
                if self.label_first is not None:
                    label, line = self._cut_label(line)
                if line.strip() or (line and self.blank == "keep"):
                    named = self.labels.get(label, label) if self.labels and label else label
                    id = self._id(file, number)
                    yield Document(line, self.name, id, named, target, file.split)
                else:
                    self.skipped["empty"] += 1

    def _rows(self, file: RemoteFile) -> Iterator[tuple[str, str | None, str | None]]:
        """(text, label, target) by line. Raises ``DataError`` where files differ in length."""
        columns = {"text": self._stripped(self._lines(file))}
        for role in ("label", "target"):
            if (beside := self._beside(file, role)) is not None:
                columns[role] = (line.strip() for line in self._lines(beside))
        try:
            for values in zip(*columns.values(), strict=True):
                row = dict(zip(columns, values, strict=True))
                yield row["text"], row.get("label", file.label), row.get("target")
        except ValueError:
            raise DataError(
                f"data={self.name}: {file.name} and the files beside it have different numbers of "
                "lines; fix: move them away and run the same command again"
            ) from None

    def _stripped(self, lines: Iterator[str]) -> Iterator[str]:
        return (line.strip() for line in lines) if self.strip else lines

    def _cut_label(self, line: str) -> tuple[str, str]:
        label, _, rest = line.partition(" ")
        return (label.partition(":")[0] if self.label_first == "coarse" else label), rest
