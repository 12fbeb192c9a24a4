"""Every setting: its mean and seeds."""

from collections.abc import Sequence

from lm_research.analysis.metric import Metric
from lm_research.analysis.palette import Encoding, encode
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import ROW_PX, bars, figure, label, span
from lm_research.analysis.settings import Setting
from lm_research.analysis.study import Study
from lm_research.analysis.tables import plus_minus

SETTINGS_SHOWN = 30
"""A plot keeps so many settings of a source, the best: more cannot be told apart."""


def shown(settings: Sequence[Setting]) -> Sequence[Setting]:
    """The settings that a plot draws, of all of a source's, best first."""
    return settings[:SETTINGS_SHOWN]


def how_many(count: int) -> str:
    """What a plot shows of ``count`` settings, for its title."""
    return f"the best {SETTINGS_SHOWN} of {count:,} settings" if count > SETTINGS_SHOWN else ""


def setting_plots(study: Study) -> dict[str, Figure]:
    """One forest plot a source: every setting's mean, interval and single seeds, best on top.

    Where each source has a single setting they share one plot, under the name "".
    """
    found = {}
    encoding = encode(study.settings)
    if study.one_a_source:
        settings = study.ranked(s for s in study.settings if s.estimate(study.metric.key))
        title = "Each source on its own held-out documents"
        return (
            {"": _setting_plot(study.metric, title, shown(settings), encoding)} if settings else {}
        )
    for source in study.sources:
        settings = [s for s in study.of_source(source) if s.estimate(study.metric.key)]
        if settings:
            title = f"{source}: {how_many(len(settings)) or 'every setting'}"
            found[source] = _setting_plot(study.metric, title, shown(settings), encoding)
    return found


def _setting_plot(
    metric: Metric, title: str, settings: Sequence[Setting], encoding: Encoding
) -> Figure:
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
            error_x=bars([estimate], colour),
            customdata=[f"{label(plus_minus(metric, estimate))}, n = {estimate.n}"],
            hovertemplate="%{y}: %{customdata}<extra></extra>",
        )  # fmt: skip
    names = [label(setting.label) for setting in settings]
    drawn.update_xaxes(range=span(every, estimates))
    drawn.update_yaxes(
        categoryorder="array",
        categoryarray=names[::-1],
        type="category",
        range=[-0.6, len(names) - 0.4],
    )
    return drawn
