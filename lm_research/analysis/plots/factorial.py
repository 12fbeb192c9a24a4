"""Interactions: the mean of each pair of choices. Parallel lines are none."""

from collections.abc import Sequence

from lm_research.analysis.factorial import Contrast, Term
from lm_research.analysis.metric import Metric
from lm_research.analysis.palette import COLOURS, DASHES, SYMBOLS
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import bars, figure, label
from lm_research.analysis.study import Study
from lm_research.analysis.tables import p_text, plus_minus

INTERACTION_PX = 300


def interaction_plots(study: Study) -> list[Figure]:
    """One plot a pair of axes: the axis with more options along x, the other as lines."""
    terms = study.factorial.terms if study.factorial else ()
    return [_interaction_plot(term, study.metric) for term in terms if len(term.axes) == 2]


def _interaction_plot(term: Term, metric: Metric) -> Figure:
    options = [list(dict.fromkeys(c.levels[i] for c in term.contrasts)) for i in (0, 1)]
    across, lines = (0, 1) if len(options[0]) >= len(options[1]) else (1, 0)
    tested = "" if term.adjusted is None else f", p {p_text(term.adjusted)}"
    drawn = figure(
        f"{term.axes[across]} × {term.axes[lines]}{tested}", INTERACTION_PX, y_title=metric.label
    )
    for place, option in enumerate(options[lines]):
        cells = [c for c in term.contrasts if c.levels[lines] == option]
        _add_line(drawn, cells, across, option, place, len(options[lines]), metric)
    names = [label(option) for option in options[across]]
    drawn.update_layout(
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
    )
    drawn.update_xaxes(
        tickmode="array", tickvals=list(range(len(names))), ticktext=names, showgrid=False,
        range=[-0.5, len(names) - 0.5],
    )  # fmt: skip
    return drawn


def _add_line(
    drawn: Figure, cells: Sequence[Contrast], across: int, option: str, place: int, count: int,
    metric: Metric,
) -> None:  # fmt: skip
    """One line; the lines stand a little apart, so that their intervals do not hide each other."""
    colour = COLOURS[place % len(COLOURS)]
    means = [cell.mean for cell in cells]
    shift = (place - (count - 1) / 2) * min(0.08, 0.3 / count)
    drawn.add_scatter(
        x=[i + shift for i in range(len(cells))], y=[mean.mean for mean in means],
        mode="lines+markers", name=label(option),
        line={"color": colour, "width": 2, "dash": DASHES[place % len(DASHES)]},
        marker={"size": 8, "symbol": SYMBOLS[place % len(SYMBOLS)]},
        error_y=bars(means, colour),
        customdata=[
            f"{label(' · '.join((cell.levels[across], option)))}: "
            f"{label(plus_minus(metric, cell.mean))}"
            for cell in cells
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
