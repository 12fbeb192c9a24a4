"""Each architecture over its sizes: the metric along a cost."""

from lm_research.analysis.palette import COLOURS, DASHES, SYMBOLS
from lm_research.analysis.panels import COSTS
from lm_research.analysis.plots.drawing import Figure
from lm_research.analysis.plots.figure import bars, figure, label
from lm_research.analysis.settings import Setting
from lm_research.analysis.study import Study

SIZES_PX = 420


def sizes_plot(study: Study, cost: str) -> Figure:
    """A line a model through its settings, by rising cost; bars are intervals over seeds.

    Args:
        cost: a number of runs' summaries: ``model/parameters``, ``train/flops``.
    """
    key, shown = study.metric.key, COSTS.get(cost, cost)
    drawn = figure(
        f"{study.metric.label.capitalize()} against {shown}", SIZES_PX, shown, study.metric.label
    )
    scored = [s for s in study.settings if s.estimate(key) and s.average(cost)]
    models = dict.fromkeys(_model(setting) for setting in scored)
    for place, model in enumerate(models):
        mine = sorted((s for s in scored if _model(s) == model), key=lambda s: s.average(cost) or 0)
        estimates = [e for s in mine if (e := s.estimate(key))]
        colour = COLOURS[place % len(COLOURS)]
        drawn.add_scatter(
            x=[s.average(cost) for s in mine], y=[e.mean for e in estimates],
            mode="lines+markers", name=label(model), error_y=bars(estimates, colour),
            line={"color": colour, "width": 2, "dash": DASHES[place % len(DASHES)]},
            marker={"size": 8, "symbol": SYMBOLS[place % len(SYMBOLS)]},
        )  # fmt: skip
    drawn.update_xaxes(type="log")
    drawn.update_layout(
        showlegend=True, legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    )
    return drawn


def _model(setting: Setting) -> str:
    return setting.runs[0].choices.get("model") or "model"
