"""Comparisons between settings: along an axis, between sources, and of the best with the next.

Every comparison is paired: the same seed, and the same choices on all other axes. Where runs are
missing, the largest complete block is used, so that no average hides a different composition.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from lm_research.analysis.metric import Metric
from lm_research.analysis.settings import Setting
from lm_research.analysis.statistics import (
    Estimate,
    PairedDifference,
    holm_defined,
    mean,
    paired_difference,
    t_interval,
)

Block = tuple[str, ...]
"""The choices on the other axes, which a comparison holds fixed."""
Cells = dict[tuple[Block, int], float]
"""Value by (block, seed)."""
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
    """

    value: str
    estimate: Estimate | None
    behind: PairedDifference | None = None
    adjusted: float | None = None
    blocks: int = 0
    ahead: int = 0

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
class Matrix:
    """Training source (rows) by evaluation source (columns).

    ``cells`` holds the mean over the other axes with its interval over seeds. ``own`` says that
    the diagonal was not recorded and is filled with the training source's own validation split.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Estimate]
    blocks: Mapping[str, int]  # by column: settings averaged in each cell
    possible: int
    own: bool = False


@dataclass(frozen=True)
class Winner:
    """The best setting of one training source, and the next."""

    source: str
    best: Setting
    estimate: Estimate
    runner_up: Setting | None = None
    lead: PairedDifference | None = None
    adjusted: float | None = None

    @property
    def real(self) -> bool:
        """Whether the lead exceeds seed noise, after Holm's correction over the sources."""
        return self.adjusted is not None and self.adjusted < ALPHA


def complete_block(cells: Iterable[tuple[Block, int]]) -> tuple[list[Block], list[int]]:
    """A complete blocks x seeds rectangle inside ``cells``, by dropping what has most holes.

    Greedy: while a hole is left, the block or the seed with the largest share of holes goes (on a
    tie the block, since the seeds carry the interval).
    """
    present = set(cells)
    blocks = list(dict.fromkeys(block for block, _ in sorted(present)))
    seeds = sorted({seed for _, seed in present})
    while blocks:
        by_block = {b: sum((b, s) not in present for s in seeds) / len(seeds) for b in blocks}
        by_seed = {s: sum((b, s) not in present for b in blocks) / len(blocks) for s in seeds}
        worst_block = max(blocks, key=lambda b: by_block[b])
        worst_seed = max(seeds, key=lambda s: by_seed[s])
        if not by_block[worst_block]:
            break
        if by_seed[worst_seed] > by_block[worst_block]:
            seeds.remove(worst_seed)
        else:
            blocks.remove(worst_block)
    return blocks, seeds


def seed_means(cells: Cells, blocks: Sequence[Block], seeds: Sequence[int]) -> dict[int, float]:
    """Per seed, the mean over ``blocks``: the replicates of everything averaged over axes."""
    return {seed: mean([cells[block, seed] for block in blocks]) for seed in seeds}


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


Score = Callable[[Setting], Mapping[int, float]]
"""Setting -> value by seed; empty where undefined."""


def main_effect(
    settings: Sequence[Setting], axis: str, metric: Metric, score: Score | None = None
) -> Effect | None:
    """The effect of one axis, averaged over the others, paired by (other choices, seed).

    ``score`` gives a setting's values by seed (default: the metric's own). See
    :func:`compare_levels`. ``None`` if fewer than two levels have values.
    """
    score = score or (lambda setting: setting.values_by_seed(metric.key))
    cells: dict[str, Cells] = {}
    for setting in settings:
        for seed, value in score(setting).items():
            cells.setdefault(setting[axis], {})[setting.others(axis), seed] = value
    return Effect(axis, compare_levels(cells, metric)) if len(cells) > 1 else None


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


def evaluation_sources(settings: Sequence[Setting], metric: Metric) -> tuple[str, ...]:
    """The evaluation sources that any run was scored on, training sources first."""
    stem = "/" + metric.key.rsplit("/", 1)[-1]
    found = dict.fromkeys(
        key[len("eval/") : -len(stem)]
        for setting in settings
        for run in setting.runs
        for key in run.summary
        if key.startswith("eval/") and key.endswith(stem)
    )
    order = list(dict.fromkeys(name for s in settings for name in s.source_names))
    return tuple(sorted(found, key=lambda name: order.index(name) if name in order else len(order)))


def on_source(setting: Setting, evaluation: str, metric: Metric) -> dict[int, float]:
    """Value by seed on an evaluation source; on the own source, the own split stands in."""
    own = evaluation in setting.source_names
    recorded = any(metric.on(evaluation) in run.summary for run in setting.runs)
    key = metric.key if own and not recorded else metric.on(evaluation)
    return setting.values_by_seed(key)


def transfer_score(metric: Metric, evaluations: Sequence[str]) -> Score:
    """Per seed the mean over the same evaluation sources, so that training sources compare."""

    def score(setting: Setting) -> dict[int, float]:
        columns = [on_source(setting, name, metric) for name in evaluations]
        seeds = set.intersection(*(set(column) for column in columns))
        return {seed: mean([column[seed] for column in columns]) for seed in sorted(seeds)}

    return score


def source_matrix(settings: Sequence[Setting], metric: Metric) -> Matrix | None:
    """The training source x evaluation source matrix, averaged over the other axes.

    A column compares its rows, so each column averages the blocks and seeds that all of its rows
    have. ``None`` if no run was scored on another source.
    """
    columns = evaluation_sources(settings, metric)
    rows = tuple(dict.fromkeys(setting.source for setting in settings))
    if not columns:
        return None
    cells: dict[tuple[str, str], Estimate] = {}
    used: dict[str, int] = {}
    for column in columns:
        values: dict[str, Cells] = {}
        for setting in settings:
            for seed, value in on_source(setting, column, metric).items():
                values.setdefault(setting.source, {})[setting.others("data"), seed] = value
        if not values:
            continue
        blocks, seeds = complete_block(set.intersection(*map(set, values.values())))
        used[column] = len(blocks)
        for row in values if blocks and seeds else ():
            cells[row, column] = t_interval(list(seed_means(values[row], blocks, seeds).values()))
    possible = len({setting.others("data") for setting in settings})
    own = any(
        name in s.source_names and all(metric.on(name) not in run.summary for run in s.runs)
        for s in settings
        for name in columns
    )
    return Matrix(rows, columns, cells, used, possible, own)


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
    return Winner(source, best, estimate, ranked[1], lead)
