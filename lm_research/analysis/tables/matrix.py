"""Training source by evaluation source."""

from lm_research.analysis.matrix import Matrix
from lm_research.analysis.metric import MISSING, Metric
from lm_research.analysis.study import Study
from lm_research.analysis.tables.table import INTERVAL, Cell, Column, Table, plus_minus


def matrix_table(study: Study, matrix: Matrix) -> Table:
    """Training source by evaluation source; the best of each column is marked."""
    metric = study.metric
    columns = (Column("trained on", numeric=False), *(Column(name) for name in matrix.columns))
    best = best_rows(matrix, metric)
    rows = tuple(
        (
            Cell(row),
            *(
                Cell(plus_minus(metric, matrix.cells.get((row, column))), best.get(column) == row)
                for column in matrix.columns
            ),
        )
        for row in matrix.rows
    )
    return Table(
        f"Trained on (row), evaluated on (column): {metric.label}",
        columns, rows, tuple(matrix_notes(study, matrix)),
    )  # fmt: skip


def best_rows(matrix: Matrix, metric: Metric) -> dict[str, str]:
    """Column -> the row that does best there; only where rows can be compared."""
    found = {}
    for column in matrix.columns:
        rows = [row for row in matrix.rows if (row, column) in matrix.cells]
        if len(rows) > 1:
            found[column] = min(
                rows, key=lambda row: metric.gain(0.0, matrix.cells[row, column].mean)
            )
    return found


def matrix_notes(study: Study, matrix: Matrix) -> list[str]:
    """What the cells average over, and how they were filled."""
    notes = [INTERVAL]
    if matrix.possible > 1:
        counts = set(matrix.blocks.values())
        used = " or ".join(str(count) for count in sorted(counts))
        others = ", ".join(axis for axis in study.axes if axis != "data")
        notes.append(
            f"Each cell averages the same {used} of {matrix.possible} combinations of {others} in "
            "all rows of its column."
        )
    if matrix.own:
        notes.append("On its own source a model is scored on that source's validation documents.")
    if any((row, column) not in matrix.cells for row in matrix.rows for column in matrix.columns):
        notes.append(f"{MISSING}: not evaluated, or undefined.")
    return notes
