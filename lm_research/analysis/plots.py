"""Plotly figures of a study. What differs in scale (the sources) is never drawn on one axis.

Backgrounds are transparent and ink is a neutral grey, so that a figure reads on light and dark;
the report restyles the ink to its theme.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lm_research.analysis.comparisons import Effect, Matrix
from lm_research.analysis.metric import Metric
from lm_research.analysis.palette import BEST_RGB, COLOURS, GRID, INK, Encoding, encode
from lm_research.analysis.settings import Setting
from lm_research.analysis.statistics import Estimate
from lm_research.analysis.study import Study
from lm_research.analysis.tables import best_rows, interval, plus_minus
from lm_research.config.visible import visible

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ROW_PX = 30
CURVE_PX = 300
SETTINGS_SHOWN = 30
"""A plot keeps so many settings of a source, the best: more cannot be told apart."""
CURVE_POINTS = 200
"""A curve keeps at most so many points: more cannot be seen, and weigh in the file."""


def label(text: str) -> str:
    """Plotly reads a subset of HTML in labels: defuse it."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def figure(title: str, height: int, x_title: str = "", y_title: str = "") -> "Figure":
    """An empty figure in the house style: no frame, faint grid, transparent."""
    import plotly.graph_objects as go

    axis: dict[str, Any] = {
        "gridcolor": GRID, "linecolor": GRID, "zeroline": False, "ticks": "", "automargin": True,
        "title": {"standoff": 8, "font": {"size": 12}}, "fixedrange": True,
    }  # fmt: skip
    drawn = go.Figure()
    drawn.update_layout(
        template="none",
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


# --- matrix -----------------------------------------------------------------------------------


def matrix_plot(study: Study, matrix: Matrix) -> "Figure":
    """Heat map with its numbers. The colour tells how close a row comes to the column's best."""
    metric = study.metric
    drawn = figure(
        f"{metric.label.capitalize()} by training and evaluation source",
        height=110 + 64 * len(matrix.rows), y_title="trained on",
    )  # fmt: skip
    shade = _shades(matrix, metric)
    best = best_rows(matrix, metric)
    drawn.add_heatmap(
        z=[[shade.get((r, c), None) for c in matrix.columns] for r in matrix.rows],
        x=[label(c) for c in matrix.columns], y=[label(r) for r in matrix.rows],
        colorscale=[[0, f"rgba({BEST_RGB},0.06)"], [1, f"rgba({BEST_RGB},0.92)"]],
        zmin=0, zmax=1, showscale=False, xgap=3, ygap=3, hoverongaps=False,
        customdata=[
            [_cell_hover(matrix, metric, r, c) for c in matrix.columns] for r in matrix.rows
        ],
        hovertemplate="trained on %{y}<br>evaluated on %{x}<br>%{customdata}<extra></extra>",
    )  # fmt: skip
    for row in matrix.rows:
        for column in matrix.columns:
            _annotate(drawn, matrix, metric, row, column, shade, best.get(column) == row)
    drawn.update_xaxes(side="top", title_text="evaluated on", showgrid=False, type="category")
    drawn.update_yaxes(autorange="reversed", showgrid=False, type="category")
    return drawn


def _shades(matrix: Matrix, metric: Metric) -> dict[tuple[str, str], float]:
    """1 for a column's best, 0 for the largest distance from the best in any column."""
    behind = {}
    for (row, column), estimate in matrix.cells.items():
        peers = [e.mean for (_, c), e in matrix.cells.items() if c == column]
        top = min(peers) if metric.lower_is_better else max(peers)
        behind[row, column] = metric.gain(top, estimate.mean)
    worst = max(behind.values(), default=0.0)
    return {cell: 1 - value / worst if worst else 0.5 for cell, value in behind.items()}


def _cell_hover(matrix: Matrix, metric: Metric, row: str, column: str) -> str:
    estimate = matrix.cells.get((row, column))
    return f"{label(plus_minus(metric, estimate))} {metric.label}"


def _annotate(
    drawn: "Figure", matrix: Matrix, metric: Metric, row: str, column: str,
    shade: dict[tuple[str, str], float], best: bool,
) -> None:  # fmt: skip
    estimate = matrix.cells.get((row, column))
    text = "–"
    if estimate is not None:
        number = metric.text(estimate.mean)
        text = f"<b>{number}</b>" if best else number
        half = label(metric.plus_minus(estimate.half_width))
        text += f"<br><span style='font-size:11px'>{half}</span>"
    font = {"size": 14}
    if shade.get((row, column), 0) > 0.75:  # on the strong colour white reads in either theme
        font["color"] = "#ffffff"  # type: ignore[assignment]
    drawn.add_annotation(x=label(column), y=label(row), text=text, showarrow=False, font=font)


# --- ablation ---------------------------------------------------------------------------------


def effect_plots(study: Study) -> list["Figure"]:
    """One plot an axis, all on one scale: how far each option is behind the axis's best."""
    metric = study.metric
    estimates = [x.behind.estimate for e in study.effects for x in e.levels if x.behind]
    span = _span([0.0], estimates)
    return [_effect_plot(effect, metric, span) for effect in study.effects]


def _effect_plot(effect: Effect, metric: Metric, span: list[float]) -> "Figure":
    drawn = figure(
        f"{effect.axis}: behind the best option",
        height=86 + ROW_PX * len(effect.levels), x_title=f"behind by ({metric.label})",
    )  # fmt: skip
    names = [label(level.value) for level in effect.levels]
    zero = Estimate(0.0, 0)
    estimates = [level.behind.estimate if level.behind else zero for level in effect.levels]
    solid = [place == 0 or level.real for place, level in enumerate(effect.levels)]
    shown = [i for i, level in enumerate(effect.levels) if i == 0 or level.behind]
    drawn.add_scatter(
        x=[estimates[i].mean for i in shown], y=[names[i] for i in shown], mode="markers",
        marker={"size": 10, "color": COLOURS[0], "line": {"width": 2, "color": COLOURS[0]},
                "symbol": ["circle" if solid[i] else "circle-open" for i in shown]},
        error_x=_bars([estimates[i] for i in shown], COLOURS[0]),
        customdata=[_effect_hover(effect, i, metric) for i in shown],
        hovertemplate="%{y}: %{customdata}<extra></extra>",
    )  # fmt: skip
    drawn.add_vline(x=0, line={"color": INK, "width": 1, "dash": "dot"})
    drawn.update_xaxes(range=span)
    drawn.update_yaxes(
        categoryorder="array", categoryarray=names[::-1], type="category", showgrid=False,
        range=[-0.6, len(names) - 0.4],
    )  # fmt: skip
    return drawn


def _effect_hover(effect: Effect, place: int, metric: Metric) -> str:
    level = effect.levels[place]
    if level.behind is None:
        return "the best"
    real, estimate = "real" if level.real else "not distinguishable", level.behind.estimate
    return f"{metric.text(estimate.mean)} ({interval(metric, estimate)}), {real}"


def setting_plots(study: Study) -> dict[str, "Figure"]:
    """One forest plot a source: every setting's mean, interval and single seeds, best on top."""
    found = {}
    encoding = encode(study.settings)
    for source in study.sources:
        settings = [s for s in study.of_source(source) if s.estimate(study.metric.key)]
        if settings:
            which = f"{source}: {_best(len(settings))}"
            shown = settings[:SETTINGS_SHOWN]
            found[source] = _setting_plot(study.metric, which, shown, encoding)
    return found


def _best(count: int) -> str:
    """What a plot shows of ``count`` settings."""
    if count <= SETTINGS_SHOWN:
        return "every setting"
    return f"the best {SETTINGS_SHOWN} of {count:,} settings"


def _setting_plot(
    metric: Metric, title: str, settings: Sequence[Setting], encoding: Encoding
) -> "Figure":
    drawn = figure(title, height=86 + ROW_PX * len(settings), x_title=metric.label)
    estimates = [e for s in settings if (e := s.estimate(metric.key))]
    every = [value for s in settings for value in s.values_by_seed(metric.key).values()]
    for setting, estimate in zip(settings, estimates, strict=True):
        colour, name = encoding.colour(setting), label(setting.label)
        seeds = setting.values_by_seed(metric.key)
        drawn.add_scatter(
            x=list(seeds.values()), y=[name] * len(seeds), mode="markers",
            marker={"size": 11, "opacity": 0.75, "symbol": "line-ns-open", "color": colour,
                    "line": {"width": 1.5}},
            customdata=list(seeds), hovertemplate="seed %{customdata}: %{x:.4f}<extra></extra>",
        )  # fmt: skip
        drawn.add_scatter(
            x=[estimate.mean], y=[name], mode="markers",
            marker={"size": 10, "color": colour, "symbol": encoding.symbol(setting)},
            error_x=_bars([estimate], colour),
            customdata=[f"{label(plus_minus(metric, estimate))}, n = {estimate.n}"],
            hovertemplate="%{y}: %{customdata}<extra></extra>",
        )  # fmt: skip
    names = [label(setting.label) for setting in settings]
    drawn.update_xaxes(range=_span(every, estimates))
    drawn.update_yaxes(
        categoryorder="array",
        categoryarray=names[::-1],
        type="category",
        range=[-0.6, len(names) - 0.4],
    )
    return drawn


def _bars(estimates: Sequence[Estimate], colour: str) -> dict[str, Any]:
    widths = [estimate.half_width or 0.0 for estimate in estimates]
    return {"type": "data", "array": widths, "color": colour, "thickness": 1.6, "width": 0}


def _span(values: Sequence[float], estimates: Sequence[Estimate]) -> list[float]:
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


# --- curves and speed -------------------------------------------------------------------------


def curve_plots(study: Study) -> dict[str, "Figure"]:
    """One plot a source: the metric over training tokens, mean over seeds with their range."""
    found = {}
    encoding = encode(study.settings)
    for source in study.sources:
        settings = study.of_source(source)
        which = "" if len(settings) <= SETTINGS_SHOWN else f", {_best(len(settings))}"
        drawn = figure(
            f"{source}: learning curves{which}", CURVE_PX, "training tokens", study.metric.label
        )
        settings = settings[:SETTINGS_SHOWN]
        lines = [_curve(s, study.metric) for s in settings]
        for setting, line in zip(settings, lines, strict=True):
            if line is not None:
                _add_curve(drawn, setting, line, encoding, study.metric)
        if drawn.data:
            _frame_curves(drawn, [line for line in lines if line is not None], study.metric)
            found[source] = drawn
    return found


Curve = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Tokens, mean, lowest and highest over seeds, float64, all of the same length."""


def _curve(setting: Setting, metric: Metric) -> Curve | None:
    """Mean and range over seeds on the union of their positions, within what all seeds cover."""
    series = [np.array(p) for run in setting.runs if len(p := run.points(metric.key)) > 1]
    if not series or len(series) < len(setting.runs):
        return None
    low, high = max(p_N2[0, 0] for p_N2 in series), min(p_N2[-1, 0] for p_N2 in series)
    union = np.unique(np.concatenate([p_N2[:, 0] for p_N2 in series]))
    tokens_N = union[(union >= low) & (union <= high)]
    if len(tokens_N) < 2:
        return None
    if len(tokens_N) > CURVE_POINTS:
        tokens_N = tokens_N[np.linspace(0, len(tokens_N) - 1, CURVE_POINTS).round().astype(int)]
    values_SN = np.stack([np.interp(tokens_N, p_N2[:, 0], p_N2[:, 1]) for p_N2 in series])
    return tokens_N, values_SN.mean(0), values_SN.min(0), values_SN.max(0)


def _add_curve(
    drawn: "Figure", setting: Setting, curve: Curve, encoding: Encoding, metric: Metric
) -> None:
    tokens_N, mean_N, low_N, high_N = curve
    colour = encoding.colour(setting)
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    if len(setting.runs) > 1:
        drawn.add_scatter(
            x=[*tokens_N, *tokens_N[::-1]], y=[*high_N, *low_N[::-1]], fill="toself", mode="lines",
            line={"width": 0}, fillcolor=f"rgba({red},{green},{blue},0.18)", hoverinfo="skip",
        )  # fmt: skip
    drawn.add_scatter(
        x=list(tokens_N), y=list(mean_N), mode="lines", name=label(setting.label),
        line={"color": colour, "width": 2, "dash": encoding.dash(setting)},
        hovertemplate=(
            f"{label(setting.label)}<br>%{{x:.3s}} tokens: "
            f"%{{y:.{metric.decimals}f}}<extra></extra>"
        ),
    )  # fmt: skip


def _frame_curves(drawn: "Figure", curves: Sequence[Curve], metric: Metric) -> None:
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
    drawn.update_xaxes(rangemode="tozero", tickformat="~s", nticks=6)


def speed_plots(study: Study) -> dict[str, "Figure"]:
    """One plot a source: quality against training speed; towards the better corner is better."""
    found = {}
    encoding, metric = encode(study.settings), study.metric
    for source in study.sources:
        settings = [
            s
            for s in study.of_source(source)[:SETTINGS_SHOWN]
            if s.estimate(metric.key) and s.average("perf/tokens_per_s")
        ]
        if len(settings) < 2:
            continue
        drawn = figure(
            f"{source}: quality against speed", CURVE_PX, "training tokens per second", metric.label
        )
        for setting in settings:
            _add_speed(drawn, setting, encoding, metric)
        drawn.update_xaxes(rangemode="tozero", tickformat="~s", nticks=6)
        found[source] = drawn
    return found


def _add_speed(drawn: "Figure", setting: Setting, encoding: Encoding, metric: Metric) -> None:
    estimate, colour = setting.estimate(metric.key), encoding.colour(setting)
    if estimate is None:
        return
    drawn.add_scatter(
        x=[setting.average("perf/tokens_per_s")], y=[estimate.mean], mode="markers",
        marker={"size": 11, "color": colour, "symbol": encoding.symbol(setting)},
        hovertemplate=(
            f"{label(setting.label)}<br>%{{x:.3s}} tokens/s<br>"
            f"%{{y:.{metric.decimals}f}} {metric.label}<extra></extra>"
        ),
    )  # fmt: skip
