"""A run's files are its own: links in its folder would let a stranger choose what is written to."""

import os
from pathlib import Path

from lm_research.tracking.errors import RunFolderError, write_error

_OURS = ("checkpoints", "divergence", "evaluations")
"""Folders of a run that are written to."""
_THEIRS = "wandb"
"""W&B keeps links of its own in its folder, and follows none of them to write."""


def refuse_links(run: Path) -> None:
    """Look at a folder before anything is written to it.

    Raises:
        RunFolderError: something in it is a link; names it, and the fix.
    """
    for folder in (run, *(run / name for name in _OURS)):
        for entry in _entries(folder):
            if entry.is_symlink():
                raise RunFolderError(
                    f"{entry.path}: a link to {os.readlink(entry.path)!r}; what a run writes would "
                    "end up there. Put the file itself in its place, or give another output=FOLDER."
                )


def refuse_links_of_all(folder: Path) -> None:
    """The same for a folder that may hold many runs."""
    refuse_links(folder)
    for entry in _entries(folder):
        if entry.name != _THEIRS and entry.is_dir(follow_symlinks=False):
            refuse_links(Path(entry.path))


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise write_error(folder, error) from error
