"""Runs as flat rows for other programs: CSV, Parquet, JSON.

A row a run: what it is, its options, its configuration by dotted names, its final metrics. Or a row
for each row of its metrics.jsonl. Secrets are taken out once more on the way, and in CSV text that
a spreadsheet would take for a formula gets an apostrophe before it.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, BinaryIO

from lm_research.analysis.runs import Run, curve_columns
from lm_research.analysis.settings import FINGERPRINT, flatten
from lm_research.tracking.redaction import redactor

FORMATS = ("csv", "parquet", "json")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_RUNS_AT_ONCE = 500
_PLAIN = {bool, int, float, type(None)}
"""What goes into a cell as it is."""
Columns = dict[str, list[Any]]
"""Name -> values, all lists of one length."""


def run_columns(runs: Sequence[Run]) -> Columns:
    """One row a run."""
    flat: dict[tuple[str, int], dict[str, Any]] = {}  # parts that runs share are flattened once
    shapes: dict[tuple[str, ...], tuple[str, ...]] = {}  # most rows have the names of others
    rows: list[tuple[tuple[str, ...], tuple[Any, ...]]] = []
    for run in runs:
        row = _run_row(run, flat)
        names = tuple(row)
        rows.append((shapes.setdefault(names, names), tuple(row.values())))
    return _columns(rows, dict.fromkeys(name for names in shapes for name in names))


def _columns(
    rows: Iterable[tuple[tuple[str, ...], tuple[Any, ...]]], names: Iterable[str]
) -> Columns:
    """Rows, each as its names and values, turned into a column for each of ``names``."""

    @cache
    def pick(shape: tuple[str, ...]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        places = {name: place for place, name in enumerate(shape)}
        return itemgetter(*(places.get(name, len(shape)) for name in names))

    cells = _Cells()
    turned = zip(*(pick(shape)((*values, None)) for shape, values in rows), strict=True)
    return {name: cells(name, column) for name, column in zip(names, turned, strict=True)}


def _run_row(run: Run, flat: dict[tuple[str, int], dict[str, Any]]) -> dict[str, Any]:
    status = run.status
    return {
        "id": run.id,
        "folder": str(run.folder),
        "state": run.state,
        **{key: status.get(key) for key in ("step", "steps", "started", "finished", "error")},
        "seconds": run.seconds(),
        FINGERPRINT: run.data.get("fingerprint"),
        **{k: v for k, v in _fields(run, flat).items() if k not in run.choices},
        **run.choices,
        **run.summary,
    }


def _fields(run: Run, flat: dict[tuple[str, int], dict[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in run.config.items():
        part = flat.get((key, id(value)))
        if part is None:
            part = flat[key, id(value)] = {} if key == "choices" else flatten({key: value})
        fields.update(part)
    return fields


def metric_batches(runs: Sequence[Run]) -> Iterator[Columns]:
    """One row for each row of a run's metrics, some runs at a time; all with the same columns."""
    names: dict[str, None] = {}
    for run in runs:
        names |= dict.fromkeys(_as_they_come(curve_columns(run.curve)))
    for start in range(0, len(runs), _RUNS_AT_ONCE):
        batch: Columns = {name: [] for name in ("id", "folder", "seed", *names)}
        for run in runs[start : start + _RUNS_AT_ONCE]:
            _append(batch, run, curve_columns(run.curve))
        yield batch


def _append(batch: Columns, run: Run, columns: Mapping[str, Sequence[Any]]) -> None:
    """Add a run's rows; what its curve has by one of the first three names comes before the run."""
    rows = max(map(len, columns.values()), default=0)
    own = {"id": run.id, "folder": str(run.folder), "seed": run.seed}
    for name, cells in batch.items():
        cells += columns.get(name) or [own.get(name)] * rows


def _as_they_come(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Names in the order in which a row first has them."""

    def first(name: str) -> int:
        return next(i for i, value in enumerate(columns[name]) if value is not None)

    return sorted(columns, key=first)


class _Cells:
    """Columns of scalars: nested values as JSON, text without secrets."""

    def __init__(self) -> None:
        self._redacted = redactor()
        self._known: dict[tuple[str, str], str] = {}

    def __call__(self, name: str, column: Sequence[Any]) -> list[Any]:
        kinds = set(map(type, column))
        if kinds <= _PLAIN:
            return list(column)
        if kinds == {str}:
            clean = {text: self._cell(name, text) for text in set(column)}
            return [clean[text] for text in column]
        return [self._cell(name, value) for value in column]

    def _cell(self, name: str, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        clean = self._known.get((name, text))
        if clean is None:
            told = str(self._redacted({name: text})[name])
            clean = self._known[name, text] = told.encode("utf-8", "backslashreplace").decode()
        return clean


def write(batches: Iterable[Columns], form: str, file: BinaryIO) -> None:
    """Write rows to ``file``.

    Args:
        batches: columns, the same names in each batch.
        form: one of :data:`FORMATS`.
    """
    {"csv": _csv, "json": _json, "parquet": _parquet}[form](iter(batches), file)


def _csv(batches: Iterator[Columns], file: BinaryIO) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        writer = csv.writer(text, lineterminator="\n")
        for number, columns in enumerate(batches):
            if number == 0:
                writer.writerow(map(plain_text, columns))
            guarded = [_guarded(column) for column in columns.values()]
            writer.writerows(zip(*guarded, strict=True))
    finally:
        text.detach()  # which flushes; a wrapper that is thrown away would close the file


def _guarded(column: Sequence[Any]) -> Sequence[Any]:
    kinds = set(map(type, column))
    if kinds <= _PLAIN:
        return column
    if kinds == {str}:
        safe = {text: plain_text(text) for text in set(column)}
        return [safe[text] for text in column]
    return [plain_text(value) for value in column]


def plain_text(value: Any) -> Any:
    """``value`` for a cell of CSV: text that would be taken for a formula is told to be text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _json(batches: Iterator[Columns], file: BinaryIO) -> None:
    """A list of objects, one a line."""
    before = "[\n"
    for columns in batches:
        for row in zip(*columns.values(), strict=True):
            values = dict(zip(columns, row, strict=True))
            file.write((before + json.dumps(values, ensure_ascii=False)).encode())
            before = ",\n"
    file.write(b"\n]\n" if before == ",\n" else b"[]\n")


def _parquet(batches: Iterator[Columns], file: BinaryIO) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pa.table({name: _array(c) for name, c in columns.items()}) for columns in batches]
    pq.write_table(pa.concat_tables(tables, promote_options="permissive"), file)


def _array(column: Sequence[Any]) -> Any:
    """Values as Arrow types them; kinds that do not go together, and huge integers, as text."""
    import pyarrow as pa

    try:
        return pa.array(column)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else str(value) for value in column])
