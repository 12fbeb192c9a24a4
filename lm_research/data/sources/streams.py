"""Bytes of text files: decompressed, in UTF-8, and cut at borders, a buffer at a time.

Whatever the file's encoding, what comes out is UTF-8, where a byte that could not be decoded makes
invalid UTF-8 again: it is found when a document is decoded, and only that document is lost.
"""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

from lm_research.data.document import DataError
from lm_research.text.sentences import split_sentences

Unit = Literal["file", "paragraph", "line", "sentence"]

_BUFFER = 1 << 16
_ZSTD_BYTES = 1 << 7  # compressed, at a time: a few bytes can unfold to a block of 128 KiB


class _ZstdReader(io.RawIOBase):
    """Decompresses frame after frame; unlike zstandard's own reader it tells a truncated one."""

    def __init__(self, file: BinaryIO) -> None:
        try:
            import zstandard
        except ImportError:
            raise DataError(
                "a .zst file needs the package zstandard; fix: pip install zstandard"
            ) from None
        self._file, self._pending = file, memoryview(b"")
        self._decompressor = zstandard.ZstdDecompressor()
        self._frame: Any = None
        self._error = zstandard.ZstdError

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._pending:
            if not self._fill():
                return 0
        size = min(len(buffer), len(self._pending))
        buffer[:size], self._pending = self._pending[:size], self._pending[size:]
        return size

    def _fill(self) -> bool:
        unused = self._frame.unused_data if self._frame and self._frame.eof else b""
        content = unused or self._file.read(_ZSTD_BYTES)
        if not content:
            if self._frame and not self._frame.eof:
                raise EOFError("the compressed stream ends before its end mark")
            return False
        if self._frame is None or self._frame.eof:
            self._frame = self._decompressor.decompressobj()
        try:
            self._pending = memoryview(self._frame.decompress(content))
        except self._error as error:
            raise OSError(str(error)) from None
        return True


class _Transcoder(io.RawIOBase):
    """Any encoding to UTF-8; undecodable bytes stay as they are, which is invalid UTF-8."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file, self._pending, self._ended = file, memoryview(b""), False
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._pending and not self._ended:
            content = self._file.read(_BUFFER)
            self._ended = not content
            try:
                text = self._decoder.decode(content, final=self._ended)
                self._pending = memoryview(text.encode("utf-8", "surrogateescape"))
            except UnicodeError:  # UTF-16 or UTF-32 out of step: nothing after this can be read
                self._pending, self._ended = memoryview(b"\xff"), True
        size = min(len(buffer), len(self._pending))
        buffer[:size], self._pending = self._pending[:size], self._pending[size:]
        return size


def _open_plain(path: Path) -> Any:
    return path.open("rb", buffering=0)


def _open_zstd(path: Path) -> Any:
    return _ZstdReader(path.open("rb"))


OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zstd,
    ".zstd": _open_zstd,
}
READ_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError)


def open_utf8(path: Path, encoding: str = "utf-8") -> io.BufferedReader:
    """Open a text file, decompressed by its suffix, as UTF-8 without a byte order mark.

    Reading raises one of ``READ_ERRORS`` where the compressed data is broken or truncated.
    """
    raw = OPENERS.get(path.suffix.lower(), _open_plain)(path)
    if codecs.lookup(encoding).name not in ("utf-8", "ascii"):
        raw = _Transcoder(raw, encoding)
    stream = io.BufferedReader(raw, _BUFFER)
    if stream.peek(3)[:3] == codecs.BOM_UTF8:
        stream.read(3)
    return stream


def pieces(stream: BinaryIO, unit: Unit, limit: int) -> Iterator[bytes]:
    """Cut UTF-8 text into units of at most ``limit`` bytes.

    A unit that is longer is cut at the last paragraph border in the second half of the limit, else
    at the last line's end there, else at a space, else between two characters. Blank lines between
    paragraphs are in none of them. No more than two pieces are in memory.
    """
    if unit == "file":
        return _blocks(stream, limit)
    if unit == "sentence":
        return _sentences(stream, limit)
    return _lines(stream, limit) if unit == "line" else _paragraphs(stream, limit)


def _blocks(stream: BinaryIO, limit: int) -> Iterator[bytes]:
    rest = b""
    while len(block := rest + stream.read(limit + 1 - len(rest))) > limit:
        border = _border(block[:limit], (b"\n\n", b"\n\r\n", b"\n", b" "))
        yield block[:border]
        rest = block[border:]
    if block:
        yield block


def _paragraphs(stream: BinaryIO, limit: int) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for line in _lines(stream, limit):
        blank = not line.strip()
        if held and (blank or size + len(line) > limit):
            yield b"".join(held)
            held, size = [], 0
        if not blank:
            held.append(line)
            size += len(line)
    if held:
        yield b"".join(held)


def _sentences(stream: BinaryIO, limit: int) -> Iterator[bytes]:
    """Sentences of the paragraphs, bytes that are no UTF-8 included."""
    for paragraph in _paragraphs(stream, limit):
        for sentence in split_sentences(paragraph.decode("utf-8", "surrogateescape")):
            yield sentence.encode("utf-8", "surrogateescape")


def _lines(stream: BinaryIO, limit: int) -> Iterator[bytes]:
    """Lines with their ends; one longer than ``limit`` bytes comes in several parts."""
    rest = b""
    while line := rest + stream.readline(limit - len(rest)):
        rest = b""
        if len(line) >= limit and not line.endswith(b"\n"):
            border = _border(line, (b" ",))
            line, rest = line[:border], line[border:]
        yield line


def _border(block: bytes, marks: tuple[bytes, ...]) -> int:
    """Behind the last of the first mark that the second half of the block holds.

    Without any, before the last character, which the end of the block may have cut in two.
    """
    for mark in marks:
        found = block.rfind(mark, len(block) // 2)
        if found >= 0:
            return found + len(mark)
    start = len(block) - 1
    while start > len(block) - 4 and block[start] & 0xC0 == 0x80:
        start -= 1
    return start


def record_lines(stream: BinaryIO, limit: int) -> Iterator[bytes]:
    """Whole lines with their ends. Raises ``DataError`` on one longer than ``limit`` bytes."""
    while line := stream.readline(limit):
        if len(line) == limit and not line.endswith(b"\n"):
            raise DataError(
                f"a line is longer than {limit} bytes, which no record should be; fix: check that "
                "the file has the format that its suffix or data.format says"
            )
        yield line
