"""ROC and precision-recall curves of the classes."""

from collections.abc import Iterator, Sequence

from lm_research.analysis.classified import ClassCurve, ClassCurves, curves_of
from lm_research.analysis.palette import COLOURS, INK
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import figure, label
from lm_research.analysis.study import Study

CLASSES_PX = 340
LONGEST = 18
"""Characters of a class's name in the legend."""


def class_curve_plots(study: Study) -> list[Figure]:
    """Of the best setting of each source that has kept its curves, its first seed: two plots."""
    return [drawn for source in study.sources for drawn in _plots(study, source)]


def _plots(study: Study, source: str) -> Iterator[Figure]:
    for setting in study.of_source(source):
        found = curves_of(setting.runs[0])
        if found is not None:
            yield from _both(found, f"{source}: {setting.label}")
            return


def _both(found: ClassCurves, title: str) -> Iterator[Figure]:
    if found.roc:
        drawn = _plot(f"ROC, {title}", "false positive rate", "true positive rate", found.roc)
        chance = {"color": INK, "width": 1, "dash": "dot"}
        drawn.add_scatter(
            x=[0, 1], y=[0, 1], mode="lines", line=chance, hoverinfo="skip", showlegend=False
        )
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
    drawn.update_xaxes(range=[-0.02, 1.02])
    drawn.update_yaxes(range=[-0.02, 1.02])
    drawn.update_layout(showlegend=True, legend={"orientation": "h", "x": 0, "y": -0.2})
    return drawn
