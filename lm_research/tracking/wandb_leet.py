"""The runs of a folder side by side in ``wandb leet``, W&B's viewer in the terminal.

It reads W&B's own files, offline or online, and shows what is in one folder ``wandb``. Each of our
runs has one of its own, so that the study's folder gets a ``wandb`` with links to what is in
theirs. It goes by the names of W&B's folders, which are kept.
"""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

_FOLDER = "wandb"
_NAMES = "*run-*-*"  # run-TIME-ID, offline-run-TIME-ID
_DEPTHS = (1, 2, 3)
"""Runs are looked for so many folders deep: a study's, or a folder's of studies."""


def leet_command(folder: Path) -> str | None:
    """What shows the runs at or below ``folder`` in a terminal; ``None``: W&B has no file of them.

    Makes or renews the links. Where they cannot be written there is no command either.
    """
    if any(_recorded(folder)):  # one run
        return _command(folder)
    found = {place.name: place for depth in _DEPTHS for place in _below(folder, depth)}
    if not found:
        return None
    try:
        _link(folder / _FOLDER, found)
    except OSError:
        return None
    return _command(folder)


def _command(folder: Path) -> str:
    return f"wandb leet {shlex.quote(str(folder / _FOLDER))}"


def _below(folder: Path, depth: int) -> Iterator[Path]:
    for run in folder.glob("/".join("*" * depth)):
        yield from _recorded(run)


def _recorded(run: Path) -> Iterator[Path]:
    """W&B's folders of one run, one a session; links are ours."""
    for place in sorted(run.glob(f"{_FOLDER}/{_NAMES}")):
        if not place.is_symlink() and any(place.glob("run-*.wandb")):
            yield place


def _link(place: Path, found: dict[str, Path]) -> None:
    place.mkdir(exist_ok=True)
    for entry in place.iterdir():
        if entry.is_symlink() and entry.name not in found:
            entry.unlink()  # of a run that is gone
    for name, target in found.items():
        if not (place / name).is_symlink():
            # Relative: the folder may be moved as a whole.
            (place / name).symlink_to(os.path.relpath(target, place), target_is_directory=True)
