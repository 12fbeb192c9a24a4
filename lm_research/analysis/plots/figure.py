"""The house style of figures, and what several of them share.

Backgrounds are transparent and ink is a neutral grey, so that a figure reads on light and dark;
the report restyles the ink to its theme.
"""

from collections.abc import Sequence
from typing import Any

from lm_research.analysis.palette import GRID, INK
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.statistics import Estimate
from lm_research.config.visible import visible

ROW_PX = 30


def label(text: str) -> str:
    """Plotly reads a subset of HTML in labels: defuse it."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def figure(title: str, height: int, x_title: str = "", y_title: str = "") -> Figure:
    """An empty figure in the house style: no frame, faint grid, transparent."""
    axis: dict[str, Any] = {
        "gridcolor": GRID, "linecolor": GRID, "zeroline": False, "ticks": "", "automargin": True,
        "title": {"standoff": 8, "font": {"size": 12}}, "fixedrange": True,
    }  # fmt: skip
    drawn = Figure(
        title={"text": label(title), "font": {"size": 14}, "x": 0, "xref": "paper"},
        height=height, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 12, "family": "system-ui, sans-serif"},
        margin={"l": 8, "r": 16, "t": 40, "b": 8}, showlegend=False, hovermode="closest",
        hoverlabel={"font": {"family": "system-ui, sans-serif", "size": 12}},
        xaxis=axis, yaxis=axis,
    )  # fmt: skip
    drawn.update_layout(
        xaxis={"title": {"text": label(x_title)}}, yaxis={"title": {"text": label(y_title)}}
    )
    return drawn


def bars(estimates: Sequence[Estimate], colour: str) -> dict[str, Any]:
    """Error bars for intervals about their means; those over documents need not be symmetric."""
    ends = [
        (e.mean if e.low is None else e.low, e.mean if e.high is None else e.high)
        for e in estimates
    ]
    return {
        "type": "data", "symmetric": False, "color": colour, "thickness": 1.6, "width": 0,
        "array": [high - e.mean for e, (_, high) in zip(estimates, ends, strict=True)],
        "arrayminus": [e.mean - low for e, (low, _) in zip(estimates, ends, strict=True)],
    }  # fmt: skip


def span(values: Sequence[float], estimates: Sequence[Estimate]) -> list[float]:
    """A range that holds every value and interval; intervals wider than thrice the spread of the
    means run off the edge, so that one noisy setting does not flatten all others."""
    points = [*values, *(estimate.mean for estimate in estimates)]
    low, high = min(points), max(points)
    reach = 3 * (high - low) or max((e.half_width or 0.0 for e in estimates), default=0.0) or 0.1
    ends = [
        end
        for e in estimates
        for end in (e.mean - (e.half_width or 0.0), e.mean + (e.half_width or 0.0))
    ]
    low_end = max(min([low, *ends]), low - reach)
    high_end = min(max([high, *ends]), high + reach)
    pad = 0.06 * (high_end - low_end)
    return [low_end - pad, high_end + pad]


def translucent(colour: str) -> str:
    """A palette colour ("#1180C3") for a band under its line."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
