"""Corpora that are an archive with a file of plain text for each document, or kind of them."""

import io
import re
from collections.abc import Iterator
from typing import Literal

from lm_research.config.types import Fraction, PositiveInt
from lm_research.data.archives import members, told
from lm_research.data.document import Category, Document
from lm_research.data.downloads import RemoteFile
from lm_research.data.sources.downloaded import DownloadedSource, Leaks, SplitName, texts
from lm_research.data.sources.records import SMALLEST_LIMIT, SPLITS, check_choice
from lm_research.data.sources.streams import pieces


class Archived(DownloadedSource):
    """The members of zip or tar archives whose path has a given form; nothing is unpacked.

    Members that are not in the encoding are left out and counted as "undecodable".

    Args:
        files, downloads, leaks, only, encoding, validation_share: see :class:`DownloadedSource`.
        members: regular expression of the whole path of a member; of its named groups ``label`` is
            the documents' label, and ``split`` (train, dev, test, ...) their official split.
        document: what a document is: the member, a paragraph of it (blank lines around it), a line.
        max_document_bytes: longer ones are cut at paragraph or line borders.
    """

    def __init__(
        self,
        files: list[RemoteFile],
        downloads: str,
        members: str,
        leaks: Leaks = "drop",
        only: list[SplitName] | None = None,
        encoding: str = "utf-8",
        validation_share: Fraction = 0.0,
        document: Literal["file", "paragraph", "line"] = "file",
        max_document_bytes: PositiveInt = 1048576,
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
        check_choice("document", document, ("file", "paragraph", "line"))
        if max_document_bytes < SMALLEST_LIMIT:
            raise ValueError(f"max_document_bytes={max_document_bytes}: at least {SMALLEST_LIMIT}")
        try:
            re.compile(members)
        except re.error as error:
            raise ValueError(f"members={members!r} is no regular expression: {error}") from error
        self.members = members
        self.document = document
        self.max_document_bytes = max_document_bytes

    def _documents(self) -> Iterator[Document]:
        form = re.compile(self.members)
        for file in texts(self.files):
            path = self.downloads.path(file)
            with told(path):
                for name, content in members(path, lambda name: bool(form.fullmatch(name))):
                    match = form.fullmatch(name)
                    groups = match.groupdict() if match else {}
                    try:
                        text = content.read().decode(self.encoding)
                    except UnicodeDecodeError:
                        self.skipped["undecodable"] += 1
                        continue
                    yield from self._cut(text, name, groups, file)

    def _cut(
        self, text: str, name: str, groups: dict[str, str | None], file: RemoteFile
    ) -> Iterator[Document]:
        label, split = groups.get("label") or file.label, groups.get("split")
        official = SPLITS[split] if split else file.split
        id = f"{self.name}/{name.partition('/')[2] or name}"
        plain = text.replace("\r\n", "\n").replace("\r", "\n").encode()
        for number, piece in enumerate(
            pieces(io.BytesIO(plain), self.document, self.max_document_bytes)
        ):
            part = piece.decode().strip("\n")
            if not part.strip():
                self.skipped["empty"] += 1
                continue
            whole = self.document == "file" and len(plain) <= self.max_document_bytes
            number_if_many = "" if whole else f"#{number}"
            yield Document(part, self.name, id + number_if_many, label, split=official)
