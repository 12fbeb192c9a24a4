"""Intervals and tests over seeds.

The replicate is the seed: values x_1..x_n are one setting's results under n seeds. With one seed
there is no interval at all, and none is invented.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

EXACT_PERMUTATIONS = 14
"""Up to this many pairs all 2^n sign patterns are enumerated; beyond, they are sampled."""
SMALLEST_PERMUTATION_N = 6
"""Below this the smallest p a sign-flip test can give, 2 / 2^n, exceeds 0.05: it is left out."""
RESAMPLED_AT_ONCE = 1 << 22
"""Values held in memory while resampling."""
SAMPLES_AT_ONCE = 50
"""Samples resampled together: all resampled means of each are held in memory."""


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds with its interval; ``sd``, ``low``, ``high`` are ``None`` for n = 1."""

    mean: float
    n: int
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95

    @property
    def half_width(self) -> float | None:
        """Half of the interval's width, ``None`` with one seed."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2

    def excludes_zero(self) -> bool:
        """Whether the interval exists and does not hold 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class PairedDifference:
    """first - second, paired by seed.

    ``p`` is the two-sided p of the paired t-test (``None`` with one shared seed),
    ``p_permutation`` that of the sign-flip test (``None`` with fewer than six shared seeds).
    """

    estimate: Estimate
    seeds: tuple[int, ...]
    p: float | None
    p_permutation: float | None

    @property
    def d_z(self) -> float | None:
        """Cohen's d_z = mean(d) / sd(d); ``None`` with one seed, or without spread."""
        return self.estimate.mean / self.estimate.sd if self.estimate.sd else None

    @property
    def hedges_g(self) -> float | None:
        """d_z without its small-sample bias; ``None`` below three seeds, where it has no mean."""
        if self.d_z is None or self.estimate.n < 3:
            return None
        return small_sample_correction(self.estimate.n - 1) * self.d_z


def small_sample_correction(freedom: int) -> float:
    """J(m) = Gamma(m/2) / (sqrt(m/2) Gamma((m-1)/2)), m >= 2 (Hedges 1981); about 1 - 3/(4m - 1).

    Raises:
        ValueError: for fewer than 2 degrees of freedom.
    """
    if freedom < 2:
        raise ValueError(f"freedom={freedom}: must be at least 2, that is three pairs")
    ratio = math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)
    return math.exp(ratio) / math.sqrt(freedom / 2)


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean: (1/n) sum x_i. Raises ValueError when there is nothing to average."""
    if len(values) == 0:
        raise ValueError("mean of no values: at least one is needed")
    return float(math.fsum(values) / len(values))


def standard_deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation sqrt(sum (x_i - mean)^2 / (n - 1)); ``None`` for n = 1."""
    if len(values) < 2:
        return None
    if min(values) == max(values):  # equal values must not get a rounding error for a spread
        return 0.0
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def t_interval(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean and Student's t interval: mean ± t_{(1+level)/2, n-1} sd / sqrt(n).

    Exact for normal values; with n = 2 the multiplier of the sd is 9.0, with 3 it is 2.5, with 5
    1.2: few seeds cost width, as they should. n = 1 gives the mean without an interval.

    Raises:
        ValueError: no values, a value that is not finite, or a level outside (0, 1).
    """
    _check(values, level)
    centre, spread = mean(values), standard_deviation(values)
    if spread is None:
        return Estimate(centre, 1, level=level)
    from scipy.special import stdtrit  # the quantile of Student's t

    half = float(stdtrit(len(values) - 1, (1 + level) / 2)) * spread / math.sqrt(len(values))
    return Estimate(centre, len(values), spread, centre - half, centre + half, level)


def bootstrap_interval(
    values: Sequence[float], level: float = 0.95, *, resamples: int = 10_000, seed: int = 0
) -> Estimate:
    """Mean and bias-corrected, accelerated bootstrap interval (BCa, Efron 1987).

    Free of the normal assumption, but it knows no value beyond those seen, so with few seeds it is
    too narrow. Nominal 95 % intervals of normal values held the mean in 52 % of 2,000 samples of
    n = 2, 71 % of n = 3, 84 % of n = 5, 90 % of n = 10 and 92 % of n = 20: below ten seeds
    :func:`t_interval` is the one to go by.

    Raises:
        ValueError: as :func:`t_interval`, and for ``resamples`` below 1.
    """
    return bootstrap_intervals([values], level, resamples=resamples, seed=seed)[0]


def bootstrap_intervals(
    samples: Sequence[Sequence[float]],
    level: float = 0.95,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Estimate]:
    """:func:`bootstrap_interval` of many samples, those of one size at once."""
    if resamples < 1:
        raise ValueError(f"resamples={resamples}: must be at least 1")
    for values in samples:
        _check(values, level)
    found = [_without_spread(values, level) for values in samples]
    for n in sorted({len(values) for values in samples}):
        todo = [i for i, values in enumerate(samples) if len(values) == n and found[i] is None]
        for start in range(0, len(todo), SAMPLES_AT_ONCE):
            some = todo[start : start + SAMPLES_AT_ONCE]
            x_SN = np.array([samples[i] for i in some], dtype=float)
            low_S, high_S = _bca(x_SN, level, resamples, seed)
            for i, low, high in zip(some, low_S, high_S, strict=True):
                spread = standard_deviation(samples[i])
                found[i] = Estimate(mean(samples[i]), n, spread, float(low), float(high), level)
    return [estimate for estimate in found if estimate is not None]


def _without_spread(values: Sequence[float], level: float) -> Estimate | None:
    """One value has no interval; equal values have one of no width, for which BCa divides by 0."""
    if len(values) == 1:
        return Estimate(mean(values), 1, level=level)
    if min(values) < max(values):
        return None
    return Estimate(values[0], len(values), 0.0, values[0], values[0], level)


def _bca(
    x_SN: np.ndarray, level: float, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """BCa ends of the mean of each row: quantiles of its resampled means, at shifted levels.

    The level q becomes Phi(z0 + (z0 + z_q) / (1 - a (z0 + z_q))), Efron (1987), eq. 4.1: z0 is
    the normal quantile of the share of resampled means below the mean, a the acceleration of the
    jackknife. As ``scipy.stats.bootstrap`` with the same generator, whose import
    takes longer than resampling a thousand rows, and where rounding, that is how many rows there
    are, decides whether a resample of all values lies below their mean.
    """
    from scipy.special import ndtr, ndtri

    means_SR = _resampled_means(x_SN, resamples, seed)
    centre_S1 = x_SN.mean(1, keepdims=True)
    below_S = (means_SR < centre_S1).sum(1) + (means_SR <= centre_S1).sum(1)
    z0_S, a_S = ndtri(below_S / (2 * resamples)), _acceleration(x_SN)
    means_SR.sort(axis=1)
    z = ndtri((1 - level) / 2)
    shifted = (z0_S + z, z0_S - z)
    with np.errstate(invalid="ignore"):  # no resampled mean on one side: there is no interval
        levels = [ndtr(z0_S + s_S / (1 - a_S * s_S)) for s_S in shifted]
    low_S, high_S = (_quantiles(means_SR, level_S) for level_S in levels)
    return low_S, high_S


def _resampled_means(x_SN: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """[S, resamples]; every row is resampled at the same places."""
    n = x_SN.shape[1]
    places_NR = np.random.default_rng(seed).integers(0, n, (resamples, n)).T
    sums_SR = np.zeros((len(x_SN), resamples))
    for places_R in places_NR:
        sums_SR += x_SN.take(places_R, axis=1)
    return sums_SR / n


def _acceleration(x_SN: np.ndarray) -> np.ndarray:
    """sum U^3 / (6 (sum U^2)^1.5) over jackknife influences U_i of the mean, by row."""
    n = x_SN.shape[1]
    left_out_SN = np.stack([np.delete(x_SN, i, axis=1).mean(1) for i in range(n)], axis=1)
    u_SN = (n - 1) * (left_out_SN.mean(1, keepdims=True) - left_out_SN)
    return (u_SN**3).sum(1) / n**3 / (6 * ((u_SN**2).sum(1) / n**2) ** 1.5)


def _quantiles(sorted_SR: np.ndarray, level_S: np.ndarray) -> np.ndarray:
    """By row the quantile of its own level, linear between the values; NaN for NaN."""
    at_S = level_S * (sorted_SR.shape[1] - 1)
    below_S = np.floor(np.nan_to_num(at_S)).astype(int)
    above_S = np.minimum(below_S + 1, sorted_SR.shape[1] - 1)
    rows_S, part_S = np.arange(len(sorted_SR)), at_S - below_S
    return (1 - part_S) * sorted_SR[rows_S, below_S] + part_S * sorted_SR[rows_S, above_S]


def paired_difference(
    first: Mapping[int, float], second: Mapping[int, float], level: float = 0.95
) -> PairedDifference:
    """d_s = first[s] - second[s] over the shared seeds s: t interval, t-test, sign-flip test.

    Pairing removes what two settings share under one seed (order of the batches, the split).
    t = mean(d) sqrt(n) / sd(d) with n - 1 degrees of freedom.

    Raises:
        ValueError: when no seed is shared.
    """
    seeds = tuple(sorted(first.keys() & second.keys()))
    if not seeds:
        raise ValueError(
            f"no shared seed: the first has {sorted(first)}, the second {sorted(second)}; "
            "run both with the same seeds"
        )
    differences = [first[seed] - second[seed] for seed in seeds]
    return PairedDifference(
        t_interval(differences, level),
        seeds,
        t_test(differences),
        sign_flip_test(differences) if len(seeds) >= SMALLEST_PERMUTATION_N else None,
    )


def t_test(differences: Sequence[float]) -> float | None:
    """Two-sided p of the one-sample t-test of mean 0; ``None`` for one value.

    Differences that are all equal carry no noise: p is 0, or 1 when they are all zero.
    """
    spread = standard_deviation(differences)
    if spread is None:
        return None
    centre = mean(differences)
    if spread == 0:
        return 1.0 if centre == 0 else 0.0
    from scipy.special import stdtr  # the distribution function of Student's t

    t = centre * math.sqrt(len(differences)) / spread
    return float(2 * stdtr(len(differences) - 1, -abs(t)))


def sign_flip_test(differences: Sequence[float], *, samples: int = 20_000, seed: int = 0) -> float:
    """Two-sided p of the sign-flip permutation test (Fisher 1935).

    Under the null hypothesis each paired difference is symmetric about 0, so all 2^n patterns of
    signs are equally likely: p is the share of patterns whose |mean| is at least the observed one.
    Enumerated up to n = 14; beyond, (1 + hits) / (1 + samples) over seeded random patterns.
    """
    _check(differences, 0.95)
    d_N = np.asarray(differences, dtype=float)
    n = len(d_N)
    exact = n <= EXACT_PERMUTATIONS
    if exact:
        bits_PN = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        bits_PN = np.random.default_rng(seed).integers(0, 2, (samples, n))
    means_P = np.abs((2 * bits_PN - 1) @ d_N)
    observed = abs(float(d_N.sum()))
    # Rounding must not push the observed pattern, or its mirror, below itself.
    hits = int((means_P >= observed * (1 - 1e-12) - 1e-300).sum())
    return hits / len(means_P) if exact else (1 + hits) / (1 + samples)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for their number by Holm's step-down method (Holm 1979).

    For p_(1) <= ... <= p_(m): adjusted p_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)), returned in
    the order given. Rejecting where the adjusted value is below alpha keeps the chance of any
    false rejection below alpha, whatever the dependence between the tests.
    """
    m = len(p_values)
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError(f"p values {list(p_values)}: each must lie in [0, 1]")
    adjusted, running = [0.0] * m, 0.0
    for rank, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (m - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def holm_defined(p_values: Sequence[float | None]) -> list[float | None]:
    """:func:`holm` over the values that exist; comparisons with one seed are no tests."""
    adjusted = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(adjusted) for p in p_values]


def _check(values: Sequence[float], level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level={level}: must lie in (0, 1), for instance 0.95")
    if len(values) == 0:
        raise ValueError("interval of no values: at least one is needed")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"values {list(values)}: each must be finite; leave undefined ones out")
