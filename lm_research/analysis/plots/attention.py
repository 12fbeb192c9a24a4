"""Where a decoder looked while it wrote: heat maps of attention."""

from collections.abc import Iterator

from lm_research.analysis.palette import BEST_RGB
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import figure, label
from lm_research.analysis.study import Study
from lm_research.analysis.written import Attended, attention_of

TEXTS = 3
"""Drawn of each source."""


def attention_plots(study: Study) -> list[Figure]:
    """The first texts of the best setting of each source that has kept its attention."""
    return [drawn for source in study.sources for drawn in _plots(study, source)]


def _plots(study: Study, source: str) -> Iterator[Figure]:
    for setting in study.of_source(source):
        if texts := attention_of(setting.runs[0]):
            for number, text in enumerate(texts[:TEXTS], start=1):
                yield _plot(text, f"{source} {number}: {setting.label}")
            return


def _plot(text: Attended, title: str) -> Figure:
    """Rows are the tokens written, columns the source's; the stronger, the more weight."""
    drawn = figure(title, height=140 + 22 * len(text.written), y_title="written")
    drawn.add_heatmap(
        z=[list(row) for row in text.weights],
        x=list(range(len(text.source))), y=list(range(len(text.written))),
        colorscale=[[0, f"rgba({BEST_RGB},0.03)"], [1, f"rgba({BEST_RGB},0.95)"]],
        zmin=0, zmax=1, showscale=False, xgap=1, ygap=1, hoverongaps=False,
        customdata=[
            [f"{label(w)} looks at {label(s)}: {weight:.2f}" for s, weight in zip(
                text.source, row, strict=True
            )]
            for w, row in zip(text.written, text.weights, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
    drawn.update_xaxes(
        side="top", title={"text": "source"}, showgrid=False, tickmode="array", tickangle=-60,
        tickvals=list(range(len(text.source))), ticktext=[label(t) for t in text.source],
    )  # fmt: skip
    drawn.update_yaxes(
        autorange="reversed", showgrid=False, tickmode="array",
        tickvals=list(range(len(text.written))), ticktext=[label(t) for t in text.written],
    )  # fmt: skip
    return drawn
