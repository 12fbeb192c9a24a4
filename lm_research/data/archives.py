"""Members of zip and tar archives, read where they lie: nothing is unpacked to disk.

A member is never written under its own name, so a name such as ``../../x`` leads nowhere; links and
devices are passed over. What a member may unfold to is bounded.
"""

import fnmatch
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from lm_research.data.document import DataError

LARGEST_MEMBER = 4 << 30
"""Bytes of one member, uncompressed: several times the largest that conf/data names."""
MOST_MEMBERS = 1_000_000
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a way of compressing that zipfile does not know
    RuntimeError,  # encrypted
)
"""What reading a damaged or truncated archive raises."""


def is_archive(name: str) -> bool:
    """Whether a file's or an address's name says zip or tar."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


class Bounded(io.RawIOBase):
    """A stream that raises ``DataError`` once more than ``limit`` bytes came out of it."""

    def __init__(self, stream: IO[bytes], limit: int, name: str) -> None:
        self._stream, self._left, self._limit, self._name = stream, limit, limit, name

    def readable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Close the stream beneath, too."""
        self._stream.close()
        super().close()

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Read into ``buffer``; 0 at the end."""
        content = self._stream.read(min(len(buffer), self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise DataError(
                f"{self._name} unfolds to more than {self._limit:,} bytes: damaged, or made to do "
                "harm; fix: remove it and fetch it again"
            )
        buffer[: len(content)] = content
        return len(content)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what reading a damaged archive raises into a ``DataError`` that names it."""
    try:
        yield
    except DAMAGE as error:
        raise DataError(
            f"{path} is damaged or cut short: {error}; fix: remove it and fetch it again"
        ) from error


def members(
    path: Path, wanted: Callable[[str], bool], limit: int = LARGEST_MEMBER
) -> Iterator[tuple[str, BinaryIO]]:
    """(name, content) of the regular members that ``wanted`` asks for, in the archive's order.

    A content can be read until the next one is asked for. What damage raises while it is read is
    left to the reader (see :func:`told`).

    Raises:
        DataError: too many members, or one of more than ``limit`` bytes.
    """
    read = _zip_members if zipfile.is_zipfile(path) else _tar_members
    for count, (name, stream) in enumerate(read(path, wanted)):
        if count >= MOST_MEMBERS:
            raise DataError(f"{path} has more than {MOST_MEMBERS:,} members")
        with io.BufferedReader(Bounded(stream, limit, f"{path}: {name}"), 1 << 16) as content:
            yield name, cast(BinaryIO, content)


@contextmanager
def member(path: Path, name: str, limit: int = LARGEST_MEMBER) -> Iterator[BinaryIO]:
    """The content of the one member that ``name`` means.

    Args:
        path: the archive.
        name: a path in it, or the end of one ("train.txt" for "corpus/train.txt"); ``*`` and ``?``
            stand for other characters.
        limit: most bytes, uncompressed.

    Raises:
        DataError: a damaged archive, no such member, or a larger one.
    """

    def wanted(found: str) -> bool:
        return fnmatch.fnmatchcase(found, name) or fnmatch.fnmatchcase(found, f"*/{name}")

    with told(path):
        for _, content in members(path, wanted, limit):
            yield content
            return
        raise DataError(f"{path} has no member {name}; fix: remove it and fetch it again")


def _zip_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir() and wanted(info.filename):
                yield info.filename, archive.open(info)


def _tar_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(path, "r:*") as archive:
        for info in archive:
            content = archive.extractfile(info) if info.isfile() and wanted(info.name) else None
            if content is not None:
                yield info.name, content
