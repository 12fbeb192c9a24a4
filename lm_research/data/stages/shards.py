"""Numbered files of a stage: each is there whole, with a digest of its content, or not there.

A shard is written beside its place and renamed; it is not forced to disk. Who makes a shard that
somebody else has made meanwhile replaces it by the same bytes. A shard whose content is not what
its digest says (after a power cut, on a disk that lost a page) is told, removed, and made again
like one that was never there.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import struct
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import zstandard

from lm_research.data.document import DataError

_log = logging.getLogger(__name__)
_DIGEST = 32
_LEFTOVER_S = 3600.0
"""A half-written shard of so long ago is nobody's: writing one takes a second."""
LEVEL = 1
"""Of zstandard's compression: half of the size of a text, at the speed of a disk."""


class Shards:
    """The shards of one stage.

    Args:
        folder: the stage's; made with its first shard.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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
        payload, digest = content[:-_DIGEST], content[-_DIGEST:]
        if hashlib.blake2b(payload, digest_size=_DIGEST).digest() == digest:
            return _unpacked(payload)
        _log.warning("%s is damaged; it is made again", path)
        path.unlink(missing_ok=True)
        return None

    def write(self, number: int, parts: Sequence[bytes]) -> None:
        """Put a shard in its place.

        Raises:
            DataError: the disk does not take it.
        """
        payload = _packed(parts)
        path = self.path(number)
        beside = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(payload)
                file.write(hashlib.blake2b(payload, digest_size=_DIGEST).digest())
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


def _packed(parts: Sequence[bytes]) -> bytes:
    """How many, the length of each, and the parts themselves, compressed."""
    head = struct.pack(f"<{len(parts) + 1}q", len(parts), *map(len, parts))
    return zstandard.ZstdCompressor(LEVEL).compress(head + b"".join(parts))


def _unpacked(payload: bytes) -> list[bytes]:
    content = zstandard.ZstdDecompressor().decompress(payload)
    (count,) = struct.unpack_from("<q", content)
    lengths = struct.unpack_from(f"<{count}q", content, 8)
    parts, start = [], 8 * (count + 1)
    for length in lengths:
        parts.append(content[start : start + length])
        start += length
    return parts
