"""What was expected, as a forest plot: intervals over seeds, and over documents."""

from textwrap import wrap

from lm_research.analysis.hypotheses import Verdict
from lm_research.analysis.palette import COLOURS, INK, PAPER
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import bars, figure, label, span
from lm_research.analysis.statistics import Estimate
from lm_research.analysis.study import Study
from lm_research.analysis.tables import interval, p_text

HYPOTHESIS_PX = 92
LINE_CHARACTERS = 46
"""A line of a phone's width."""
APART = 0.13
"""Between the two intervals of a row, in rows."""


def hypotheses_plot(study: Study) -> Figure:
    """A row each: right of 0 is as expected. The text stands above its interval, to fit a phone."""
    tested = [verdict for verdict in study.hypotheses if verdict.difference is not None]
    drawn = figure(
        "Expected differences; right of 0 is as expected",
        90 + HYPOTHESIS_PX * len(tested), x_title=f"difference ({study.metric.label})",
    )  # fmt: skip
    for row, verdict in enumerate(reversed(tested)):
        _add_verdict(drawn, study, verdict, row)
    estimates = [v.difference.estimate for v in tested if v.difference]
    estimates += [v.documents.estimate for v in tested if v.documents]
    drawn.add_vline(x=0, line={"color": INK, "width": 1, "dash": "dot"})
    drawn.update_xaxes(range=span([0.0], estimates))
    drawn.update_yaxes(showticklabels=False, showgrid=False, range=[-0.35, len(tested) - 0.25])
    return drawn


def _add_verdict(drawn: Figure, study: Study, verdict: Verdict, row: int) -> None:
    assert verdict.difference is not None
    decided = verdict.outcome in ("supported", "contradicted")
    seeds, documents = verdict.difference.estimate, verdict.documents
    points: list[tuple[Estimate, float, str, str]] = [(seeds, row, COLOURS[0], "over seeds")]
    if documents:
        points.append((documents.estimate, row - APART, COLOURS[1], "over documents"))
    for estimate, height, colour, what in points:
        drawn.add_scatter(
            x=[estimate.mean], y=[height], mode="markers",
            marker={"size": 9, "color": colour, "line": {"width": 2, "color": colour},
                    "symbol": "circle" if decided or what != "over seeds" else "circle-open"},
            error_x=bars([estimate], colour),
            hovertemplate=f"{what}: {study.metric.text(estimate.mean)} "
            f"({label(interval(study.metric, estimate))})<extra></extra>",
        )  # fmt: skip
    drawn.add_annotation(
        x=0, xref="paper", xanchor="left", y=row + 0.1, yanchor="bottom", showarrow=False,
        align="left", text=_caption(verdict), bgcolor=PAPER, borderpad=1,
    )  # fmt: skip


def _caption(verdict: Verdict) -> str:
    """The hypothesis in at most two lines, and its verdict in one."""
    lines = wrap(verdict.hypothesis.text, LINE_CHARACTERS, max_lines=2, placeholder=" …")
    p = f", p {label(p_text(verdict.adjusted))}" if verdict.adjusted is not None else ""
    return "<br>".join([*map(label, lines), f"<b>{verdict.outcome}</b>{p}"])
