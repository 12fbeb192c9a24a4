"""What a comparison asks of each setting: its own score, or one on texts that all share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lm_research.analysis.blocks import Cells
from lm_research.analysis.metric import Metric
from lm_research.analysis.runs import summary_keys
from lm_research.analysis.settings import Setting
from lm_research.analysis.statistics import mean

Score = Callable[[Setting], Mapping[int, float]]
"""Setting -> value by seed; empty where undefined."""
Groups = Callable[[Setting], Sequence[str]]
"""Setting -> the evaluations that its score averages: "val", "eval/SOURCE"."""


@dataclass(frozen=True)
class Question:
    """What is compared: a number of each setting, and the evaluations it comes from.

    Args:
        metric: quantity and direction.
        score: a setting's values by seed.
        groups: the evaluations whose documents the values are made of.
    """

    metric: Metric
    score: Score
    groups: Groups


def own_question(metric: Metric) -> Question:
    """The deciding metric itself."""
    group = metric.key.rpartition("/")[0]
    return Question(metric, lambda setting: setting.values_by_seed(metric.key), lambda _: (group,))


def transfer_question(metric: Metric, evaluations: Sequence[str]) -> Question:
    """The mean over the same evaluation sources, so that training sources compare."""

    def groups(setting: Setting) -> Sequence[str]:
        keys = [key_on(setting, name, metric) for name in evaluations]
        return [key.rpartition("/")[0] for key in keys]

    return Question(metric, transfer_score(metric, evaluations), groups)


def cells_of(settings: Iterable[Setting], axes: Sequence[str], question: Question) -> Cells:
    """Value by (choices on all axes but ``axes``, seed)."""
    return {
        (setting.others(*axes), seed): value
        for setting in settings
        for seed, value in question.score(setting).items()
    }


def evaluation_sources(settings: Sequence[Setting], metric: Metric) -> tuple[str, ...]:
    """The evaluation sources that any run was scored on, training sources first."""
    stem = "/" + metric.key.rsplit("/", 1)[-1]
    keys = summary_keys(run for setting in settings for run in setting.runs)
    scores = (key for key in keys if key.startswith("eval/") and key.endswith(stem))
    found = dict.fromkeys(key[len("eval/") : -len(stem)] for key in scores)
    order = list(dict.fromkeys(name for s in settings for name in s.source_names))
    return tuple(sorted(found, key=lambda name: order.index(name) if name in order else len(order)))


def key_on(setting: Setting, evaluation: str, metric: Metric) -> str:
    """The key of the score on an evaluation source; on the own source, the own split stands in."""
    own = evaluation in setting.source_names
    recorded = any(metric.on(evaluation) in run.summary for run in setting.runs)
    return metric.key if own and not recorded else metric.on(evaluation)


def on_source(setting: Setting, evaluation: str, metric: Metric) -> dict[int, float]:
    """Value by seed on an evaluation source."""
    return setting.values_by_seed(key_on(setting, evaluation, metric))


def transfer_score(metric: Metric, evaluations: Sequence[str]) -> Score:
    """Per seed the mean over the same evaluation sources, so that training sources compare."""

    def score(setting: Setting) -> dict[int, float]:
        columns = [on_source(setting, name, metric) for name in evaluations]
        seeds = set.intersection(*(set(column) for column in columns))
        return {seed: mean([column[seed] for column in columns]) for seed in sorted(seeds)}

    return score
