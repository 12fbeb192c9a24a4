"""Recorded runs, read from their folders.

A run is a folder with ``config.yaml``, ``status.json``, ``metrics.jsonl``, ``summary.json``,
``samples.jsonl``, ``environment.json`` and ``data.json``. What is damaged or missing becomes a
note of the run, not an exception: a report about 200 runs must survive the one that was killed.
"""

import math
import os
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from lm_research.config.choices import choices_of, mapping
from lm_research.config.untrusted import (
    LARGEST_JSON,
    UntrustedError,
    load_json,
    load_yaml,
    read_plain,
)

_LAST_WORDS = "last_error.txt"
_MARKERS = ("status.json", "metrics.jsonl", "summary.json", _LAST_WORDS)
SAMPLES = "samples.jsonl"
_POSITION = ("step", "tokens", "seconds", "final", "epoch")


class ColumnRows(Sequence[Mapping[str, Any]]):
    """Rows that are kept column by column, so that two of thirty need not be made into rows."""

    @abstractmethod
    def columns(self) -> Mapping[str, Sequence[Any]]:
        """Name -> one value a row, ``None`` where a row has none."""


def curve_columns(curve: Sequence[Mapping[str, Any]]) -> Mapping[str, Sequence[Any]]:
    """Name -> one value a row, ``None`` where a row has none; each column has a value."""
    if isinstance(curve, ColumnRows):
        return curve.columns()
    names = dict.fromkeys(name for row in curve for name, value in row.items() if value is not None)
    return {name: [row.get(name) for row in curve] for name in names}


@dataclass(frozen=True, eq=False)
class Run:
    """One recorded run.

    Args:
        folder: where it was read from.
        id: its own id, or the folder's name.
        choices: option name per configuration group (``{"model": "lstm", ...}``).
        seed: the run's seed, ``None`` if the configuration does not say.
        config: the resolved configuration.
        status: ``state`` and what goes with it.
        summary: final metrics by name; ``None`` is a value that is undefined.
        curve: rows of metrics.jsonl, in order.
        samples: generated texts (``step``, ``prompt``, ``text``).
        environment: versions, machine, git state, command.
        data: fingerprint and sizes of the data.
        notes: what was missing or damaged.
        tokens: trained on, as far as the curve says.
    """

    folder: Path
    id: str
    choices: Mapping[str, str]
    seed: int | None
    config: Mapping[str, Any]
    status: Mapping[str, Any]
    summary: Mapping[str, float | None]
    curve: Sequence[Mapping[str, Any]]
    samples: Sequence[Mapping[str, Any]]
    environment: Mapping[str, Any]
    data: Mapping[str, Any]
    notes: Sequence[str] = ()
    tokens: float | None = None

    @property
    def state(self) -> str:
        """ "done", "failed", "running", "queued", or "unknown"."""
        return str(self.status.get("state") or "unknown")

    @property
    def done(self) -> bool:
        """Whether the run ended well: only such runs enter statistics."""
        return self.state == "done"

    @property
    def source(self) -> str:
        """The training source: the data option, else the source's own name."""
        return self.choices.get("data") or self.source_name or "unknown"

    @property
    def source_name(self) -> str:
        """The name the source gives itself, which may differ from the option's."""
        return str(mapping(self.config.get("data")).get("name") or "")

    def seconds(self) -> float | None:
        """Wall time between ``started`` and ``finished``, if both are recorded and in order."""
        try:
            started, finished = (
                datetime.fromisoformat(str(self.status[key])) for key in ("started", "finished")
            )
            passed = (finished - started).total_seconds()
            return passed if passed >= 0 else None  # the clock was set back
        except (KeyError, ValueError, TypeError):
            return None

    def points(self, key: str) -> list[tuple[float, float]]:
        """(tokens, value) of every row that defines ``key``, in rising order of tokens.

        A resumed run may log a step twice; the later row counts.
        """
        found: dict[float, float] = {}
        for at, told, final in self._cells("tokens", key, "final"):
            tokens, value = number(at), number(told)
            if tokens is not None and value is not None and not (final and tokens in found):
                found[tokens] = value
        return sorted(found.items())

    def _cells(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Of each row of the curve the values of ``names``, ``None`` where it has none."""
        if not isinstance(self.curve, ColumnRows):
            return ((*map(row.get, names),) for row in self.curve)
        columns = self.curve.columns()
        absent: Sequence[Any] = [None] * max(map(len, columns.values()), default=0)
        return zip(*(columns.get(name, absent) for name in names), strict=True)


def summary_keys(runs: Iterable[Run]) -> list[str]:
    """Every name that a summary has, in the order in which they first appear."""
    several = dict.fromkeys(tuple(run.summary) for run in runs)  # of 10,000 runs, a few
    return list(dict.fromkeys(chain.from_iterable(several)))


def number(value: Any) -> float | None:
    """``value`` as a finite float; ``None`` for anything else (null, NaN, text, true)."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:  # an integer beyond all floats
        return None
    return found if math.isfinite(found) else None


def find_runs(folder: Path | str) -> list[Run]:
    """Every run at or below ``folder``, in the natural order of their paths (2 before 10).

    A run's own subfolders are not searched, hidden folders are skipped, links are not followed.

    Raises:
        FileNotFoundError: if ``folder`` is not a folder, or holds no run.
    """
    found = [Path(place) for place, _ in run_folders(folder)]
    if not found:
        raise no_runs(folder)
    return [load_run(place) for place in sorted(found, key=natural_order)]


def run_folders(folder: Path | str) -> Iterator[tuple[str, set[str]]]:
    """(path, names of what it holds) of every run folder at or below ``folder``.

    Raises:
        FileNotFoundError: if ``folder`` is not a folder.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder}: no such folder; give the folder of a run or of a sweep")
    left = [str(folder)]
    while left:
        place = left.pop()
        with suppress(OSError), os.scandir(place) as entries:
            found = list(entries)
            files = {entry.name for entry in found}
            if not files.isdisjoint(_MARKERS) and "sweep.yaml" not in files:
                yield place, files
            else:
                left += [entry.path for entry in found if _holds_more(entry)]


def _holds_more(entry: os.DirEntry) -> bool:
    return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)


def no_runs(folder: Path | str) -> FileNotFoundError:
    """What to say of a folder without runs."""
    return FileNotFoundError(
        f"{folder}: no runs in it (a run is a folder with one of {', '.join(_MARKERS)})"
    )


def load_run(folder: Path | str, read_config: Callable[[bytes], Any] = load_yaml) -> Run:
    """Read one run folder. Damaged and missing parts become ``notes``.

    Args:
        folder: the folder.
        read_config: the value of a YAML text, as :func:`load_yaml`; a reader of many runs may
            remember what they have in common.

    Raises:
        FileNotFoundError: if ``folder`` is not a folder.
    """
    place = Path(folder)
    if not place.is_dir():
        raise FileNotFoundError(f"{place}: no such folder; a run is a folder")
    read = _Reader(place)
    config = read.yaml("config.yaml", read_config)
    status = read.json("status.json") or _unrecorded_failure(place)
    curve = read.lines("metrics.jsonl")
    recorded = read.json("summary.json", needed=status.get("state") == "done")
    seed = config.get("seed")
    return Run(
        folder=place,
        id=str(status.get("id") or place.name),
        choices=choices_of(config),
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
        config=config,
        status=status,
        summary=_summary(recorded, curve, read.notes),
        curve=tuple(curve),
        samples=tuple(read.lines(SAMPLES, needed=False)),
        environment=read.json("environment.json", needed=False),
        data=read.json("data.json", needed=False),
        notes=tuple(read.notes),
        tokens=max(
            (n for row in curve if (n := number(row.get("tokens"))) is not None), default=None
        ),
    )


def load_rows(file: Path) -> list[dict[str, Any]]:
    """The sound rows of a file of JSON lines; none where there is no such file."""
    return _Reader(file.parent).lines(file.name, needed=False)


def _unrecorded_failure(folder: Path) -> dict[str, Any]:
    """The status of a run that failed before it could record one."""
    try:
        error = read_plain(folder / _LAST_WORDS, LARGEST_JSON).decode("utf-8", "replace")
    except (OSError, UntrustedError):
        return {}
    return {"state": "failed", "error": error.strip() or None}


class _Reader:
    """Reads a run's files and keeps a note of each thing that could not be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []

    def _bytes(self, name: str, needed: bool) -> bytes | None:
        try:
            return read_plain(self.folder / name, LARGEST_JSON)
        except FileNotFoundError:
            if needed:
                self.notes.append(f"{name}: missing")
        except OSError as error:
            self.notes.append(f"{name}: cannot be read ({error.strerror})")
        except UntrustedError as error:
            self.notes.append(f"{name}: {error}")
        return None

    def yaml(self, name: str, load: Callable[[bytes], Any]) -> dict[str, Any]:
        return self._loaded(name, self._bytes(name, True), load)

    def json(self, name: str, needed: bool = True) -> dict[str, Any]:
        return self._loaded(name, self._bytes(name, needed), load_json)

    def _loaded(
        self, name: str, data: bytes | None, load: Callable[[bytes], Any]
    ) -> dict[str, Any]:
        try:
            return {} if data is None else self._object(name, load(data))
        except UntrustedError as error:
            self.notes.append(f"{name}: damaged ({error})")
            return {}

    def lines(self, name: str, needed: bool = True) -> list[dict[str, Any]]:
        rows, damaged = [], []
        for index, line in enumerate((self._bytes(name, needed) or b"").split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                row = load_json(line)
            except UntrustedError:
                row = None
            if isinstance(row, dict):
                rows.append(row)
            else:
                damaged.append(index)
        if damaged:
            lines = "line" if len(damaged) == 1 else "lines"
            self.notes.append(
                f"{name}: {len(damaged)} damaged {lines} left out (first: {damaged[0]})"
            )
        return rows

    def _object(self, name: str, value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return {str(key): item for key, item in value.items()}
        self.notes.append(f"{name}: damaged (holds {type(value).__name__}, not a mapping)")
        return {}


def _summary(
    recorded: Mapping[str, Any], curve: list[dict[str, Any]], notes: list[str]
) -> dict[str, float | None]:
    """Final metrics: the last row marked final is the truth, summary.json its convenient copy."""
    final: dict[str, Any] = next((row for row in reversed(curve) if row.get("final")), {})
    last = {key: value for key, value in final.items() if key not in _POSITION}
    differing = [key for key in last if key in recorded and recorded[key] != last[key]]
    if differing:
        notes.append(
            f"summary.json: differs from metrics.jsonl, which is used ({', '.join(differing[:3])})"
        )
    merged = {**_typical_speed(curve), **recorded, **last}
    strange = [k for k, v in merged.items() if isinstance(v, float) and number(v) is None]
    if strange:
        notes.append(f"summary: not a finite number, taken as undefined ({', '.join(strange[:3])})")
    kinds = (int, float, type(None))
    known = {k: v for k, v in merged.items() if type(v) in kinds}
    return {str(key): number(value) for key, value in known.items()}


def _typical_speed(curve: list[dict[str, Any]]) -> dict[str, float]:
    """The median of each ``perf/`` quantity over the rows: the first rows hold the warm-up."""
    found: dict[str, list[float]] = {}
    for row in curve:
        for key, value in row.items():
            if key.startswith("perf/") and (known := number(value)) is not None:
                found.setdefault(key, []).append(known)
    return {key: median(values) for key, values in found.items()}


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts ``job2`` before ``job10``."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]
