"""Where the YAML lives: in the installed package, or beside it in a checkout."""

from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
STUDIES = {"sweep": "sweeps", "experiment": "experiments"}
"""Folder, by group of the configuration, of files that are options of it."""


def shipped(name: str) -> Path:
    """The folder ``conf``, ``sweeps`` or ``experiments`` that came with this installation."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def studies(kind: str) -> Iterator[tuple[str, Path]]:
    """(name, file) of every sweep or experiment; the working folder's come last and win.

    ``sweeps`` are files NAME.yaml, of ``sweeps/`` and of experiments/STUDY/sweeps; ``experiments``
    are folders NAME/config.yaml.
    """
    for root in _roots():
        if kind == "sweeps":
            files = [*root("sweeps").glob("*.yaml"), *root("experiments").glob("*/sweeps/*.yaml")]
            yield from ((file.stem, file) for file in sorted(files))
        else:
            files = sorted(root(kind).glob("*/config.yaml"))
            yield from ((file.parent.name, file) for file in files)


def _roots() -> Iterator[Callable[[str], Path]]:
    """Where a folder of this name is: shipped, then the working folder's, where that is another."""
    yield shipped
    if shipped("sweeps").resolve() != (Path.cwd() / "sweeps").resolve():
        yield lambda name: Path.cwd() / name


def experiments() -> dict[str, Path]:
    """Folder of every experiment that has an expected.yaml; the working folder's wins."""
    found: dict[str, Path] = {}
    for folder in dict.fromkeys((shipped("experiments"), Path.cwd() / "experiments")):
        found |= {file.parent.name: file.parent for file in folder.glob("*/expected.yaml")}
    return dict(sorted(found.items()))


def study_files() -> dict[str, Path]:
    """study.yaml of every experiment that is several sweeps; the working folder's wins."""
    found: dict[str, Path] = {}
    for root in _roots():
        found |= {file.parent.name: file for file in root("experiments").glob("*/study.yaml")}
    return dict(sorted(found.items()))
