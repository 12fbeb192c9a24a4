"""Numbered files of a stage: each is there whole, with a CRC-32 of its content, or not there.

A shard is written beside its place and renamed; it is not forced to disk. Who makes a shard that
somebody else has made meanwhile replaces it by the same bytes. A shard whose content is not what
its CRC-32 says (after a power cut, on a disk that lost a page) is told, removed, and made again
like one that was never there.
"""

import contextlib
import logging
import os
import shutil
import struct
import time
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path

import zstandard

from lm_research.data.document import DataError

_log = logging.getLogger(__name__)
_DIGEST = struct.Struct("<I")
_LEFTOVER_S = 3600.0
"""A half-written shard of so long ago is nobody's: writing one takes a second."""
LEVEL = 1
"""Of zstandard's compression: half of the size of a text, at the speed of a disk."""


class Shards:
    """The shards of one stage.

    Args:
        folder: the stage's; made with its first shard.
        compressed: worth its time for text that stays, not for ids that are soon removed.
    """

    def __init__(self, folder: Path, compressed: bool = True) -> None:
        self.folder, self.compressed = folder, compressed

    def path(self, number: int) -> Path:
        """Where a shard lies."""
        return self.folder / f"{number:06d}.shard"

    def has(self, number: int) -> bool:
        """Whether there is such a shard, sound or not."""
        return self.path(number).exists()

    def read(self, number: int) -> list[bytes] | None:
        """The parts of a shard; None if it is not there, or damaged, and then removed."""
        path = self.path(number)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        payload, digest = content[: -_DIGEST.size], content[-_DIGEST.size :]
        if _DIGEST.pack(zlib.crc32(payload)) == digest:
            return _unpacked(payload, self.compressed)
        _log.warning("%s is damaged; it is made again", path)
        path.unlink(missing_ok=True)
        return None

    def write(self, number: int, parts: Sequence[bytes]) -> None:
        """Put a shard in its place.

        Raises:
            DataError: the disk does not take it.
        """
        payload = _packed(parts, self.compressed)
        path = self.path(number)
        beside = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(payload)
                file.write(_DIGEST.pack(zlib.crc32(payload)))
            os.replace(beside, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise DataError(
                f"{path}: cannot be written ({error.strerror or error}); the cache needs room for "
                "the text in each of its stages: cache=FOLDER puts it on another disk"
            ) from error

    def remove(self) -> None:
        """Remove the stage, which nobody needs any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def clear_leftovers(self) -> None:
        """Remove what builders that were killed have left half written."""
        before = time.time() - _LEFTOVER_S
        for file in self.folder.glob("*.tmp"):
            with contextlib.suppress(OSError):
                if file.stat().st_mtime < before:
                    file.unlink()


class Unkept(Shards):
    """Where nothing is kept: a stage that is passed through."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull))

    def has(self, number: int) -> bool:
        """Never."""
        return False

    def read(self, number: int) -> list[bytes] | None:
        """Nothing."""
        return None

    def write(self, number: int, parts: Sequence[bytes]) -> None:
        """Let go of it."""

    def clear_leftovers(self) -> None:
        """There are none."""


def _packed(parts: Sequence[bytes], compressed: bool) -> bytes:
    """How many, the length of each, and the parts themselves."""
    head = struct.pack(f"<{len(parts) + 1}q", len(parts), *map(len, parts))
    content = b"".join([head, *parts])
    return zstandard.ZstdCompressor(LEVEL).compress(content) if compressed else content


def _unpacked(payload: bytes, compressed: bool) -> list[bytes]:
    content = zstandard.ZstdDecompressor().decompress(payload) if compressed else payload
    (count,) = struct.unpack_from("<q", content)
    lengths = struct.unpack_from(f"<{count}q", content, 8)
    parts, start = [], 8 * (count + 1)
    for length in lengths:
        parts.append(content[start : start + length])
        start += length
    return parts
