"""A lock on a folder that dies with its process, however the process dies.

The lock is ``flock`` on ``.lock``: the kernel drops it when the last open handle goes, also after
kill -9, so that a lock is never stale and never has to be broken by hand. The file's content says
who holds it; it stays behind and means nothing while nobody does. Child processes made by fork
close their copy of the handle at once, so that an orphaned data-loading worker holds nothing.

Where there is no ``flock`` (some network mounts) the content is all there is: it counts while the
process that signed it lives, by its number and the moment it started, on this very machine. Two
machines on such a folder cannot be told apart; a warning says so.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import time
import weakref
from datetime import datetime
from pathlib import Path
from typing import Any

from lm_research.config.untrusted import (
    LARGEST_JSON,
    UntrustedError,
    load_json,
    open_plain,
    read_plain,
)
from lm_research.tracking.errors import RunFolderBusyError, write_error

FILE = ".lock"
_PATIENCE_S = 0.25  # somebody looking at the lock holds it for microseconds
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_log = logging.getLogger(__name__)


class FolderLock:
    """The right to write a folder, held from :meth:`acquire` to :meth:`release` or death.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._descriptor: int | None = None
        self._signed_only = False

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            RunFolderBusyError: a live process holds it; the message says which.
            RunFolderError: the folder is not writable.
        """
        try:
            descriptor = open_plain(self.path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            self._signed_only = not _lock(descriptor, fcntl.LOCK_EX)
            if self._signed_only and _lives(self._signature()):
                raise BlockingIOError
            self._sign(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            raise RunFolderBusyError(self._busy()) from None
        except OSError as error:
            os.close(descriptor)
            raise write_error(self.path, error) from error
        self._descriptor = descriptor
        _held.add(self)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                if self._signed_only:
                    os.ftruncate(self._descriptor, 0)
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.forget()

    def forget(self) -> None:
        """Close this process's handle without unlocking what a parent process holds."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        _held.discard(self)

    def holder(self) -> dict[str, Any] | None:
        """Who holds the lock ({"pid", "host", "since"}, empty if unknown), or ``None``: nobody."""
        try:
            descriptor = open_plain(self.path)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._signature()
        except OSError:
            who = self._signature()
            return who if _lives(who) else None
        else:
            return None
        finally:
            os.close(descriptor)

    def _sign(self, descriptor: int) -> None:
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        who = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        holder = {**who, "ticks": _ticks(os.getpid())}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)

    def _signature(self) -> dict[str, Any]:
        try:
            holder = load_json(read_plain(self.path, LARGEST_JSON))
        except (OSError, UntrustedError):
            return {}
        return holder if isinstance(holder, dict) else {}

    def _busy(self) -> str:
        who = self._signature()
        name = "process {pid} on {host}, since {since}".format_map(
            {key: who.get(key, "?") for key in ("pid", "host", "since")}
        )
        return (
            f"{self.path.parent}: in use by {name}. Wait for it to end, stop it, "
            "or give another output=FOLDER."
        )


def _lock(descriptor: int, kind: int) -> bool:
    """Take a lock, with a moment's patience; False where the file system has none.

    Raises:
        BlockingIOError: another process holds it.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            _log.warning("this file system has no locks: keep one machine to a run folder")
            return False


def _lives(who: dict[str, Any]) -> bool:
    """Whether another process of this machine signed, and is there still."""
    here, pid = who.get("host") == socket.gethostname(), who.get("pid")
    if not here or not isinstance(pid, int) or pid == os.getpid():
        return False
    ticks = _ticks(pid)
    return ticks is not None and ticks == who.get("ticks")


def _ticks(pid: int) -> int | None:
    """When a process started, in the kernel's ticks; numbers of processes come again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _forget_in_child() -> None:
    for lock in list(_held):
        lock.forget()


_held: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()
os.register_at_fork(after_in_child=_forget_in_child)
