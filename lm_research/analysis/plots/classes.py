"""ROC and precision-recall curves of the classes, and how far probabilities can be relied on."""

from collections.abc import Iterator, Sequence

from lm_research.analysis.classified import Bins, ClassCurve, ClassCurves, curves_of
from lm_research.analysis.palette import COLOURS, INK, SYMBOLS
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import figure, label
from lm_research.analysis.study import Study

CLASSES_PX, LINE_PX, BELOW_PX = 300, 19, 52
"""Without the legend; a line of it; and what the x axis takes above it."""
LONGEST = 18
"""Characters of a class's name in the legend."""


def class_curve_plots(study: Study) -> list[Figure]:
    """Of the best setting of each source that has kept its curves, its first seed: three plots."""
    return [drawn for source in study.sources for drawn in _plots(study, source)]


def _plots(study: Study, source: str) -> Iterator[Figure]:
    for setting in study.of_source(source):
        found = curves_of(setting.runs[0])
        if found is not None:
            title = f"{source}: {setting.label}"
            yield from _both(found, title)
            yield _reliability(found.reliability, f"Reliability, {title}")
            return


def _both(found: ClassCurves, title: str) -> Iterator[Figure]:
    if found.roc:
        drawn = _plot(f"ROC, {title}", "false positive rate", "true positive rate", found.roc)
        _add_diagonal(drawn)  # chance
        yield drawn
    if found.precision_recall:
        yield _plot(f"Precision and recall, {title}", "recall", "precision", found.precision_recall)


def _plot(title: str, x_title: str, y_title: str, curves: Sequence[ClassCurve]) -> Figure:
    drawn = figure(title, CLASSES_PX, x_title, y_title)
    for place, curve in enumerate(curves):
        name = label(curve.name if len(curve.name) <= LONGEST else f"{curve.name[:LONGEST]}…")
        drawn.add_scatter(
            x=list(curve.x), y=list(curve.y), mode="lines", name=f"{name} {curve.area:.3f}",
            line={"color": COLOURS[place % len(COLOURS)], "width": 2},
            hovertemplate=f"{name}<br>{x_title} %{{x:.3f}}<br>{y_title} %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    _frame(drawn, len(curves))
    return drawn


def _reliability(bins: Sequence[Bins], title: str) -> Figure:
    """Below the diagonal the model is too sure, above it not sure enough."""
    drawn = figure(title, CLASSES_PX, "probability", "share that is right")
    for place, one in enumerate(bins):
        name = f"{label(one.name)} temperature scaling" if one.name else "bins"
        drawn.add_scatter(
            x=list(one.probability), y=list(one.right), mode="lines+markers", name=name,
            line={"color": COLOURS[place], "width": 2}, customdata=list(one.count),
            marker={"size": 7, "symbol": SYMBOLS[place]},
            hovertemplate="probability %{x:.3f}<br>right %{y:.3f}<br>%{customdata} in the bin"
            "<extra></extra>",
        )  # fmt: skip
    _add_diagonal(drawn)
    _frame(drawn, len(bins))
    return drawn


def _add_diagonal(drawn: Figure) -> None:
    line = {"color": INK, "width": 1, "dash": "dot"}
    drawn.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line=line, hoverinfo="skip", showlegend=False
    )


def _frame(drawn: Figure, lines: int) -> None:
    """Both axes from 0 to 1, and below them a legend of so many lines."""
    drawn.update_xaxes(range=[-0.02, 1.02])
    drawn.update_yaxes(range=[-0.02, 1.02])
    drawn.update_layout(
        showlegend=True, height=CLASSES_PX + lines * LINE_PX,
        margin={"b": BELOW_PX + lines * LINE_PX},
        legend={"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
    )  # fmt: skip
