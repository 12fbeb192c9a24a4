"""A search: every trial as a line through what was tried to what came of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lm_research.analysis.palette import COLOURS, PAPER
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import figure, label, translucent
from lm_research.analysis.settings import Setting
from lm_research.analysis.study import Study

SEARCH_PX = 400
WIDE = 30.0
"""A dimension over more than so many times its least value is logarithmic."""


@dataclass(frozen=True)
class _Dimension:
    """Where each trial is on an upright axis, 0 to 1, and what stands beside it."""

    name: str
    places: list[float]
    ticks: dict[str, float]


def search_plot(study: Study) -> Figure | None:
    """Parallel coordinates over the trials that ended, the best in colour and on top.

    Lines of ordinary scatters: plotly's own kind compiles code in the browser, which the report's
    policy forbids. ``None`` if the study was no search, or has fewer than two trials.
    """
    trials = [s for s in study.settings if s.estimate(study.metric.key)]
    if not study.sweep.searched or len(trials) < 2:
        return None
    scores = [e.mean for s in trials if (e := s.estimate(study.metric.key))]
    dimensions = [_dimension(axis, [trial[axis] for trial in trials]) for axis in study.axes]
    dimensions.append(_numbers(study.metric.label, scores, [study.metric.text(v) for v in scores]))
    drawn = figure(f"{len(trials)} trials", SEARCH_PX)
    worst_first = sorted(range(len(trials)), key=lambda i: study.metric.gain(0.0, scores[i]))[::-1]
    for place in worst_first:
        best = place == worst_first[-1]
        _add(drawn, dimensions, trials[place], place, best)
    _label(drawn, dimensions)
    return drawn


def _add(
    drawn: Figure, dimensions: Sequence[_Dimension], trial: Setting, place: int, best: bool
) -> None:
    colour = COLOURS[1] if best else translucent(COLOURS[0])
    told = "<br>".join(f"{label(a)}: {label(trial[a])}" for a in trial.axes)
    drawn.add_scatter(
        x=list(range(len(dimensions))), y=[d.places[place] for d in dimensions],
        mode="lines+markers", line={"color": colour, "width": 3 if best else 1.5},
        marker={"size": 6, "color": COLOURS[1] if best else COLOURS[0]},
        hovertemplate=f"{told}<extra></extra>",
    )  # fmt: skip


def _label(drawn: Figure, dimensions: Sequence[_Dimension]) -> None:
    names = [label(dimension.name) for dimension in dimensions]
    places = list(range(len(dimensions)))
    drawn.update_xaxes(
        tickvals=places, ticktext=names, showgrid=True, range=[-0.15, len(places) - 0.6], side="top"
    )
    drawn.update_yaxes(visible=False, range=[-0.06, 1.06])
    for x, dimension in enumerate(dimensions):
        for text, y in dimension.ticks.items():
            drawn.add_annotation(
                x=x, y=y, text=label(text), showarrow=False, xanchor="left", xshift=7,
                bgcolor=PAPER, font={"size": 11},
            )  # fmt: skip


def _dimension(name: str, texts: Sequence[str]) -> _Dimension:
    """Numbers by their size, options side by side in the order of their appearance."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        options = list(dict.fromkeys(texts))
        step = 1 / max(len(options) - 1, 1)
        at = {option: place * step for place, option in enumerate(options)}
        return _Dimension(name, [at[text] for text in texts], at)
    return _numbers(name, numbers, [f"{number:.3g}" for number in numbers])


def _numbers(name: str, numbers: Sequence[float], texts: Sequence[str]) -> _Dimension:
    scaled = list(numbers)
    if min(numbers) > 0 and max(numbers) > WIDE * min(numbers):
        scaled = [math.log(number) for number in numbers]
    low, high = min(scaled), max(scaled)
    places = [(value - low) / (high - low) if high > low else 0.5 for value in scaled]
    ends = (scaled.index(low), scaled.index(high))
    return _Dimension(name, places, {texts[end]: places[end] for end in ends})
