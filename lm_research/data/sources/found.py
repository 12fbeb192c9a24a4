"""Which files paths, folders and patterns mean, in a fixed order; links may go in circles."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import dropwhile
from pathlib import Path

from lm_research.data.document import DataError


def find(
    paths: Iterable[str], wanted: Callable[[Path], bool], source: str, example: str
) -> list[tuple[Path, str]]:
    """The files in the order of ``paths``, sorted within each, each once, with their ids.

    Args:
        paths: files, folders (everything below that is ``wanted``; nothing hidden) or patterns.
        wanted: whether a file found in a folder is read.
        source: name of the source, for messages.
        example: a value of ``data.paths`` that is right, for messages.

    Raises:
        DataError: one of ``paths`` matches no file.
    """
    found: dict[str, None] = {}
    for name in paths:
        files = expand(name, wanted)
        if not files:
            raise DataError(
                f"{source}: no file matches {name!r} (seen from {os.getcwd()}); fix: "
                f"data.paths='{example}'"
            )
        found |= {os.path.abspath(path): None for path in files}
    root = os.path.commonpath([os.path.dirname(path) for path in found])
    return [(Path(path), Path(path).relative_to(root).as_posix()) for path in found]


def expand(name: str, wanted: Callable[[Path], bool]) -> list[str]:
    """The files that one path, folder or pattern means, sorted; none where nothing matches."""
    path = os.path.expanduser(name)
    if os.path.isfile(path):
        return [path]
    if os.path.isdir(path):
        matches = [os.path.join(folder, file) for folder, _, files in walk(path) for file in files]
        matches = [match for match in matches if wanted(Path(match))]
    else:
        matches = list(_matching(path))
    return sorted({match for match in matches if os.path.isfile(match)})


def _matching(pattern: str) -> Iterator[str]:
    """What a pattern matches; ``**`` goes through folders as ``walk`` does.

    glob's own ``**`` follows links in circles: a file is found again in each round, forty times
    over with one such link, and without end in sight with two.
    """
    parts = pattern.split(os.sep)
    if "**" not in parts:
        yield from glob.glob(pattern)
        return
    at = parts.index("**")
    rest = list(dropwhile("**".__eq__, parts[at:]))
    start = os.sep.join(parts[:at]) or (os.sep if at else os.curdir)
    for base in glob.glob(start):
        for folder, _, files in walk(base):
            if rest:
                yield from _matching(os.path.join(glob.escape(folder), *rest))
            else:
                yield from (os.path.join(folder, file) for file in files)


def walk(path: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Like ``os.walk``, through links to folders too, but into each folder once; nothing hidden."""
    seen: set[tuple[int, int]] = set()
    _is_new(path, seen)
    for folder, folders, files in os.walk(path, followlinks=True):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and _is_new(os.path.join(folder, name), seen)
        )
        yield folder, folders, sorted(name for name in files if not name.startswith("."))


def _is_new(folder: str, seen: set[tuple[int, int]]) -> bool:
    try:
        stat = os.stat(folder)
    except OSError:
        return False  # gone, or a link in a circle
    new = (stat.st_dev, stat.st_ino) not in seen
    seen.add((stat.st_dev, stat.st_ino))
    return new
