"""Comparisons between settings: along an axis, between sources, and of the best with the next.

Every comparison is paired: the same seed, and the same choices on all other axes. Where runs are
missing, the largest complete block is used, so that no average hides a different composition.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

from lm_research.analysis.blocks import Block, Cells, complete_block, seed_means
from lm_research.analysis.documents import DocumentDifference, Pair, document_difference
from lm_research.analysis.metric import Metric
from lm_research.analysis.questions import Question, cells_of, own_question
from lm_research.analysis.runs import Run
from lm_research.analysis.settings import Setting
from lm_research.analysis.statistics import (
    Estimate,
    PairedDifference,
    holm_defined,
    mean,
    paired_difference,
    t_interval,
)

Paired = tuple[PairedDifference, list[float]]
"""A difference over seeds, and each block's own mean difference."""
ALPHA = 0.05


@dataclass(frozen=True)
class Level:
    """One value of an axis.

    Args:
        value: the option.
        estimate: mean over the other axes, interval over seeds (``None``: no complete block).
        behind: how much worse than the best level, paired (``None``: nothing shared, or the best).
        adjusted: p of that difference, Holm-adjusted over all pairs of the axis's levels.
        blocks: number of other-axes combinations in the difference.
        ahead: in how many of them the best level is better on average over seeds.
        documents: the same difference, over evaluation documents.
    """

    value: str
    estimate: Estimate | None
    behind: PairedDifference | None = None
    adjusted: float | None = None
    blocks: int = 0
    ahead: int = 0
    documents: DocumentDifference | None = None

    @property
    def real(self) -> bool:
        """Whether it differs from the best level beyond seed noise, after Holm's correction."""
        return self.adjusted is not None and self.adjusted < ALPHA


@dataclass(frozen=True)
class Effect:
    """The main effect of one axis: its levels, best first."""

    axis: str
    levels: tuple[Level, ...]
    evaluations: tuple[str, ...] = ()  # for the data axis: the sources averaged over


@dataclass(frozen=True)
class Winner:
    """The best setting of one training source, and the next."""

    source: str
    best: Setting
    estimate: Estimate
    runner_up: Setting | None = None
    lead: PairedDifference | None = None
    adjusted: float | None = None
    documents: DocumentDifference | None = None

    @property
    def real(self) -> bool:
        """Whether the lead exceeds seed noise, after Holm's correction over the sources."""
        return self.adjusted is not None and self.adjusted < ALPHA


def paired_levels(first: Cells, second: Cells) -> Paired | None:
    """first - second at equal block and seed.

    d_s is the mean over the blocks under seed s; the interval is over the d_s, so that a seed's
    influence may be shared by all blocks. Also returns each block's own mean difference. ``None``
    if nothing is shared.
    """
    blocks, seeds = complete_block(first.keys() & second.keys())
    if not blocks or not seeds:
        return None
    difference = paired_difference(
        seed_means(first, blocks, seeds), seed_means(second, blocks, seeds)
    )
    return difference, [mean([first[b, s] - second[b, s] for s in seeds]) for b in blocks]


def main_effect(settings: Sequence[Setting], axis: str, question: Question) -> Effect | None:
    """The effect of one axis, averaged over the others, paired by (other choices, seed).

    See :func:`compare_levels`. ``None`` if fewer than two levels have values.
    """
    by_level: dict[str, list[Setting]] = {}
    for setting in settings:
        by_level.setdefault(setting[axis], []).append(setting)
    cells = {name: cells_of(level, (axis,), question) for name, level in by_level.items()}
    cells = {name: found for name, found in cells.items() if found}
    if len(cells) < 2:
        return None
    best, *others = compare_levels(cells, question.metric)

    def told(level: Level) -> Level:
        sides = by_level[level.value], by_level[best.value]
        if not question.metric.lower_is_better:
            sides = sides[::-1]
        return replace(level, documents=by_documents(*sides, (axis,), question))

    return Effect(axis, (best, *(told(level) if level.behind else level for level in others)))


def by_documents(
    first: Iterable[Setting], second: Iterable[Setting], axes: Sequence[str], question: Question
) -> DocumentDifference | None:
    """first - second in bits per byte over documents, from the runs that are compared by seed.

    Args:
        axes: the axes on which the two differ; runs pair at equal values of all others.

    Returns:
        ``None`` where the metric is not bits per byte, or some run's documents are not recorded.
    """
    if not question.metric.key.endswith("/bits_per_byte"):
        return None
    runs, rivals = (_runs(side, axes, question) for side in (first, second))
    blocks, seeds = complete_block(runs.keys() & rivals.keys())

    def pairs() -> Iterator[Pair]:
        for key in product(blocks, seeds):
            (run, groups), (rival, others) = runs[key], rivals[key]
            yield from ((run, rival, *pair) for pair in zip(groups, others, strict=True))

    return document_difference(pairs())


def _runs(
    settings: Iterable[Setting], axes: Sequence[str], question: Question
) -> dict[tuple[Block, int], tuple[Run, Sequence[str]]]:
    """The runs that have a score, with the evaluations that it averages."""
    found = {}
    for setting in settings:
        scored, groups = question.score(setting), question.groups(setting)
        for run in setting.runs:
            if run.seed is not None and run.seed in scored:
                found[setting.others(*axes), run.seed] = run, groups
    return found


def compare_levels(cells: Mapping[str, Cells], metric: Metric) -> tuple[Level, ...]:
    """The levels of an axis, the best first, each compared with the best.

    Levels are ranked by their mean paired gain over the other levels, which in a full grid is the
    order of their means. Interval and t-test are over seeds, for exactly the other choices tried.
    p is Holm-adjusted over all pairs of levels, not only those with the best: which level is the
    best was read off the same numbers, and correcting for m - 1 comparisons alone would call 6 to
    9 % of axes without any effect real (3 to 6 levels).
    """
    pairs = list(combinations(cells, 2))
    found = {(a, b): paired_levels(cells[a], cells[b]) for a, b in pairs}
    adjusted = holm_defined([pair[0].p if pair else None for pair in found.values()])
    p_of = {frozenset(pair): p for pair, p in zip(pairs, adjusted, strict=True)}
    best, *rest = _ranked(list(cells), found, metric)
    shared = set.intersection(*(set(level) for level in cells.values()))
    blocks, seeds = complete_block(shared)
    means = {
        name: t_interval(list(seed_means(level, blocks, seeds).values())) if blocks else None
        for name, level in cells.items()
    }
    levels = [_behind(name, cells[best], cells[name], means[name], metric) for name in rest]
    return (
        Level(best, means[best]),
        *(replace(level, adjusted=p_of[frozenset((best, level.value))]) for level in levels),
    )


def _ranked(
    names: Sequence[str], found: Mapping[tuple[str, str], Paired | None], metric: Metric
) -> list[str]:
    """Levels, the best first, by mean paired gain over the levels they share blocks with."""
    gains: dict[str, list[float]] = {name: [] for name in names}
    for (first, second), pair in found.items():
        if pair is not None:
            gain = metric.gain(pair[0].estimate.mean, 0.0)
            gains[first].append(gain)
            gains[second].append(-gain)
    return sorted(names, key=lambda n: mean(gains[n]) if gains[n] else -math.inf, reverse=True)


def _behind(
    name: str, best: Cells, cells: Cells, estimate: Estimate | None, metric: Metric
) -> Level:
    pair = paired_levels(cells, best) if metric.lower_is_better else paired_levels(best, cells)
    if pair is None:
        return Level(name, estimate)
    difference, by_block = pair
    ahead = sum(d > 0 for d in by_block)
    return Level(name, estimate, difference, None, len(by_block), ahead)


def winners(settings: Sequence[Setting], metric: Metric) -> tuple[Winner, ...]:
    """Per training source the best setting and its lead over the next, paired by seed.

    The lead is tested by the paired t-test, Holm-adjusted over the sources. That the two were
    picked by the same numbers does not make the test too lenient, since they are the closest to
    each other at the top; but the winner's own mean is flattered by having been picked.
    """
    found = []
    for source in dict.fromkeys(setting.source for setting in settings):
        here = [s for s in settings if s.source == source and s.values_by_seed(metric.key)]
        estimates = {s: s.estimate(metric.key) for s in here}
        ranked = sorted(here, key=lambda s: metric.gain(0.0, _mean(estimates[s])))
        if ranked:
            found.append(_winner(source, ranked, metric))
    adjusted = holm_defined([winner.lead.p if winner.lead else None for winner in found])
    return tuple(replace(w, adjusted=p) for w, p in zip(found, adjusted, strict=True))


def _mean(estimate: Estimate | None) -> float:
    assert estimate is not None
    return estimate.mean


def _winner(source: str, ranked: Sequence[Setting], metric: Metric) -> Winner:
    best = ranked[0]
    estimate = best.estimate(metric.key)
    assert estimate is not None
    if len(ranked) == 1:
        return Winner(source, best, estimate)
    first, second = (s.values_by_seed(metric.key) for s in ranked[:2])
    if not first.keys() & second.keys():
        return Winner(source, best, estimate, ranked[1])
    lead = (
        paired_difference(second, first)
        if metric.lower_is_better
        else paired_difference(first, second)
    )
    sides = (ranked[1:2], ranked[:1]) if metric.lower_is_better else (ranked[:1], ranked[1:2])
    documents = by_documents(*sides, best.axes, own_question(metric))
    return Winner(source, best, estimate, ranked[1], lead, documents=documents)
