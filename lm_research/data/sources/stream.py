"""Corpora that are one stream of text, cut into splits by position, as published results do."""

import io
from collections.abc import Iterator
from itertools import pairwise

from lm_research.config.types import Fraction, PositiveInt
from lm_research.data.document import Category, DataError, Document
from lm_research.data.downloads import RemoteFile
from lm_research.data.sources.downloaded import DownloadedSource, texts
from lm_research.data.sources.streams import pieces
from lm_research.data.splits import SPLITS


class Stream(DownloadedSource):
    """The characters of the files, one after the other: first training, then validation, then test.

    A split is one document, so that its stream is the file's, character for character; documents
    are used in order. The cuts are at floor((1 - validation - test) n) and floor((1 - test) n) of n
    characters (of ASCII, bytes).

    Args:
        files, downloads: see :class:`DownloadedSource`.
        begins_with: words of each file that the stream begins with; what stands before their first
            place (a title page) is left out. ``None``: its beginning.
        ends_before: words of each file, after those, that are left out with all that follows (a
            licence). ``None``: its end.
        validation, test: shares of the characters.
        unit_bytes: cut a split into documents of at most so many bytes, at borders of paragraphs,
            lines or words; a separator then stands between them. ``None``: one document.
        by_byte: shares are of UTF-8 bytes; a character that a cut would part stays before it.
        parts: the text is cut into so many parts of one length (the last may be longer), and each
            split has its share of every part, one after the other: held-out text then comes from
            all over a book, as where a program lays a text into lanes and holds out their ends.

    Raises:
        DataError: while reading, if a file has not the words of ``begins_with``, ``ends_before``;
            if the text has fewer characters than ``parts``.
    """

    ordered = True

    def __init__(
        self,
        files: list[RemoteFile],
        downloads: str,
        validation: Fraction,
        test: Fraction,
        unit_bytes: PositiveInt | None = None,
        by_byte: bool = False,
        parts: PositiveInt = 1,
        begins_with: str | None = None,
        ends_before: str | None = None,
        encoding: str = "utf-8",
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
            "keep",
            None,
            encoding,
            name=name,
            language=language,
            category=category,
            licence=licence,
            citation=citation,
        )
        if not 0 <= validation + test < 1:
            raise ValueError(f"validation={validation} and test={test}: together below 1")
        self.validation = validation
        self.test = test
        self.unit_bytes = unit_bytes
        self.by_byte = by_byte
        self.parts = parts
        self.begins_with = begins_with
        self.ends_before = ends_before

    def _documents(self) -> Iterator[Document]:
        for split, text in zip(SPLITS, self._splits(), strict=True):
            for number, piece in enumerate(self._pieces(text)):
                yield Document(piece, self.name, f"{self.name}/{split}/{number}", split=split)

    def _splits(self) -> list[str]:
        text = "".join(self._whole(file) for file in texts(self.files))
        if self.parts > max(len(text), 1):
            raise DataError(
                f"data.parts is {self.parts}, and the text has {len(text)} characters; fix: fewer"
            )
        length = len(text) // self.parts
        edges = [*(length * number for number in range(self.parts)), len(text)]
        shares = [self._shares(text[first:last]) for first, last in pairwise(edges)]
        return ["".join(parts) for parts in zip(*shares, strict=True)]

    def _shares(self, text: str) -> list[str]:
        """What each split has of a part."""
        # In millionths, since 1 - 0.05 - 0.05 is a little less than 0.9 in floating point.
        test, validation = round(self.test * 10**6), round(self.validation * 10**6)
        shares = (10**6 - test - validation, 10**6 - test)
        if not self.by_byte or text.isascii():
            first, second = (len(text) * share // 10**6 for share in shares)
            return [text[:first], text[first:second], text[second:]]
        content = text.encode()
        first, second = (_whole_character(content, len(content) * s // 10**6) for s in shares)
        return [
            part.decode() for part in (content[:first], content[first:second], content[second:])
        ]

    def _whole(self, file: RemoteFile) -> str:
        with self._open(file) as content:
            text = self._text(content.read(), file.name)
        first = self._place(text, "begins_with", 0, file)
        last = self._place(text, "ends_before", first, file)
        return text[first:last]

    def _place(self, text: str, field: str, start: int | None, file: RemoteFile) -> int | None:
        """Where the words of a field stand; None: there are none, and nothing is cut."""
        words = getattr(self, field)
        place = text.find(words, start) if words else None
        if place == -1:
            raise DataError(
                f"data.{field} is {words!r}, which {file.name} does not have; fix: words that it "
                f"has, or data.{field}=null"
            )
        return place

    def _pieces(self, text: str) -> Iterator[str]:
        if self.unit_bytes is None:
            yield from [text] if text else []
        else:
            for piece in pieces(io.BytesIO(text.encode()), "file", self.unit_bytes):
                yield piece.decode()


def _whole_character(content: bytes, cut: int) -> int:
    """The first position from ``cut`` on that no character spans."""
    while cut < len(content) and content[cut] & 0xC0 == 0x80:
        cut += 1
    return cut
