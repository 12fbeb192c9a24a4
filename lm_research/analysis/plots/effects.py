"""How far each option is behind the best of its axis."""

from lm_research.analysis.comparisons import Effect, Level
from lm_research.analysis.metric import Metric
from lm_research.analysis.palette import COLOURS, INK
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import ROW_PX, bars, figure, label, span
from lm_research.analysis.statistics import Estimate
from lm_research.analysis.study import Study
from lm_research.analysis.tables import interval, p_text


def effect_plots(study: Study) -> list[Figure]:
    """One plot an axis, all on one scale: how far each option is behind the axis's best."""
    metric = study.metric
    estimates = [x.behind.estimate for e in study.effects for x in e.levels if x.behind]
    limits = span([0.0], estimates)
    return [_effect_plot(effect, metric, limits) for effect in study.effects]


def _effect_plot(effect: Effect, metric: Metric, limits: list[float]) -> Figure:
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
        error_x=bars([estimates[i] for i in shown], COLOURS[0]),
        customdata=[_effect_hover(effect, i, metric) for i in shown],
        hovertemplate="%{y}: %{customdata}<extra></extra>",
    )  # fmt: skip
    drawn.add_vline(x=0, line={"color": INK, "width": 1, "dash": "dot"})
    drawn.update_xaxes(range=limits)
    drawn.update_yaxes(
        categoryorder="array", categoryarray=names[::-1], type="category", showgrid=False,
        tickmode="array", tickvals=names, ticktext=[_named(level) for level in effect.levels],
        range=[-0.6, len(names) - 0.4],
    )  # fmt: skip
    return drawn


def _named(level: Level) -> str:
    """The option, and under it its adjusted p."""
    name = label(level.value)
    if level.adjusted is None:
        return name
    return f"{name}<br><span style='font-size:10px'>p {label(p_text(level.adjusted))}</span>"


def _effect_hover(effect: Effect, place: int, metric: Metric) -> str:
    level = effect.levels[place]
    if level.behind is None:
        return "the best"
    real, estimate = "real" if level.real else "not distinguishable", level.behind.estimate
    return f"{metric.text(estimate.mean)} ({interval(metric, estimate)}), {real}"
