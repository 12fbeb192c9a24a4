"""Architectures along their sizes: settings of about the same cost are levels of one axis.

Units of a layer say nothing between architectures, so that a study of sizes is no grid of model and
units. It is one of model and size, where the sizes are told by what they cost.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from lm_research.analysis.metric import compact
from lm_research.analysis.panels import COSTS
from lm_research.analysis.settings import Setting
from lm_research.analysis.statistics import mean
from lm_research.analysis.study import Study, regrouped

AXIS = "size"
APART = 1.5
"""Neighbours whose costs are a factor of this or more apart are of two sizes."""


def by_size(study: Study, cost: str) -> Study:
    """The study with the size in place of the model's own fields, compared along it.

    Args:
        cost: a number of runs' summaries: ``model/parameters``, ``train/flops``.

    Returns:
        The study as it is where a cost is not recorded; without comparisons where a model has two
        settings of one size, since no size is a level then.
    """
    costs = {setting: setting.average(cost) for setting in study.settings}
    if not costs or None in costs.values():
        return study
    axes = (*(axis for axis in study.axes if not axis.startswith("model.")), AXIS)
    settings = []
    for size in _sizes({setting: found or 0.0 for setting, found in costs.items()}):
        named = _name([found for setting in size if (found := costs[setting])], cost)
        for setting in size:
            values = (*(setting[axis] for axis in axes[:-1]), named)
            settings.append(replace(setting, axes=axes, values=values))
    if len({setting.values for setting in settings}) < len(settings):
        return replace(study, effects=(), factorial=None)
    return regrouped(study, settings, axes)


def _sizes(costs: dict[Setting, float]) -> list[list[Setting]]:
    """By rising cost, cut where the next is much dearer."""
    ranked = sorted(costs, key=lambda setting: costs[setting])
    found = [[ranked[0]]]
    for before, setting in itertools.pairwise(ranked):
        if costs[setting] < APART * costs[before]:
            found[-1].append(setting)
        else:
            found.append([setting])
    return found


def _name(costs: Sequence[float], cost: str) -> str:
    """ "about 120k parameters": two digits, since the settings differ in the third."""
    return f"about {compact(float(f'{mean(costs):.1e}'))} {COSTS.get(cost, cost)}"
