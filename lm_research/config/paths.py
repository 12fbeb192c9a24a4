"""Where the YAML lives: in the installed package, or beside it in a checkout."""

from collections.abc import Iterator
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

    ``sweeps`` are files NAME.yaml, ``experiments`` folders NAME/config.yaml.
    """
    for folder in dict.fromkeys((shipped(kind), Path.cwd() / kind)):
        pattern = "*.yaml" if kind == "sweeps" else "*/config.yaml"
        for file in sorted(folder.glob(pattern)):
            yield (file.stem if kind == "sweeps" else file.parent.name), file


def experiments() -> dict[str, Path]:
    """Folder of every experiment that has an expected.yaml; the working folder's wins."""
    found: dict[str, Path] = {}
    for folder in dict.fromkeys((shipped("experiments"), Path.cwd() / "experiments")):
        found |= {file.parent.name: file.parent for file in folder.glob("*/expected.yaml")}
    return dict(sorted(found.items()))
