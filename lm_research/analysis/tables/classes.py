"""Of classifiers: precision, recall and F1 of each class, and which class is taken for which.

A run leaves both in ``classes.json``; what is shown is of the best setting of each source, added up
over its seeds, on the validation split. Where a document may have several labels nothing is taken
for another class: the table says how often each was predicted.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lm_research.analysis.runs import Run
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import Cell, Column, Table
from lm_research.config.untrusted import LARGEST_JSON, UntrustedError, load_json, read_plain

MOST = 30
"""Classes whose table is still one to read."""
MOST_DOCUMENTS = 1 << 40
SPLIT = "validation"
NOTES = (
    "The best setting of the source, all its seeds together, on the validation split. Rows are the "
    "true classes; a column of `as ...` holds the {} that were taken for that class."
)
SEVERAL = (
    "The best setting of the source, all its seeds together, on the validation split. A document "
    "may be of several classes; predicted: those that are more probable than not."
)
UNITS = ("documents", "words")
"""What has a class."""


def class_tables(study: Study) -> list[Table]:
    """One table for each source whose runs classify documents; none where no run does."""
    return [table for source in study.sources for table in _tables(study, source)]


def _tables(study: Study, source: str) -> Iterator[Table]:
    for setting in study.of_source(source):
        found = [known for run in setting.runs if (known := _read(run)) is not None]
        names = [classes for classes, _, _ in found]
        if not found or any(other != names[0] for other in names) or len(names[0]) > MOST:
            continue
        matrices = [cells for _, cells, _ in found]
        total = [
            [sum(column) for column in zip(*rows, strict=True)]
            for rows in zip(*matrices, strict=True)
        ]
        yield _table(f"{source}: classes, by {setting.label}", names[0], total, found[0][2])
        return


def multilabel_tables(study: Study) -> list[Table]:
    """The same for runs whose documents may have several labels."""
    return [table for source in study.sources if (table := _of_several(study, source))]


def _of_several(study: Study, source: str) -> Table | None:
    for setting in study.of_source(source):
        found = [known for run in setting.runs if (known := _read_counts(run)) is not None]
        names = [classes for classes, _ in found]
        if found and all(other == names[0] for other in names) and len(names[0]) <= MOST:
            counts = [[sum(cell) for cell in zip(*rows, strict=True)] for rows in _by_class(found)]
            return _counted(f"{source}: classes, by {setting.label}", names[0], counts)
    return None


def _by_class(
    found: Sequence[tuple[list[str], list[list[int]]]],
) -> Iterator[tuple[list[int], ...]]:
    """Of each class the counts of all runs."""
    return zip(*(rows for _, rows in found), strict=True)


def _counted(title: str, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Table:
    heads = ("precision", "recall", "F1", UNITS[0], "predicted")
    columns = (Column("class", numeric=False), *map(Column, heads))
    rows = []
    for name, (hits, support, predicted) in zip(classes, counts, strict=True):
        shares = (f"{share:.3f}" for share in _shares(hits, support, predicted))
        rows.append(tuple(map(Cell, (name, *shares, f"{support:,}", f"{predicted:,}"))))
    return Table(title, columns, tuple(rows), (SEVERAL,))


def _shares(hits: int, support: int, predicted: int) -> tuple[float, float, float]:
    """Precision, recall and F1."""
    both = 2 * hits / max(predicted + support, 1)
    return hits / max(predicted, 1), hits / max(support, 1), both


def _table(title: str, classes: Sequence[str], cells: Sequence[Sequence[int]], unit: str) -> Table:
    heads = ("precision", "recall", "F1", unit, *(f"as {name}" for name in classes))
    columns = (Column("class", numeric=False), *map(Column, heads))
    rows = []
    for place, name in enumerate(classes):
        hits, support = cells[place][place], sum(cells[place])
        predicted = sum(row[place] for row in cells)
        shares = _shares(hits, support, predicted)
        numbers = (*(f"{share:.3f}" for share in shares), f"{support:,}")
        counts = (Cell(f"{count:,}", best=at == place) for at, count in enumerate(cells[place]))
        rows.append((Cell(name), *map(Cell, numbers), *counts))
    return Table(title, columns, tuple(rows), (NOTES.format(unit),))


def _kept(run: Run) -> Any:
    """What ``classes.json`` holds; None where there is none, or none that can be read."""
    file = f"{run.folder}/classes.json"
    if not os.path.lexists(file):
        return None
    try:
        return load_json(read_plain(Path(file), LARGEST_JSON))
    except (OSError, UntrustedError):
        return None


def _read_counts(run: Run) -> tuple[list[str], list[list[int]]] | None:
    """Classes, and of each hits, support and predictions; None if a run has none, or damaged."""
    known = _kept(run)
    try:
        classes = [str(name) for name in known["classes"]]
        columns = [list(map(int, known[SPLIT][k])) for k in ("hits", "support", "predicted")]
        rows = [list(row) for row in zip(*columns, strict=True)]
    except (KeyError, TypeError, ValueError):
        return None
    sound = all(0 <= hits <= min(rest) <= max(rest) < MOST_DOCUMENTS for hits, *rest in rows)
    return (classes, rows) if classes and sound and len(rows) == len(classes) else None


def _read(run: Run) -> tuple[list[str], list[list[int]], str] | None:
    """Classes, confusion matrix and its unit; None if a run has none, or a damaged one."""
    known = _kept(run)
    try:
        classes = [str(name) for name in known["classes"]]
        unit = str(known.get("unit", UNITS[0]))
        cells = [[int(count) for count in row] for row in known[SPLIT]["confusion"]]
    except (KeyError, TypeError, ValueError):
        return None
    square = len(cells) == len(classes) and all(len(row) == len(classes) for row in cells)
    sound = square and all(0 <= count < MOST_DOCUMENTS for row in cells for count in row)
    return (classes, cells, unit) if classes and sound and unit in UNITS else None
