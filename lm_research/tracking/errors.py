"""What can go wrong with a run folder, said so that the reader knows what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_GONE = {errno.ENOENT, errno.ESTALE}


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
    if error.errno in _GONE:
        return RunFolderError(
            f"{path}: cannot be written: it, or its folder, is not there any more. Put the folder "
            "back and run the same command to go on from its last checkpoint, or give another "
            "output=FOLDER."
        )
    return RunFolderError(f"{path}: cannot be written: {error}. Give another output=FOLDER.")


def refusal(error: BaseException) -> OSError | None:
    """What the disk said behind ``error``: torch hides a full disk behind a RuntimeError."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL | _FORBIDDEN:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


@contextmanager
def telling_of(path: Path) -> Iterator[None]:
    """Whatever a full or read-only disk stops in the block is told in one sentence.

    Args:
        path: what is written in the block, for errors that do not name a file.

    Raises:
        RunFolderError: in place of the errors of the system, of torch and of numpy.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        said = refusal(error)
        if said is None:
            raise
        raise write_error(Path(said.filename or path), said) from error
