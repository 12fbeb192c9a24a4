"""Learning curves, over training tokens and over seconds."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lm_research.analysis.metric import Metric
from lm_research.analysis.palette import Encoding, encode
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import figure, label, translucent
from lm_research.analysis.plots.settings import how_many, shown
from lm_research.analysis.settings import Setting
from lm_research.analysis.study import Study, once

CURVE_PX = 300
CURVE_POINTS = 200
"""A curve keeps at most so many points: more cannot be seen, and weigh in the file."""


Axis = Literal["tokens", "seconds"]
TITLES = {"tokens": "training tokens", "seconds": "seconds of training"}


def curve_plots(study: Study, axis: Axis = "tokens") -> dict[str, Figure]:
    """One plot a source: the metric over tokens or seconds, mean over seeds with their range."""
    found = {}
    encoding = encode(study.settings)
    for source in study.sources:
        every = study.of_source(source)
        which = ", ".join(filter(None, [f"{source}: over {axis}", how_many(len(every))]))
        drawn = figure(which, CURVE_PX, TITLES[axis], study.metric.label)
        measured = _measured(study)
        lines = [_curve(measured[s], axis) for s in shown(every)]
        for setting, line in zip(shown(every), lines, strict=True):
            if line is not None:
                _add_curve(drawn, setting, line, encoding, study.metric, axis)
        if drawn.data:
            _frame_curves(drawn, [line for line in lines if line is not None], study.metric)
            drawn.update_xaxes(tickformat="~s" if axis == "tokens" else "~g")
            found[source] = drawn
    return found


Curve = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Tokens or seconds; mean, lowest and highest over seeds. float64, all of the same length."""


Measured = tuple[list[np.ndarray], list[np.ndarray], int]
"""(tokens, value) and (tokens, seconds), float64 [rows, 2], of the runs of a setting that have a
curve of them; the number of runs."""


@once
def _measured(study: Study) -> dict[Setting, Measured]:
    """Of each setting that is drawn, read once for both axes."""
    drawn = [setting for source in study.sources for setting in shown(study.of_source(source))]
    key = study.metric.key
    return {s: (*_both(s, key), len(s.runs)) for s in drawn}


def _both(setting: Setting, key: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    pairs = [(run.points(key), run.points("seconds")) for run in setting.runs]  # run by run
    series, clocks = zip(*pairs, strict=True)
    return _arrays(series), _arrays(clocks)


def _arrays(curves: Sequence[Sequence[tuple[float, float]]]) -> list[np.ndarray]:
    return [np.array(points) for points in curves if len(points) > 1]


def _curve(measured: Measured, axis: Axis) -> Curve | None:
    """Mean and range over seeds on the union of their tokens, within what all seeds cover.

    Over seconds a point stands at the mean time that the seeds took to its tokens: what is
    averaged is equally trained, though no two runs are equally fast.
    """
    series, clocks, runs = measured
    if not series or len(series) < runs or (axis == "seconds" and len(clocks) < runs):
        return None
    low, high = max(p_N2[0, 0] for p_N2 in series), min(p_N2[-1, 0] for p_N2 in series)
    union = np.unique(np.concatenate([p_N2[:, 0] for p_N2 in series]))
    tokens_N = union[(union >= low) & (union <= high)]
    if len(tokens_N) < 2:
        return None
    if len(tokens_N) > CURVE_POINTS:
        picked = np.linspace(0, len(tokens_N) - 1, CURVE_POINTS).round().astype(int)
        tokens_N = tokens_N[picked]
    values_SN = _at(tokens_N, series)
    x_N = tokens_N if axis == "tokens" else _at(tokens_N, clocks).mean(0)
    return x_N, values_SN.mean(0), values_SN.min(0), values_SN.max(0)


def _at(tokens_N: np.ndarray, series: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([np.interp(tokens_N, p_N2[:, 0], p_N2[:, 1]) for p_N2 in series])


def _add_curve(
    drawn: Figure, setting: Setting, curve: Curve, encoding: Encoding, metric: Metric, axis: Axis
) -> None:
    x_N, mean_N, low_N, high_N = curve
    colour = encoding.colour(setting)
    x = "%{x:.3s}" if axis == "tokens" else "%{x:.4~g}"
    if len(setting.runs) > 1:
        drawn.add_scatter(
            x=[*x_N, *x_N[::-1]], y=[*high_N, *low_N[::-1]], fill="toself", mode="lines",
            line={"width": 0}, fillcolor=translucent(colour), hoverinfo="skip",
        )  # fmt: skip
    drawn.add_scatter(
        x=list(x_N), y=list(mean_N), mode="lines", name=label(setting.label),
        line={"color": colour, "width": 2, "dash": encoding.dash(setting)},
        hovertemplate=(
            f"{label(setting.label)}<br>{x} {axis}: "
            f"%{{y:.{metric.decimals}f}}<extra></extra>"
        ),
    )  # fmt: skip


def _frame_curves(drawn: Figure, curves: Sequence[Curve], metric: Metric) -> None:
    """Cut the first steps, where everything is equally bad, so that the ends can be told apart."""
    ends = [float(mean_N[-1]) for _, mean_N, _, _ in curves]
    starts = [float(mean_N[0]) for _, mean_N, _, _ in curves]
    best, worst_end = (min(ends), max(ends)) if metric.lower_is_better else (max(ends), min(ends))
    edge = worst_end + (worst_end - best) + 0.35 * (np.median(starts) - worst_end)
    everything = [float(v) for _, _, low_N, high_N in curves for v in (low_N.min(), high_N.max())]
    if metric.lower_is_better:
        bottom, top = min(everything), min(max(everything), max(edge, worst_end))
    else:
        bottom, top = max(min(everything), min(edge, worst_end)), max(everything)
    pad = 0.04 * (top - bottom) or 0.1
    drawn.update_yaxes(range=[bottom - pad, top + pad])
    drawn.update_xaxes(rangemode="tozero", nticks=6)
