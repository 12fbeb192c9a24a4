"""An opened ledger, and its runs as ``analysis`` knows them."""

import gc
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Result, Select, select
from sqlalchemy.exc import DatabaseError

from lm_research.analysis.runs import (
    SAMPLES,
    ColumnRows,
    Run,
    load_rows,
    natural_order,
    run_folders,
)
from lm_research.tracking.json_files import restored
from lm_research.tracking.ledger import database
from lm_research.tracking.ledger.refreshing import refresh
from lm_research.tracking.ledger.schema import DATA_SETS, ENVIRONMENTS, RUNS

Progress = Callable[[int, int], None]
_LINES_KEPT = 1 << 14
_READ = ("id", "run_id", "folder", "state", "seed", "tokens", "data_set", "environment", "choices",
         "config", "notes", "command", "summary", "status")  # fmt: skip
"""The last three are decoded for many runs at once."""
_ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class Ledger:
    """What is known of the runs at or below a folder.

    Attributes:
        root: the folder.
        engine: the database, up to date as of the opening.
        path: its file; ``None``: it is in memory.
        read: how many runs were read anew or again.
        remarks: what happened to the file that the user should know, each a sentence.
    """

    root: Path
    engine: Engine
    path: Path | None
    read: int
    remarks: tuple[str, ...] = ()

    def runs(self, query: Select | None = None) -> list[Run]:
        """The runs as :func:`analysis.runs.find_runs` gives them, curves and samples on demand.

        Args:
            query: selects ``RUNS.c.id`` of those wanted, in order; by default all runs, in the
                natural order of their paths.
        """
        return _Loader(self).runs(query)


def open_ledger(
    folder: Path | str, cache: Path, progress: Progress = lambda done, of: None
) -> Ledger:
    """The ledger of ``folder``, made or brought up to date.

    Args:
        folder: of runs.
        cache: the user's cache folder, for ledgers of folders that cannot be written.
        progress: see :func:`refreshing.refresh`.

    Raises:
        FileNotFoundError: no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; give a folder of runs, runs=FOLDER")
    remarks: list[str] = []
    is_run = next((place for place, _ in run_folders(root)), None) == str(root)
    for path in [None] if is_run else database.places(root, cache):  # nothing goes into a run
        ledger = _opened(root, path, remarks, progress)
        if ledger is not None:
            return ledger
    raise AssertionError("memory is always there")


def _opened(root: Path, path: Path | None, remarks: list[str], progress: Progress) -> Ledger | None:
    """The ledger at ``path``; ``None``: nothing can be kept there."""
    for _ in range(2):
        try:
            return _refreshed(root, path, remarks, progress)
        except (OSError, DatabaseError, sqlite3.Error, database.ForeignFileError) as error:
            if path is None:
                raise
            if database.refused(error):
                return None
            if aside := database.set_aside(path):
                why = str(getattr(error, "orig", error))
                remarks.append(f"{path}: {why}; set aside as {aside.name}, made anew from the runs")
    return None


def _refreshed(root: Path, path: Path | None, remarks: list[str], progress: Progress) -> Ledger:
    with database.only_one(path.parent) if path else nullcontext():
        engine = database.connect(path)
        why = database.prepare(engine, str(root.stat().st_ino))
    if why:
        remarks.append(f"{path}: {why}; made anew from the runs")
    read = refresh(engine, root, progress)
    return Ledger(root, engine, path, read, tuple(remarks))


class _Loader:
    """Turns rows into runs; parts that runs share are decoded once, and shared."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.lines = _Lines()
        self.curves = _Curves(ledger.engine)

    def runs(self, query: Select | None) -> list[Run]:
        columns = select(*(RUNS.c[name] for name in _READ))
        with self.ledger.engine.connect() as connection, no_collection():
            self.data_sets = _records(
                connection.execute(select(DATA_SETS.c.id, DATA_SETS.c.record))
            )
            self.environments = _records(
                connection.execute(select(ENVIRONMENTS.c.id, ENVIRONMENTS.c.record))
            )
            if query is None:
                found = [run for _, run in self._read(connection.execute(columns))]
                return sorted(found, key=lambda run: natural_order(run.folder))
            order = connection.execute(query).scalars().all()
            wanted = columns.where(RUNS.c.id.in_(query))  # with its order: a limit goes by that
            by_id = dict(self._read(connection.execute(wanted)))
            return [by_id[number] for number in order if number in by_id]

    def _read(self, found: Result[Any]) -> Iterator[tuple[int, Run]]:
        """(id in the ledger, run) of each row."""
        for rows in found.partitions(_ROWS_AT_ONCE):
            parts = (_decoded(row[-i] for row in rows) for i in (3, 2, 1))
            for row, *decoded in zip(rows, *parts, strict=True):
                yield row[0], self._run(*row[:-3], *decoded)

    def _run(
        self, number: int, run_id: str, place: str, state: str, seed: int | None,
        tokens: float | None, data_set: int, machine: int, choices: str, config: str, notes: str,
        command: Any, summary: dict[str, Any], status: dict[str, Any],
    ) -> Run:  # fmt: skip
        environment = self.environments.get(machine, {})
        folder = self.ledger.root / place
        return Run(
            folder=folder,
            id=run_id,
            choices=self.lines[choices[1:-1]],
            seed=seed,
            config=self._config(config),
            status={**restored(status), "state": state},
            summary=summary,
            curve=_Curve(self.curves, number),
            samples=_OnDemand(lambda: load_rows(folder / SAMPLES)),
            environment={**environment, "command": command} if command else environment,
            data=self.data_sets.get(data_set, {}),
            notes=() if notes == "[]" else tuple(json.loads(notes)),
            tokens=tokens,
        )

    def _config(self, text: str) -> dict[str, Any]:
        config: dict[str, Any] = {}
        for part in map(self.lines.__getitem__, text[2:-2].split(",\n")):
            config |= part
        return config


class _Lines(dict[str, dict[str, Any]]):
    """A line of an object, without the object's braces -> its pairs."""

    def __missing__(self, line: str) -> dict[str, Any]:
        pairs = restored(json.loads(f"{{{line}}}"))
        if len(self) < _LINES_KEPT:
            self[line] = pairs
        return pairs


def _decoded(texts: Iterable[str | None]) -> list[Any]:
    """Many at once, for speed, and so that runs share the names of their metrics."""
    return list(json.loads(f"[{','.join(text or 'null' for text in texts)}]"))


def _records(rows: Any) -> dict[int, dict[str, Any]]:
    return {number: restored(json.loads(record)) for number, record in rows}


@contextmanager
def no_collection() -> Iterator[None]:
    """No garbage is looked for while a million objects are made that all stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Curves:
    """Metrics, read when they are asked for: all curves at once may not fit in memory."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None
        self._last: tuple[int, dict[str, list[Any]]] = -1, {}

    def of(self, run: int) -> dict[str, list[Any]]:
        """Column by column; who asks for one quantity of a run may ask for the next."""
        if self._last[0] == run:
            return self._last[1]
        if self._connection is None:  # the driver's own: tens of thousands of tiny queries
            self._connection = self._engine.raw_connection()
        cursor = self._connection.cursor()
        found = cursor.execute('SELECT "columns" FROM curves WHERE run = ?', (run,)).fetchall()
        self._last = run, json.loads(found[0][0]) if found else {}
        return self._last[1]


@dataclass(frozen=True)
class _Curve(ColumnRows):
    """The metrics of one run, fetched each time they are read."""

    curves: _Curves = field(repr=False)
    run: int

    def columns(self) -> Mapping[str, Sequence[Any]]:
        return self.curves.of(self.run)

    def _rows(self) -> list[dict[str, Any]]:
        columns = self.columns()
        cells = zip(*columns.values(), strict=True)
        return [{k: v for k, v in zip(columns, row, strict=True) if v is not None} for row in cells]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._rows())

    def __len__(self) -> int:
        return max(map(len, self.columns().values()), default=0)

    def __getitem__(self, index: Any) -> Any:
        return self._rows()[index]


@dataclass(frozen=True)
class _OnDemand(Sequence[Mapping[str, Any]]):
    """Rows that are fetched each time they are read."""

    fetch: Callable[[], list[dict[str, Any]]] = field(repr=False)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.fetch())

    def __len__(self) -> int:
        return len(self.fetch())

    def __getitem__(self, index: Any) -> Any:
        return self.fetch()[index]
