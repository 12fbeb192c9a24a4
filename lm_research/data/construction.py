"""Folders under construction: built beside their final place, and cleared away if the builder died.

A builder keeps ``flock`` on one file of its folder from the start to the rename. The kernel drops
it when the process ends, also by kill -9, so that the next builder can tell a leftover from the
folder of one that lives, in another process or on another machine. On a file system without
``flock`` (some network mounts) nobody can tell, and nothing is cleared away.
"""

import contextlib
import fcntl
import os
import uuid
from pathlib import Path
from typing import BinaryIO

PATTERN = "*.????????.tmp"


def begin(final: Path, lock: str) -> tuple[Path, BinaryIO]:
    """Clear leftovers beside ``final``, and make a folder that will be renamed to it.

    Args:
        final: where the folder will stand when it is whole.
        lock: the file of the folder that says, by its lock, that somebody is building.

    Returns:
        The new folder, and the file ``lock`` in it, open for writing. It must stay open until
        the folder has been renamed or removed.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(final.parent, lock)
    while True:
        folder = final.with_name(f"{final.name}.{uuid.uuid4().hex[:8]}.tmp")
        folder.mkdir()
        # Until the lock is held the folder looks like a leftover: another builder may clear it.
        with contextlib.suppress(FileNotFoundError):
            file = (folder / lock).open("wb")
            _lock(file)
            if (folder / lock).exists():
                return folder, file
            file.close()


def clear_leftovers(parent: Path, lock: str) -> None:
    """Remove the folders in ``parent`` whose builders are dead."""
    for folder in parent.glob(PATTERN):
        with contextlib.suppress(OSError):  # somebody else's, or cleared by somebody else
            _clear(folder, lock)


def _clear(folder: Path, lock: str) -> None:
    try:
        file = (folder / lock).open("rb+")
    except FileNotFoundError:
        folder.rmdir()  # which only succeeds if it is empty: its builder came no further
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The locked file last, so that a clearing that is cut short can be taken up again.
        for path in [*(p for p in folder.iterdir() if p.name != lock), folder / lock]:
            path.unlink()
    folder.rmdir()


def _lock(file: BinaryIO) -> None:
    with contextlib.suppress(OSError):  # no flock here
        fcntl.flock(file, fcntl.LOCK_EX)


def force_to_disk(folder: Path) -> None:
    """Make the files of ``folder``, and their names, survive a power cut."""
    for path in folder.iterdir():
        _sync(path)
    force_names_to_disk(folder)


def force_names_to_disk(folder: Path) -> None:
    """Make what was renamed in ``folder`` survive; file systems that cannot are left alone."""
    with contextlib.suppress(OSError):
        _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
