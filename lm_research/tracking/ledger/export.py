"""Runs as flat rows for other programs: CSV, Parquet, JSON.

A row a run: what it is, its options, its configuration by dotted names, its final metrics. Or a row
for each row of its metrics.jsonl. Secrets are taken out once more on the way, and in CSV text that
a spreadsheet would take for a formula gets an apostrophe before it.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from lm_research.analysis.runs import Run
from lm_research.analysis.settings import FINGERPRINT, flatten
from lm_research.tracking.redaction import redactor

FORMATS = ("csv", "parquet", "json")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_RUNS_AT_ONCE = 500
Columns = dict[str, list[Any]]
"""Name -> values, all lists of one length."""


def run_columns(runs: Sequence[Run]) -> Columns:
    """One row a run."""
    flat: dict[tuple[str, int], dict[str, Any]] = {}  # parts that runs share are flattened once
    return _columns([_run_row(run, flat) for run in runs], _Cells())


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
    names = dict.fromkeys(name for run in runs for row in run.curve for name in row)
    empty: Columns = {name: [] for name in ("id", "folder", "seed", *names)}
    for start in range(0, len(runs), _RUNS_AT_ONCE):
        rows = [
            {"id": run.id, "folder": str(run.folder), "seed": run.seed, **row}
            for run in runs[start : start + _RUNS_AT_ONCE]
            for row in run.curve
        ]
        yield {name: [row.get(name) for row in rows] for name in empty}


def _columns(rows: Sequence[Mapping[str, Any]], cells: "_Cells") -> Columns:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [cells(name, row.get(name)) for row in rows] for name in names}


class _Cells:
    """Values as scalars: nested ones as JSON, text without secrets."""

    def __init__(self) -> None:
        self._redacted = redactor()
        self._known: dict[tuple[str, str], str] = {}

    def __call__(self, name: str, value: Any) -> Any:
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
    writer = csv.writer(text, lineterminator="\n")
    for number, columns in enumerate(batches):
        if number == 0:
            writer.writerow(map(plain_text, columns))
        guarded = [[plain_text(value) for value in column] for column in columns.values()]
        writer.writerows(zip(*guarded, strict=True))
    text.flush()
    text.detach()


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
