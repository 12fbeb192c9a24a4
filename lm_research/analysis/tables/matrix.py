"""Training source by evaluation source."""

from lm_research.analysis.matrix import Matrix, source_matrix
from lm_research.analysis.metric import MISSING, Metric
from lm_research.analysis.runs import number, summary_keys
from lm_research.analysis.study import Study, once
from lm_research.analysis.tables.table import INTERVAL, Cell, Column, Table, interval, plus_minus

OVER_DOCUMENTS = (
    "The same means with 95 % percentile bootstrap intervals over the evaluation documents, the "
    "training runs as they are: where another sample of documents would have put them. Differences "
    "within a column are surer than these, since its documents are the same: see what each choice "
    "does."
)
CLEAN = (
    "Without the documents that share 13 words in a row with the run's training split: the rows of "
    "a column may leave out different ones."
)


def matrix_documents_table(study: Study, matrix: Matrix) -> Table | None:
    """The matrix with intervals over documents; None where no run kept its documents."""
    if not matrix.documents:
        return None
    metric = study.metric
    columns = (Column("trained on", numeric=False), *(Column(name) for name in matrix.columns))
    rows = tuple(
        (Cell(row), *(Cell(over_documents_text(matrix, metric, row, c)) for c in matrix.columns))
        for row in matrix.rows
    )
    title = f"Trained on (row), evaluated on (column): {metric.label}, over documents"
    return Table(title, columns, rows, (OVER_DOCUMENTS,))


def over_documents_text(matrix: Matrix, metric: Metric, row: str, column: str) -> str:
    """ "2.290 to 2.330"; "2.314 (one document)"; "–"."""
    found = matrix.documents.get((row, column))
    if found is None:
        return MISSING
    return interval(metric, found) if found.n > 1 else f"{metric.text(found.mean)} (one document)"


@once
def clean_matrix(study: Study) -> tuple[Metric, Matrix] | None:
    """The matrix of the clean scores, and their metric; None where nothing was contaminated."""
    if not study.metric.key.endswith("/bits_per_byte"):
        return None
    runs = [run for setting in study.settings for run in setting.runs]
    keys = [key for key in summary_keys(runs) if key.endswith("/contaminated_documents")]
    if not any(number(run.summary.get(key)) for run in runs for key in keys):
        return None
    metric = Metric.named(f"{study.metric.key}_clean")
    matrix = source_matrix(study.settings, metric)
    return (metric, matrix) if matrix is not None and matrix.cells else None


def clean_matrix_table(study: Study) -> Table | None:
    """Training source by evaluation source on clean documents; None where all were."""
    found = clean_matrix(study)
    if found is None:
        return None
    table = _table(*found)
    return Table(table.title, table.columns, table.rows, (*matrix_notes(study, found[1]), CLEAN))


def matrix_table(study: Study, matrix: Matrix) -> Table:
    """Training source by evaluation source; the best of each column is marked."""
    table = _table(study.metric, matrix)
    return Table(table.title, table.columns, table.rows, tuple(matrix_notes(study, matrix)))


def _table(metric: Metric, matrix: Matrix) -> Table:
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
        columns, rows,
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
