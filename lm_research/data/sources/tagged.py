"""Corpora whose words carry tags: CoNLL-U, columns, or word/TAG; text for language modelling, too.

The text of a document is what was written, as far as the file says it; the annotators' tokens and
their tags are kept in ``Document.words`` and ``Document.tags``, for tasks that predict them.
"""

import fnmatch
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from lm_research.config.types import Fraction, NonNegativeInt
from lm_research.data.archives import members, told
from lm_research.data.document import Category, Document
from lm_research.data.downloads import RemoteFile
from lm_research.data.sources.downloaded import DownloadedSource, Leaks, SplitName, texts
from lm_research.data.sources.records import check_choice


@dataclass(frozen=True)
class Sentence:
    """Words with their tags, the text as it was written, and whether a new document begins."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    text: str
    begins: bool = False


class Tagged(DownloadedSource):
    """Sentences, or the documents that they make.

    Args:
        files, downloads, leaks, only, encoding, validation_share: see :class:`DownloadedSource`.
        format: "conllu" (Universal Dependencies: the text is that of the comment ``# text``),
            "columns" (CoNLL-2000: a word a line, its columns parted by spaces), "slashes"
            (``word/TAG``, a sentence a line). Of the last two the text is the words, parted by
            spaces.
        tag_column: the column of the tag, counted from 0 with the word's: of CoNLL-U, 3 is the
            universal tag and 4 the language's own; of CoNLL-2000, 1 is the part of speech and 2 the
            chunk. "slashes" has no columns.
        document: "sentence"; or "document": one for each ``# newdoc``, or member of an archive, its
            sentences parted by line breaks.
        members: for "slashes": pattern of the archive's members that hold text.
        categories: for "slashes": the member that names each text's category ("ca01 news"), which
            becomes its label.
    """

    def __init__(
        self,
        files: list[RemoteFile],
        downloads: str,
        format: Literal["conllu", "columns", "slashes"],
        leaks: Leaks = "drop",
        only: list[SplitName] | None = None,
        encoding: str = "utf-8",
        validation_share: Fraction = 0.0,
        tag_column: NonNegativeInt = 3,
        document: Literal["sentence", "document"] = "sentence",
        members: str = "*",
        categories: str | None = None,
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
        check_choice("format", format, ("conllu", "columns", "slashes"))
        check_choice("document", document, ("sentence", "document"))
        self.format = format
        self.tag_column = tag_column
        self.document = document
        self.members = members
        self.categories = categories

    def _documents(self) -> Iterator[Document]:
        for file in texts(self.files):
            if self.format == "slashes":
                yield from self._from_archive(file)
                continue
            read = read_conllu if self.format == "conllu" else read_columns
            sentences = read(self._lines(file), self.tag_column)
            for number, group in enumerate(self._grouped(sentences), start=1):
                yield self._joined(group, self._id(file, number), file.split, None)

    def _from_archive(self, file: RemoteFile) -> Iterator[Document]:
        labels = dict(self._labels(file))
        path = self.downloads.path(file)

        def wanted(name: str) -> bool:
            return fnmatch.fnmatchcase(name, self.members)

        with told(path):
            for name, content in members(path, wanted):
                text = self._text(content.read(), f"{path.name}: {name}")
                label = next((labels[end] for end in _ends(name) if end in labels), None)
                for number, group in enumerate(self._grouped(read_slashes(text)), start=1):
                    id = f"{self.name}/{name.partition('/')[2]}"
                    number_if_many = "" if self.document == "document" else f"/{number}"
                    yield self._joined(group, id + number_if_many, file.split, label)

    def _labels(self, file: RemoteFile) -> Iterator[tuple[str, str]]:
        if self.categories is None:
            return
        path = self.downloads.path(file)
        with told(path):
            for _, content in members(path, lambda name: name == self.categories):
                for line in self._text(content.read(), self.categories).splitlines():
                    name, _, label = line.partition(" ")
                    yield name, label.strip()

    def _grouped(self, sentences: Iterable[Sentence]) -> Iterator[list[Sentence]]:
        group: list[Sentence] = []
        for sentence in sentences:
            if group and (self.document == "sentence" or sentence.begins):
                yield group
                group = []
            group.append(sentence)
        if group:
            yield group

    def _joined(
        self, group: list[Sentence], id: str, split: SplitName | None, label: str | None
    ) -> Document:
        return Document(
            "\n".join(sentence.text for sentence in group),
            self.name,
            id,
            label,
            split=split,
            words=tuple(word for sentence in group for word in sentence.words),
            tags=tuple(tag for sentence in group for tag in sentence.tags),
        )


def _ends(name: str) -> Iterator[str]:
    """ "brown/ca01" is "brown/ca01", and "ca01" for who counts from within the folder."""
    while name:
        yield name
        name = name.partition("/")[2]


def read_conllu(lines: Iterable[str], tag_column: int = 3) -> Iterator[Sentence]:
    """Sentences of CoNLL-U, without its ranges of tokens ("1-2") and empty nodes ("1.1").

    https://universaldependencies.org/format.html
    """
    rows: list[list[str]] = []
    text, begins = "", False
    for line in [*lines, ""]:
        if line.startswith("# text = "):
            text = line.removeprefix("# text = ")
        elif line.startswith("# newdoc"):
            begins = True
        elif line and not line.startswith("#"):
            rows.append(line.split("\t"))
        elif not line and rows:
            tokens = [row for row in rows if row[0].isdigit()]
            words = tuple(row[1] for row in tokens)
            tags = tuple(row[tag_column] for row in tokens)
            yield Sentence(words, tags, text or " ".join(words), begins)
            rows, text, begins = [], "", False


def read_columns(lines: Iterable[str], tag_column: int) -> Iterator[Sentence]:
    """Sentences parted by empty lines, a word a line, columns parted by spaces."""
    rows: list[list[str]] = []
    for line in [*lines, ""]:
        if line.strip():
            rows.append(line.split())
        elif rows:
            words = tuple(row[0] for row in rows)
            yield Sentence(words, tuple(row[tag_column] for row in rows), " ".join(words))
            rows = []


def read_slashes(text: str) -> Iterator[Sentence]:
    """Sentences of ``word/TAG``, one a line; what has no slash has the tag ""."""
    for line in text.splitlines():
        pairs = [token.rpartition("/") for token in line.split()]
        words = tuple(word if slash else tag for word, slash, tag in pairs)
        if words:
            tags = tuple(tag if slash else "" for _, slash, tag in pairs)
            yield Sentence(words, tags, " ".join(words))
