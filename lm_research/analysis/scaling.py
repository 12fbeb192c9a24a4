"""Scaling fits: L(x) = E + A x^-alpha, over model sizes or training tokens.

Fitted as by Hoffmann et al. (2022, section 3.3, one variable instead of two): the Huber loss
(delta 1e-3) of log L, over runs, with E, A > 0 through their logarithms; started from a grid, the
best end kept. Intervals come from refitting resampled runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lm_research.analysis.metric import Metric
from lm_research.analysis.settings import Setting
from lm_research.analysis.statistics import Estimate

DELTA = 1e-3
SMALLEST_SIZES = 4
"""Three sizes would be met exactly by three parameters, whatever the law."""
RESAMPLES = 200
STARTS = [(e, alpha) for e in (0.2, 0.6, 0.9) for alpha in (0.1, 0.3, 0.7)]
"""E as a share of the lowest loss, and alpha."""


@dataclass(frozen=True)
class ScalingFit:
    """A fitted law.

    Args:
        irreducible: E, what remains at any size.
        coefficient: A.
        exponent: alpha.
        sizes: number of different x.
        runs: number of runs.
        draws_R3: (ln A, ln E, alpha) of each refit, float64.
    """

    irreducible: Estimate
    coefficient: Estimate
    exponent: Estimate
    sizes: int
    runs: int
    draws_R3: np.ndarray

    def curve(self, x_N: np.ndarray) -> np.ndarray:
        """L at ``x_N``."""
        a, e = math.log(self.coefficient.mean), math.log(self.irreducible.mean)
        return law(np.array([a, e, self.exponent.mean]), np.log(x_N))

    def band(self, x_N: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Pointwise interval of L at ``x_N``, over the refits."""
        curves_RN = np.stack([law(theta_3, np.log(x_N)) for theta_3 in self.draws_R3])
        low_N, high_N = np.quantile(curves_RN, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low_N, high_N


def law(theta_3: np.ndarray, log_x_N: np.ndarray) -> np.ndarray:
    """exp(theta_0 - theta_2 log x) + exp(theta_1)."""
    return np.exp(theta_3[0] - theta_3[2] * log_x_N) + math.exp(theta_3[1])


def fit_scaling(
    x: Sequence[float],
    loss: Sequence[float],
    level: float = 0.95,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ScalingFit:
    """Fit L = E + A x^-alpha to runs, with percentile bootstrap intervals over runs.

    Args:
        x: size of each run: parameters, or training tokens.
        loss: its loss, in any unit.

    Raises:
        ValueError: fewer than four different sizes, or a value that is not positive and finite.
    """
    x_N, loss_N = np.asarray(x, dtype=float), np.asarray(loss, dtype=float)
    if x_N.shape != loss_N.shape or not _positive(x_N) or not _positive(loss_N):
        raise ValueError("sizes and losses must be as many, finite and above 0")
    sizes = len(np.unique(x_N))
    if sizes < SMALLEST_SIZES:
        raise ValueError(
            f"{sizes} different sizes: a law with three parameters needs at least "
            f"{SMALLEST_SIZES}; add values to the size's axis"
        )
    theta_3 = _best_fit(np.log(x_N), loss_N, _starts(np.log(x_N), loss_N))
    draws_R3 = _refits(np.log(x_N), loss_N, theta_3, resamples, np.random.default_rng(seed))
    low_3, high_3 = np.quantile(draws_R3, [(1 - level) / 2, (1 + level) / 2], axis=0)

    def estimate(place: int, exponentiated: bool) -> Estimate:
        values = [float(v[place]) for v in (theta_3, low_3, high_3)]
        centre, low, high = (math.exp(v) if exponentiated else v for v in values)
        return Estimate(centre, len(x_N), None, low, high, level)

    parts = (estimate(1, True), estimate(0, True), estimate(2, False))
    return ScalingFit(*parts, sizes, len(x_N), draws_R3)


def _positive(values_N: np.ndarray) -> bool:
    return bool(np.isfinite(values_N).all() and (values_N > 0).all())


def _starts(log_x_N: np.ndarray, loss_N: np.ndarray) -> list[np.ndarray]:
    """Each of STARTS, with A such that the law meets the mean loss at the mean size."""
    lowest, mean, middle = float(loss_N.min()), float(loss_N.mean()), float(log_x_N.mean())
    return [
        np.array([math.log(mean - e * lowest) + alpha * middle, math.log(e * lowest), alpha])
        for e, alpha in STARTS
    ]


def _best_fit(log_x_N: np.ndarray, loss_N: np.ndarray, starts: Sequence[np.ndarray]) -> np.ndarray:
    """The best of the minima that are reached from ``starts``.

    The reducible loss at the mean size stands in for A while searching: A itself is so tied to
    alpha that the search would end short of the minimum.
    """
    from scipy.optimize import minimize
    from scipy.special import huber

    middle = log_x_N.mean()
    z_N, log_loss_N = log_x_N - middle, np.log(loss_N)

    def objective(theta_3: np.ndarray) -> tuple[float, np.ndarray]:
        reducible_N = theta_3[0] - theta_3[2] * z_N
        error_N = (np.logaddexp(reducible_N, theta_3[1]) - log_loss_N) / DELTA
        share_N = 1 / (1 + np.exp(np.clip(theta_3[1] - reducible_N, -700, 700)))
        slopes_3N = np.stack([share_N, 1 - share_N, -share_N * z_N])
        return float(huber(1, error_N).sum()), slopes_3N @ np.clip(error_N, -1, 1) / DELTA

    def turned(theta_3: np.ndarray, sign: int) -> np.ndarray:
        return theta_3 + sign * np.array([middle * theta_3[2], 0, 0])

    ends = [minimize(objective, turned(start, -1), jac=True, method="BFGS") for start in starts]
    return turned(min(ends, key=lambda end: float(end.fun)).x, 1)


def _refits(
    log_x_N: np.ndarray, loss_N: np.ndarray, theta_3: np.ndarray, resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Fits of runs drawn with replacement; a draw of fewer than three sizes is drawn again."""
    draws: list[np.ndarray] = []
    while len(draws) < resamples:
        picked_N = rng.integers(0, len(log_x_N), len(log_x_N))
        if len(np.unique(log_x_N[picked_N])) >= SMALLEST_SIZES - 1:
            draws.append(_best_fit(log_x_N[picked_N], loss_N[picked_N], [theta_3]))
    return np.stack(draws)


@dataclass(frozen=True, eq=False)
class Scaling:
    """A law along one axis of a study, all else fixed.

    Args:
        axis: the axis.
        quantity: what x counts: "parameters", or "training tokens".
        fixed: the values on the other axes.
        x: each run's size.
        loss: each run's value of the metric.
        fit: the law.
    """

    axis: str
    quantity: str
    fixed: tuple[str, ...]
    x: tuple[float, ...]
    loss: tuple[float, ...]
    fit: ScalingFit


def scaling_laws(settings: Sequence[Setting], metric: Metric) -> tuple[Scaling, ...]:
    """A law for each axis of numbers that moves parameters or tokens, at each other choice.

    An axis that moves both is none: its law would mix two.
    """
    laws: list[Scaling] = []
    for axis in settings[0].axes if settings and metric.lower_is_better else ():
        if not _numbers({setting[axis] for setting in settings}):
            continue
        groups: dict[tuple[str, ...], list[Setting]] = {}
        for setting in settings:
            groups.setdefault(setting.others(axis), []).append(setting)
        laws.extend(
            law for fixed, group in groups.items() for law in _law(axis, fixed, group, metric)
        )
    return tuple(laws)


def _numbers(values: set[str]) -> bool:
    try:
        return len({float(value) for value in values}) >= SMALLEST_SIZES
    except ValueError:
        return False


def _law(
    axis: str, fixed: tuple[str, ...], settings: Sequence[Setting], metric: Metric
) -> list[Scaling]:
    known = [
        (run, value)
        for setting in settings
        for run in setting.runs
        if (value := run.summary.get(metric.key)) is not None and value > 0
    ]
    sizes = {
        "parameters": [run.summary.get("model/parameters") for run, _ in known],
        "training tokens": [run.tokens for run, _ in known],
    }
    moving = [name for name, found in sizes.items() if len(set(found)) > 1]
    if len(moving) != 1:
        return []
    x = [size for size in sizes[moving[0]] if size is not None and size > 0]
    if len(x) < len(known) or len(set(x)) < SMALLEST_SIZES:
        return []
    loss = tuple(value for _, value in known)
    return [Scaling(axis, moving[0], fixed, tuple(x), loss, fit_scaling(x, loss))]
