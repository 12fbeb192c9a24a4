"""Ours beside a paper's: the relative difference of each row, and the way there."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from lm_research.analysis.palette import COLOURS, INK
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import ROW_PX, bars, figure, label
from lm_research.analysis.statistics import Estimate
from lm_research.config.expected import Course, Row

COURSE_PX = 320
WITHIN = "rgba(127,127,127,0.35)"
STATES = {"reproduced": COLOURS[2], "better": COLOURS[0], "worse": COLOURS[1]}
Points = Sequence[tuple[float, float]]


class Judged(Protocol):
    """What is drawn of a row."""

    @property
    def row(self) -> Row:
        """Of ``expected.yaml``."""

    @property
    def state(self) -> str:
        """The verdict."""

    @property
    def ours(self) -> Estimate:
        """Over seeds."""

    @property
    def curve(self) -> Mapping[str, Points]:
        """Seed -> (tokens read, score)."""


def published_plot(rows: Sequence[tuple[str, Judged]]) -> Figure:
    """A line a row: (ours - published) / published, on the tolerance as a grey bar."""
    drawn = figure(
        "Ours against the published number; the bar is the tolerance",
        110 + ROW_PX * len(rows), x_title="difference from the published number, %",
    )  # fmt: skip
    names = [label(f"{experiment}: {one.row.name}") for experiment, one in rows]
    for name, (_, one) in zip(names, rows, strict=True):
        wide = 100 * one.row.tolerance / abs(one.row.published)
        drawn.add_scatter(
            x=[-wide, wide], y=[name, name], mode="lines", line={"color": WITHIN, "width": 12}
        )
    for state, colour in STATES.items():
        mine = [(n, one) for n, (_, one) in zip(names, rows, strict=True) if one.state == state]
        if mine:
            _add_state(drawn, state, colour, mine)
    drawn.add_vline(x=0, line={"color": INK, "width": 1, "dash": "dot"})
    drawn.update_yaxes(type="category", categoryarray=names[::-1], showgrid=False)
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    drawn.update_layout(showlegend=True, legend=legend)
    return drawn


def _add_state(drawn: Figure, state: str, colour: str, mine: Sequence[tuple[str, Judged]]) -> None:
    estimates = [_relative(one.ours, one.row.published) for _, one in mine]
    drawn.add_scatter(
        x=[estimate.mean for estimate in estimates], y=[name for name, _ in mine],
        mode="markers", name=state, line={"color": colour}, error_x=bars(estimates, colour),
        marker={"size": 9, "color": colour},
    )  # fmt: skip


def _relative(ours: Estimate, published: float) -> Estimate:
    def percent(value: float) -> float:
        return 100 * (value - published) / abs(published)

    low, high = (None if end is None else percent(end) for end in (ours.low, ours.high))
    return Estimate(percent(ours.mean), ours.n, None, low, high)


def course_plot(rows: Sequence[Judged], course: Course | None) -> Figure:
    """The validation score over training tokens, a line a run; dotted: the published numbers."""
    unit = next((one.row.unit for one in rows if one.row.unit), "")
    scores = f"{unit}, validation".strip(", ")
    drawn = figure("On the way (dotted: published)", COURSE_PX, "training tokens", scores)
    tokens = [t for one in rows for points in one.curve.values() for t, _ in points]
    seen: list[Points] = []
    for place, one in enumerate(rows):
        colour, known = COLOURS[place % len(COLOURS)], len(seen)
        for seed, points in one.curve.items():
            if points not in seen:  # rows of the same runs have the same way
                seen.append(points)
                _add_way(drawn, one if seed == next(iter(one.curve)) else None, points, place)
        if one.curve:
            drawn.add_scatter(
                x=[min(tokens), max(tokens)], y=[one.row.published] * 2, mode="lines",
                name=label(f"{one.row.name}, published"), showlegend=len(seen) == known,
                line={"color": colour, "width": 1.4, "dash": "dot"},
            )  # fmt: skip
    if course is not None:
        drawn.add_scatter(
            x=[point.tokens for point in course.points], y=[p.value for p in course.points],
            mode="markers", name="recorded course", line={"color": INK},
            marker={"size": 8, "symbol": "diamond", "color": INK},
        )  # fmt: skip
    drawn.update_xaxes(tickformat="~s")
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    drawn.update_layout(showlegend=True, legend=legend)
    return drawn


def _add_way(drawn: Figure, named: Judged | None, points: Points, place: int) -> None:
    x, y = zip(*points, strict=True)
    line = {"color": COLOURS[place % len(COLOURS)], "width": 2}
    name = {"name": label(named.row.name)} if named is not None else {}
    drawn.add_scatter(x=list(x), y=list(y), mode="lines", line=line, **name)
