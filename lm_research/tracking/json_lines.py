"""An append-only file of JSON rows that outlives kill -9, a full disk and a step back in time.

A row is one line, written by one system call, so that a process killed at any moment leaves whole
rows and at most one torn last line. Reading passes over a torn line; the next append cuts it off.
Rows carry an integer ``step`` that never decreases. Resuming from a checkpoint takes back the rows
written after it (:meth:`JsonLines.truncate_after`), so that each step is there once; the rows
taken back are kept in ``NAME.cut-N.jsonl``.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lm_research.config.untrusted import UntrustedError, load_json, open_plain
from lm_research.tracking.errors import RunFolderError, write_error
from lm_research.tracking.json_files import encoded, restored


class JsonLines:
    """The rows of one file, and the place where the next one goes.

    Nothing is opened before the first append. One process writes at a time (the run folder's lock
    sees to that); any number may read.

    Args:
        path: the file, made by the first append.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._count = 0
        self._end = 0  # bytes of whole rows
        self._last: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows, oldest first; a file that is not there has none.

        Raises:
            RunFolderError: a line other than a torn last one is not a JSON object.
        """
        for number, line in enumerate(self._lines(), start=1):
            row = _parsed(line)
            if row is not None:
                yield restored(row)
            elif line.endswith(b"\n"):
                raise RunFolderError(
                    f"{self.path}, line {number}: damaged, not a JSON object. "
                    "Delete that line to read the rest."
                )

    def __len__(self) -> int:
        """How many whole rows there are."""
        return self._scan()[0]

    @property
    def last(self) -> dict[str, Any] | None:
        """The newest row, or ``None``."""
        self._scan()
        return None if self._last is None else restored(self._last)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write ``row`` after the others, at once.

        Args:
            row: JSON values, with an int "step" not smaller than the last row's.

        Raises:
            ValueError: "step" is missing, not an int, or smaller than the last one.
            RunFolderError: the disk is full or not writable; the rows before are whole.
        """
        descriptor = self._open()
        step = row.get("step")
        last = -1 if self._last is None else self._last["step"]
        if not isinstance(step, int) or step < last:
            raise ValueError(
                f"{self.path.name}: a row of step {step!r} after step {last}: steps are integers "
                f"that never decrease; call rewind(step) before going back to a checkpoint"
            )
        data = encoded(row).encode() + b"\n"
        self._write(descriptor, data, self._end)
        self._count, self._end, self._last = self._count + 1, self._end + len(data), dict(row)

    def truncate_after(self, step: int, rows: int | None = None) -> int:
        """Take back the rows of steps later than ``step``, and all beyond the first ``rows``.

        They are written to ``NAME.cut-N.jsonl``, to the disk, before they leave this file.

        Returns:
            How many rows were taken back.
        """
        if not self.path.exists():
            return 0
        descriptor = self._open()
        offset, cut = self._first_row_after(step, rows)
        if not cut:
            return 0
        try:
            self._keep_tail(offset)
            os.ftruncate(descriptor, offset)
            os.fsync(descriptor)
        except OSError as error:
            raise write_error(self.path, error) from error
        self.close()
        return cut

    def sync(self) -> None:
        """Force the rows to the disk: they survive a power cut, not only a killed process."""
        try:
            if self._descriptor is not None:
                os.fsync(self._descriptor)
        except OSError as error:
            raise write_error(self.path, error) from error

    def close(self) -> None:
        """Close the file; a later append opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lines(self) -> Iterator[bytes]:
        try:
            descriptor = open_plain(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be read: {error.strerror}") from error
        with open(descriptor, "rb") as file:
            for line in file:
                yield line
                if not line.endswith(b"\n"):
                    return  # its rest, if a writer is just adding it, is no line of its own

    def _scan(self) -> tuple[int, int]:
        """Count the whole rows and their bytes; an open file knows them already."""
        if self._descriptor is None:
            self._count, self._end, newest = 0, 0, b""
            for line in self._lines():
                if line.endswith(b"\n"):
                    self._count, self._end, newest = self._count + 1, self._end + len(line), line
            self._last = _parsed(newest)
            if newest and not (self._last and isinstance(self._last.get("step"), int)):
                raise RunFolderError(
                    f"{self.path}, line {self._count}: damaged, not a row with a step. "
                    "Delete that line to go on."
                )
        return self._count, self._end

    def _open(self) -> int:
        if self._descriptor is None:
            self._scan()
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
                self._descriptor = open_plain(self.path, flags)
                self._mend(self._descriptor)
            except OSError as error:
                raise write_error(self.path, error) from error
        return self._descriptor

    def _mend(self, descriptor: int) -> None:
        """Finish or cut off what a killed writer left after the last newline."""
        tail = os.pread(descriptor, max(os.fstat(descriptor).st_size - self._end, 0), self._end)
        row = _parsed(tail)
        if row is not None and isinstance(row.get("step"), int):  # whole but for its newline
            self._write(descriptor, b"\n", self._end + len(tail))
            self._count, self._end, self._last = self._count + 1, self._end + len(tail) + 1, row
        elif tail:
            os.ftruncate(descriptor, self._end)

    def _write(self, descriptor: int, data: bytes, size: int) -> None:
        """Append ``data`` to a file of ``size`` bytes, wholly or not at all."""
        if not os.fstat(
            descriptor
        ).st_nlink:  # the file has lost its name: nobody would find the row
            raise write_error(self.path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        try:
            written = os.write(descriptor, data)
            if written < len(data):  # what a disk does that fills up within a row
                os.write(descriptor, data[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise write_error(self.path, error) from error

    def _first_row_after(self, step: int, rows: int | None) -> tuple[int, int]:
        """Where the rows to take back begin (bytes), and how many they are."""
        offset = 0
        for index, line in enumerate(self._lines()):
            row = _parsed(line) or {}
            if row.get("step", step) > step or (rows is not None and index >= rows):
                return offset, self._count - index
            offset += len(line)
        return offset, 0

    def _keep_tail(self, offset: int) -> None:
        number = 1
        while (cut := self.path.with_suffix(f".cut-{number}.jsonl")).exists():
            number += 1
        with open(open_plain(self.path), "rb") as source, cut.open("xb") as target:
            source.seek(offset)
            while block := source.read(1 << 20):
                target.write(block)
            target.flush()
            os.fsync(target.fileno())


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = load_json(line)
    except UntrustedError:
        return None
    return row if isinstance(row, dict) else None
