"""The experiments that have published numbers, and the results of judging them."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_research.config.expected import FILE, Expected, Row, read_expected
from lm_research.config.paths import experiments
from lm_research.config.problems import ConfigError, Problem, closest, listing
from lm_research.config.untrusted import UntrustedError, load_yaml
from lm_research.tracking.errors import RunFolderError, write_error
from lm_research.tracking.json_files import encoded, read_json

METHOD = "method.yaml"
CONFIG = "config.yaml"
RESULTS = "results"
FORMAT = 1


@dataclass(frozen=True)
class Experiment:
    """One folder of experiments/."""

    name: str
    folder: Path
    expected: Expected

    @property
    def method(self) -> Path | None:
        """The file of its method, where it is no run of a model."""
        file = self.folder / METHOD
        return file if file.is_file() else None

    def recipe(self, row: Row) -> str:
        """What tells a row's number from that of another recipe: a digest of its file's values.

        Comments and the published number are no part of it; a file that cannot be read is like
        an empty one.
        """
        file, values = self.method or self.folder / CONFIG, None
        with suppress(OSError, UntrustedError):
            values = load_yaml(file.read_bytes())
        told = {key: getattr(row, key) for key in ("metric", "at", "setting", "mean_over")}
        told |= {"protocol": row.protocol, "file": values}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def find(name: str) -> Experiment:
    """The experiment of this name, its expected.yaml checked.

    Raises:
        ConfigError: there is none, a test judges it, or its file is wrong.
    """
    folders = experiments()
    if name not in folders:
        near = closest(name, folders)
        raise ConfigError([Problem("experiment", "there is none", name, listing(folders), near)])
    folder = folders[name]
    if claims_equality(folder):
        message = "claims equality with other code, which a test of its own judges"
        allowed = f"pytest tests/experiments/test_{name}.py"
        raise ConfigError([Problem("experiment", message, name, allowed, None, str(folder / FILE))])
    return Experiment(name, folder, read_expected(folder / FILE))


def claims_equality(folder: Path) -> bool:
    """Whether expected.yaml has a ``claim`` in place of published numbers."""
    try:
        node = load_yaml((folder / FILE).read_bytes())
    except (OSError, UntrustedError, ValueError):
        return False
    return isinstance(node, Mapping) and "claim" in node and "rows" not in node


def results(name: str) -> list[dict[str, Any]]:
    """What the command found so far, the oldest first; files that cannot be read are left out."""
    folders = dict.fromkeys((experiments()[name], Path.cwd() / "experiments" / name))
    files = {file.resolve() for folder in folders for file in (folder / RESULTS).glob("*.json")}
    found = []
    for file in sorted(files, key=lambda file: file.stem):
        try:
            found.append(read_json(file))
        except RunFolderError:
            continue
    return found


def keep_result(name: str, stamp: str, values: Mapping[str, Any]) -> Path:
    """Write one file of results below the working folder's ``experiments``; never over another.

    Args:
        stamp: a time, for the file's name.

    Raises:
        RunFolderError: it cannot be written.
    """
    folder = Path.cwd() / "experiments" / name / RESULTS
    text = json.dumps(json.loads(encoded({"format": FORMAT, **values})), indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            file = folder / (f"{stamp}.json" if number == 1 else f"{stamp}-{number}.json")
            try:
                with file.open("x", encoding="utf-8") as opened:
                    opened.write(text)
            except FileExistsError:
                continue
            return file
    except OSError as error:
        raise write_error(folder, error) from error
    raise RunFolderError(f"{folder}: holds a thousand results of {stamp}")
