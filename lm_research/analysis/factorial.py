"""Main effects and interactions of a factorial sweep: sum-to-zero contrasts of setting means.

The model is y = setting + seed + noise. Its noise, pooled over all settings, is what the intervals
and F tests measure against; effects are contrasts of the fitted setting means, so that with unequal
numbers of seeds they are those of the unweighted means (type III sums of squares). Seeds are a
block where every setting has the same ones; otherwise they are replicates within a setting.

Where settings are missing, a term uses the choices on the other axes that have every combination
of the term's own levels; a term without any is left out and named.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np

from lm_research.analysis.statistics import Estimate, holm_defined, mean

Levels = tuple[str, ...]
ROUNDING = 1e-12


@dataclass(frozen=True)
class Contrast:
    """A level's (or pair of levels') deviation from what the lower-order terms say.

    Args:
        levels: one level for each axis of the term.
        effect: the deviation, with its interval; ``n`` counts runs.
        mean: the mean of the settings with these levels.
    """

    levels: Levels
    effect: Estimate
    mean: Estimate


@dataclass(frozen=True)
class Term:
    """A main effect (one axis) or an interaction (two).

    Args:
        axes: its axes.
        contrasts: sum to zero over the levels of each axis.
        freedom: degrees of freedom of the term, and of the noise.
        f: the F statistic; ``None`` without replicates, or without noise.
        p: its p value.
        adjusted: p, Holm-adjusted over the study's terms.
        partial_eta: SS of the term / (SS of the term + SS of the noise): partial eta squared.
        blocks: choices on the other axes that are averaged.
        possible: how many there are.
    """

    axes: Levels
    contrasts: tuple[Contrast, ...]
    freedom: tuple[int, int]
    f: float | None
    p: float | None
    partial_eta: float | None
    blocks: int
    possible: int
    adjusted: float | None = None


@dataclass(frozen=True)
class Factorial:
    """The terms of a study; ``left_out`` names those that no complete part of the grid shows."""

    terms: tuple[Term, ...]
    left_out: tuple[Levels, ...] = ()
    seeds_are_blocks: bool = True


@dataclass(frozen=True, eq=False)
class _Fit:
    """Setting means; the variance of setting k's is ``noise`` / ``runs_K[k]``.

    With seeds as blocks that is so, too: each setting has each seed once, so that the seeds'
    effects cancel in its mean.
    """

    cells: tuple[Levels, ...]
    means_K: np.ndarray
    runs_K: np.ndarray
    noise: float  # mean square
    freedom: int
    blocked: bool


def factorial(
    axes: Sequence[str], values: Mapping[Levels, Mapping[int, float]], level: float = 0.95
) -> Factorial | None:
    """Main effects and two-way interactions.

    Args:
        axes: names of the axes.
        values: a setting's levels, one for each axis -> value by seed.
        level: of the intervals.

    Returns:
        ``None`` with fewer than two settings.
    """
    cells = {levels: by_seed for levels, by_seed in values.items() if by_seed}
    if len(cells) < 2:
        return None
    fit = _fit(cells)
    varied = [i for i in range(len(axes)) if len({levels[i] for levels in cells}) > 1]
    terms, left_out = [], []
    for places in [*((i,) for i in varied), *combinations(varied, 2)]:
        term = _term(axes, places, fit, level)
        if term is None:
            left_out.append(tuple(axes[i] for i in places))
        else:
            terms.append(term)
    return Factorial(adjusted(terms), tuple(left_out), fit.blocked)


def adjusted(terms: Iterable[Term]) -> tuple[Term, ...]:
    """The terms with p adjusted over all of them."""
    listed = list(terms)
    p_values = holm_defined([term.p for term in listed])
    return tuple(replace(term, adjusted=p) for term, p in zip(listed, p_values, strict=True))


def _fit(values: Mapping[Levels, Mapping[int, float]]) -> _Fit:
    """Least squares of y on setting and, where every setting has each seed, on seed."""
    cells = tuple(values)
    runs_K = np.array([len(values[cell]) for cell in cells])
    means_K = np.array([mean(list(values[cell].values())) for cell in cells])
    seeds = sorted(values[cells[0]])
    blocked = len(seeds) > 1 and all(sorted(by_seed) == seeds for by_seed in values.values())
    rest_by_cell = [
        {seed: y - centre for seed, y in values[cell].items()}
        for cell, centre in zip(cells, means_K, strict=True)
    ]
    freedom = int(runs_K.sum()) - len(cells)
    shift = dict.fromkeys({seed for rest in rest_by_cell for seed in rest}, 0.0)
    if blocked:
        shift = {seed: mean([rest[seed] for rest in rest_by_cell]) for seed in seeds}
        freedom -= len(seeds) - 1
    rest_N = np.array([r - shift[seed] for rest in rest_by_cell for seed, r in rest.items()])
    squares = float((rest_N**2).sum())
    if squares <= len(rest_N) * (ROUNDING * float(np.abs(means_K).max())) ** 2:
        squares = 0.0  # a rounding error must not pass for noise
    return _Fit(cells, means_K, runs_K, squares / freedom if freedom else 0.0, freedom, blocked)


def _term(axes: Sequence[str], places: tuple[int, ...], fit: _Fit, level: float) -> Term | None:
    """One term; ``None`` if no choice on the other axes has all combinations of its levels."""
    names = [list(dict.fromkeys(cell[i] for cell in fit.cells)) for i in places]
    wanted = list(product(*names))
    by_block: dict[Levels, dict[Levels, int]] = {}
    for k, cell in enumerate(fit.cells):
        rest = tuple(value for i, value in enumerate(cell) if i not in places)
        by_block.setdefault(rest, {})[tuple(cell[i] for i in places)] = k
    whole = [found for found in by_block.values() if len(found) == len(wanted)]
    if not whole:
        return None
    cells_LB = np.array([[found[levels] for found in whole] for levels in wanted])
    means_L = fit.means_K[cells_LB].mean(1)
    spread_L = (1 / fit.runs_K[cells_LB]).sum(1) / len(whole) ** 2  # variances over the noise
    counts_L = fit.runs_K[cells_LB].sum(1)
    centring_LL: np.ndarray = np.ones((1, 1))
    for each in names:
        centring_LL = np.kron(centring_LL, np.eye(len(each)) - 1 / len(each))
    freedom = int(np.prod([len(each) - 1 for each in names]))
    effects_L = centring_LL @ means_L
    f, p, eta = _f_test(effects_L, (centring_LL * spread_L) @ centring_LL, freedom, fit)
    means = _estimates(means_L, spread_L, counts_L, fit, level)
    effects = _estimates(effects_L, centring_LL**2 @ spread_L, counts_L, fit, level)
    contrasts = tuple(Contrast(*parts) for parts in zip(wanted, effects, means, strict=True))
    named = tuple(axes[i] for i in places)
    return Term(named, contrasts, (freedom, fit.freedom), f, p, eta, len(whole), len(by_block))


def _estimates(
    centre_L: np.ndarray, spread_L: np.ndarray, counts_L: np.ndarray, fit: _Fit, level: float
) -> list[Estimate]:
    """Values of variance ``spread_L`` * noise, with Student's t intervals."""
    if not fit.freedom:
        pairs = zip(centre_L, counts_L, strict=True)
        return [Estimate(float(x), int(n), level=level) for x, n in pairs]
    from scipy.special import stdtrit

    half_L = float(stdtrit(fit.freedom, (1 + level) / 2)) * np.sqrt(spread_L * fit.noise)
    return [
        Estimate(float(x), int(n), None, float(x - half), float(x + half), level)
        for x, n, half in zip(centre_L, counts_L, half_L, strict=True)
    ]


def _f_test(
    effects_L: np.ndarray, spread_LL: np.ndarray, freedom: int, fit: _Fit
) -> tuple[float | None, float | None, float | None]:
    """F = e' S^+ e / df / noise, of effects e with covariance S * noise; p; partial eta squared."""
    if not fit.freedom or not fit.noise:
        return None, None, None
    from scipy.special import fdtrc

    squares = float(effects_L @ np.linalg.pinv(spread_LL, hermitian=True) @ effects_L)
    f = squares / freedom / fit.noise
    return f, float(fdtrc(freedom, fit.freedom, f)), squares / (squares + fit.noise * fit.freedom)
