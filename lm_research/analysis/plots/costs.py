"""Quality against what it costs: speed in every study, and what the study's kind asks for."""

from typing import Any

from lm_research.analysis.metric import Metric
from lm_research.analysis.palette import Encoding, encode
from lm_research.analysis.panels import COSTS, study_kinds
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import figure, label
from lm_research.analysis.plots.settings import shown
from lm_research.analysis.settings import Setting
from lm_research.analysis.study import Study

COST_PX = 300
SPEED = "perf/tokens_per_s"
WORDS = {SPEED: "training tokens per second", **COSTS}
LARGER = 1.05
"""A cost that all settings share to a twentieth explains nothing, and is not drawn."""


def cost_plots(study: Study) -> list[Figure]:
    """One plot a source and a cost; towards the better corner is better.

    Architectures and sizes are looked at against parameters, FLOPs and seconds, on a logarithmic
    axis; sizes with the metric on one, too, as a law of scaling is a line there.
    """
    kinds = study_kinds(study.axes, study.sweep.searched)
    paid = {"architectures", "scaling"} & set(kinds)
    costs = (SPEED, *(COSTS if paid else ()))
    drawn = (_cost_plot(study, source, cost) for source in study.sources for cost in costs)
    found = [one for one in drawn if one is not None]
    if kinds == ("scaling",):
        for one in found:
            one.update_yaxes(type="log", nticks=6)
    return found


def _cost_plot(study: Study, source: str, cost: str) -> Figure | None:
    metric = study.metric
    best = shown(study.of_source(source))
    settings = [s for s in best if s.estimate(metric.key) and s.average(cost)]
    values = [s.average(cost) or 0.0 for s in settings]
    if len(settings) < 2 or (cost != SPEED and max(values) < LARGER * min(values)):
        return None
    title = "speed" if cost == SPEED else WORDS[cost]
    drawn = figure(f"{source}: quality against {title}", COST_PX, WORDS[cost], metric.label)
    encoding = encode(study.settings)
    for setting in settings:
        _add(drawn, setting, cost, encoding, metric)
    scale: dict[str, Any] = (
        {"rangemode": "tozero", "nticks": 6} if cost == SPEED else {"type": "log", "dtick": "D2"}
    )
    drawn.update_xaxes(tickformat="~s", **scale)
    return drawn


def _add(drawn: Figure, setting: Setting, cost: str, encoding: Encoding, metric: Metric) -> None:
    estimate, colour = setting.estimate(metric.key), encoding.colour(setting)
    if estimate is None:
        return
    drawn.add_scatter(
        x=[setting.average(cost)], y=[estimate.mean], mode="markers",
        marker={"size": 11, "color": colour, "symbol": encoding.symbol(setting)},
        hovertemplate=(
            f"{label(setting.label)}<br>%{{x:.3s}} {WORDS[cost]}<br>"
            f"%{{y:.{metric.decimals}f}} {metric.label}<extra></extra>"
        ),
    )  # fmt: skip
