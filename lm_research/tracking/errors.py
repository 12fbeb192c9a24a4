"""What can go wrong with a run folder, said so that the reader knows what to do."""

import errno
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class RunFolderError(Exception):
    """A run folder that cannot be used: says which file, what is wrong, and the fix."""


class RunFolderBusyError(RunFolderError):
    """Another live process writes this folder."""


class RunFolderTakenError(RunFolderError):
    """The folder holds another run, or something that is not a run."""


def write_error(path: Path, error: OSError) -> RunFolderError:
    """The message for a write to ``path`` that the system refused."""
    if error.errno in _FULL:
        return RunFolderError(
            f"{path}: the disk is full, and the last write was taken back; what was written before "
            "is whole. Free some space, then run the same command with the same output to go on."
        )
    if error.errno in _FORBIDDEN:
        return RunFolderError(
            f"{path}: not writable ({error.strerror}). Give another output=FOLDER, or change the "
            "folder's permissions."
        )
    return RunFolderError(f"{path}: cannot be written: {error}. Give another output=FOLDER.")
