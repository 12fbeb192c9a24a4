"""The source matrix as a heat map."""

from lm_research.analysis.matrix import Matrix
from lm_research.analysis.metric import Metric
from lm_research.analysis.palette import BEST_RGB
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import figure, label
from lm_research.analysis.study import Study
from lm_research.analysis.tables import best_rows, clean_matrix, over_documents_text, plus_minus


def matrix_plot(study: Study, matrix: Matrix) -> Figure:
    """Heat map with its numbers. The colour tells how close a row comes to the column's best."""
    metric = study.metric
    drawn = figure(
        f"{metric.label.capitalize()} by training and evaluation source",
        height=110 + 64 * len(matrix.rows), y_title="trained on",
    )  # fmt: skip
    shade = _shades(matrix, metric)
    best = best_rows(matrix, metric)
    drawn.add_heatmap(
        z=[[shade.get((r, c), None) for c in matrix.columns] for r in matrix.rows],
        x=[label(c) for c in matrix.columns], y=[label(r) for r in matrix.rows],
        colorscale=[[0, f"rgba({BEST_RGB},0.06)"], [1, f"rgba({BEST_RGB},0.92)"]],
        zmin=0, zmax=1, showscale=False, xgap=3, ygap=3, hoverongaps=False,
        customdata=[
            [_cell_hover(study, matrix, r, c) for c in matrix.columns] for r in matrix.rows
        ],
        hovertemplate="trained on %{y}<br>evaluated on %{x}<br>%{customdata}<extra></extra>",
    )  # fmt: skip
    for row in matrix.rows:
        for column in matrix.columns:
            _annotate(drawn, matrix, metric, row, column, shade, best.get(column) == row)
    drawn.update_xaxes(side="top", title={"text": "evaluated on"}, showgrid=False, type="category")
    drawn.update_yaxes(autorange="reversed", showgrid=False, type="category")
    return drawn


def _shades(matrix: Matrix, metric: Metric) -> dict[tuple[str, str], float]:
    """1 for a column's best, 0 for the largest distance from the best in any column."""
    behind = {}
    for (row, column), estimate in matrix.cells.items():
        peers = [e.mean for (_, c), e in matrix.cells.items() if c == column]
        top = min(peers) if metric.lower_is_better else max(peers)
        behind[row, column] = metric.gain(top, estimate.mean)
    worst = max(behind.values(), default=0.0)
    return {cell: 1 - value / worst if worst else 0.5 for cell, value in behind.items()}


def _cell_hover(study: Study, matrix: Matrix, row: str, column: str) -> str:
    """The score with its intervals over seeds and over documents, and on clean documents."""
    metric, lines = study.metric, []
    estimate = matrix.cells.get((row, column))
    lines.append(f"{label(plus_minus(metric, estimate))} {metric.label}")
    if (row, column) in matrix.documents:
        lines.append(f"over documents {label(over_documents_text(matrix, metric, row, column))}")
    if (clean := clean_matrix(study)) and (on_clean := clean[1].cells.get((row, column))):
        lines.append(f"clean documents {label(plus_minus(clean[0], on_clean))}")
    return "<br>".join(lines)


def _annotate(
    drawn: Figure, matrix: Matrix, metric: Metric, row: str, column: str,
    shade: dict[tuple[str, str], float], best: bool,
) -> None:  # fmt: skip
    estimate = matrix.cells.get((row, column))
    text = "–"
    if estimate is not None:
        number = metric.text(estimate.mean)
        text = f"<b>{number}</b>" if best else number
        if half := label(metric.plus_minus(estimate.half_width)):
            text += f"<br><span style='font-size:11px'>{half}</span>"
    font = {"size": 14}
    if shade.get((row, column), 0) > 0.75:  # on the strong colour white reads in either theme
        font["color"] = "#ffffff"  # type: ignore[assignment]
    drawn.add_annotation(x=label(column), y=label(row), text=text, showarrow=False, font=font)
