"""The figures on disk: one CSV for each device, one row for each point and contender.

Rows of a point are written at once; when a point is timed again, its later rows count.
"""

import csv
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from kernel_suite.points import POINT_FIELDS, Point, as_text, of_text

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a cell of text for a formula."""
MEASURED = ("ok", "inexact")
SAME = "same as nn"


@dataclass
class Row:
    """Times in milliseconds, memory in MiB; what was not measured is NaN.

    ``status``: ok; inexact (a peer beyond the gate's limit, within ten times it); wrong (beyond it,
    so not timed); same as nn (dispatch takes torch.nn's path: not timed twice); unsupported;
    failed. ``path`` says which kernels ran, ``launches`` how many in a call, ``floor_ms`` what the
    device needs at least, ``share`` floor over time; ``host_us`` microseconds of the host to
    enqueue a call, ``wall_ms`` a call's time back to back with others, its inputs in the cache if
    they fit (timing.py).
    """

    contender: str
    status: str
    ms: float = math.nan
    low_ms: float = math.nan
    high_ms: float = math.nan
    samples: int = 0
    error: float = math.nan
    limit: float = math.nan
    path: str = ""
    launches: int = 0
    kernels: str = ""
    floor_ms: float = math.nan
    share: float = math.nan
    peak_mib: float = math.nan
    first_call_s: float = math.nan
    host_us: float = math.nan
    wall_ms: float = math.nan
    note: str = ""
    date: str = ""

    @property
    def measured(self) -> bool:
        return self.status in MEASURED


ROW_FIELDS = tuple(field.name for field in fields(Row))
Table = dict[Point, dict[str, Row]]


def append(path: Path, point: Point, rows: list[Row]) -> None:
    """All rows of a point in one write; the header first if the file is new."""
    fresh = not path.exists() or path.stat().st_size == 0
    torn = not fresh and not path.read_bytes().endswith(b"\n")
    with path.open("a", newline="", encoding="utf-8") as file:
        if torn:  # a run was ended while it wrote
            file.write("\n")
        writer = csv.DictWriter(file, [*POINT_FIELDS, *ROW_FIELDS], lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerows([{**as_text(point), **_cells(row)} for row in rows])


def _cells(row: Row) -> dict[str, str]:
    cells = {}
    for name, value in asdict(row).items():
        number = isinstance(value, float)
        cells[name] = ("" if math.isnan(value) else f"{value:.6g}") if number else _inert(value)
    return cells


def _inert(value: str | int) -> str:
    """Text that a spreadsheet would compute is set off by an apostrophe; numbers stay."""
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text


def read(path: Path) -> Table:
    """Every point's rows by contender; empty if there is no file.

    Raises:
        ValueError: the file has other columns.
    """
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) not in ((), (*POINT_FIELDS, *ROW_FIELDS)):
            raise ValueError(f"{path} has other columns than this version writes: move it away")
        table: Table = {}
        for cells in reader:
            if None in cells.values():
                continue  # cut off while it was written
            row = _row(cells)
            table.setdefault(of_text(cells), {})[row.contender] = row
    return table


def _row(cells: dict[str, str]) -> Row:
    kinds = {field.name: field.type for field in fields(Row)}
    return Row(**{name: _value(cells[name], kinds[name]) for name in ROW_FIELDS})


def _value(text: str, kind: object) -> object:
    if kind is float:
        return float(text) if text else math.nan
    return int(text) if kind is int else text


def missing(points: list[Point], table: Table, names: list[str]) -> list[Point]:
    """Points of which some contender of ``names`` has no row."""
    return [point for point in points if set(names) - set(table.get(point, {}))]
