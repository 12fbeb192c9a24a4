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

from lm_research.analysis.statistics import Estimate, holm_defined

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
    """Setting means and what noise does to them: covariance is ``noise`` * ``spread_KK``."""

    cells: tuple[Levels, ...]
    means_K: np.ndarray
    spread_KK: np.ndarray
    noise: float  # mean square
    freedom: int
    runs_K: np.ndarray
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
    seeds = sorted({seed for by_seed in values.values() for seed in by_seed})
    blocked = len(seeds) > 1 and all(set(by_seed) == set(seeds) for by_seed in values.values())
    rows = [(k, seed, y) for k, cell in enumerate(cells) for seed, y in values[cell].items()]
    design = np.zeros((len(rows), len(cells) + (len(seeds) - 1 if blocked else 0)))
    for row, (k, seed, _) in enumerate(rows):
        design[row, k] = 1
        if blocked:  # sum-to-zero columns, so that a setting's mean is over its seeds
            design[row, len(cells) :] = _sum_coded(seeds.index(seed), len(seeds))
    y_N = np.array([y for _, _, y in rows])
    beta = np.linalg.lstsq(design, y_N, rcond=None)[0]
    freedom = len(rows) - design.shape[1]
    squares = float(((y_N - design @ beta) ** 2).sum())
    if squares <= len(rows) * (ROUNDING * float(np.abs(y_N).max())) ** 2:
        squares = 0.0  # a rounding error must not pass for noise
    spread = np.linalg.inv(design.T @ design)[: len(cells), : len(cells)]
    runs_K = np.array([len(values[cell]) for cell in cells])
    noise = squares / freedom if freedom else 0.0
    return _Fit(cells, beta[: len(cells)], spread, noise, freedom, runs_K, blocked)


def _sum_coded(index: int, count: int) -> np.ndarray:
    return np.full(count - 1, -1.0) if index == count - 1 else np.eye(count - 1)[index]


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
    averaging_LK = np.zeros((len(wanted), len(fit.cells)))
    for found in whole:
        for row, levels in enumerate(wanted):
            averaging_LK[row, found[levels]] = 1 / len(whole)
    centring_LL: np.ndarray = np.ones((1, 1))
    for each in names:
        centring_LL = np.kron(centring_LL, np.eye(len(each)) - 1 / len(each))
    freedom = int(np.prod([len(each) - 1 for each in names]))
    contrasts_LK = centring_LL @ averaging_LK
    f, p, eta = _f_test(contrasts_LK, fit, freedom)
    counts_L = (averaging_LK > 0) @ fit.runs_K
    effects, means = (
        _estimates(rows_LK, fit, counts_L, level) for rows_LK in (contrasts_LK, averaging_LK)
    )
    contrasts = tuple(Contrast(*parts) for parts in zip(wanted, effects, means, strict=True))
    term_axes = tuple(axes[i] for i in places)
    return Term(term_axes, contrasts, (freedom, fit.freedom), f, p, eta, len(whole), len(by_block))


def _estimates(
    rows_LK: np.ndarray, fit: _Fit, counts_L: np.ndarray, level: float
) -> list[Estimate]:
    """Linear functions of the setting means with Student's t intervals."""
    centre_L = rows_LK @ fit.means_K
    if not fit.freedom:
        return [
            Estimate(float(x), int(n), level=level) for x, n in zip(centre_L, counts_L, strict=True)
        ]
    from scipy.special import stdtrit

    error_L = np.sqrt(np.einsum("lk,kj,lj->l", rows_LK, fit.spread_KK, rows_LK) * fit.noise)
    half_L = float(stdtrit(fit.freedom, (1 + level) / 2)) * error_L
    return [
        Estimate(float(x), int(n), None, float(x - half), float(x + half), level)
        for x, n, half in zip(centre_L, counts_L, half_L, strict=True)
    ]


def _f_test(
    contrasts_LK: np.ndarray, fit: _Fit, freedom: int
) -> tuple[float | None, float | None, float | None]:
    """F = (Lm)' (L S L')^+ (Lm) / df / noise; its p; partial eta squared."""
    if not fit.freedom or not fit.noise:
        return None, None, None
    from scipy.special import fdtrc

    effect_L = contrasts_LK @ fit.means_K
    spread_LL = contrasts_LK @ fit.spread_KK @ contrasts_LK.T
    squares = float(effect_L @ np.linalg.pinv(spread_LL, hermitian=True) @ effect_L)
    f = squares / freedom / fit.noise
    return f, float(fdtrc(freedom, fit.freedom, f)), squares / (squares + fit.noise * fit.freedom)
