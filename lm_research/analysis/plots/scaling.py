"""Scaling laws: the runs, the fitted curve, its band."""

import numpy as np

from lm_research.analysis.metric import Metric
from lm_research.analysis.palette import COLOURS, SYMBOLS
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import figure, label, translucent
from lm_research.analysis.scaling import Scaling
from lm_research.analysis.study import Study

SCALING_PX = 340
POINTS = 60


def scaling_plots(study: Study) -> list[Figure]:
    """One plot an axis, its laws in colours; both axes logarithmic."""
    found = []
    for axis in dict.fromkeys(law.axis for law in study.scaling):
        laws = [law for law in study.scaling if law.axis == axis]
        drawn = figure(
            f"{axis}: {study.metric.label} = E + A x^−α",
            SCALING_PX, laws[0].quantity, study.metric.label,
        )  # fmt: skip
        for place, law in enumerate(laws):
            _add_law(drawn, law, place, study.metric)
        drawn.update_xaxes(type="log", dtick=1, tickformat="~s")
        drawn.update_yaxes(type="log", nticks=6)
        drawn.update_layout(
            showlegend=len(laws) > 1,
            legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        )
        found.append(drawn)
    return found


def _add_law(drawn: Figure, law: Scaling, place: int, metric: Metric) -> None:
    colour, name = COLOURS[place % len(COLOURS)], label(" · ".join(law.fixed) or law.axis)
    x_N = np.geomspace(min(law.x), max(law.x), POINTS)
    low_N, high_N = law.fit.band(x_N)
    drawn.add_scatter(
        x=[*x_N, *x_N[::-1]], y=[*high_N, *low_N[::-1]], fill="toself", mode="lines",
        line={"width": 0}, fillcolor=translucent(colour), hoverinfo="skip", showlegend=False,
        legendgroup=name,
    )  # fmt: skip
    drawn.add_scatter(
        x=list(x_N), y=list(law.fit.curve(x_N)), mode="lines", name=name, legendgroup=name,
        line={"color": colour, "width": 2},
        hovertemplate=f"{name}<br>%{{x:.3s}}: %{{y:.{metric.decimals}f}}<extra></extra>",
    )  # fmt: skip
    drawn.add_scatter(
        x=list(law.x), y=list(law.loss), mode="markers", showlegend=False, legendgroup=name,
        marker={"size": 7, "color": colour, "symbol": SYMBOLS[place % len(SYMBOLS)]},
        hovertemplate=f"{name}, one run<br>%{{x:.3s}}: %{{y:.{metric.decimals}f}}<extra></extra>",
    )  # fmt: skip
