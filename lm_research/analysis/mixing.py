"""From runs on mixtures to the next mixture: fits, their worth, the optimum, what to run next.

A law is fitted to each evaluation by itself, and what is minimised is the mean of the predictions:
gains and losses on different texts cancel in a mean, which a law of one optimum then cannot see.
Intervals come from refitting mixtures drawn with replacement. Candidates stay within the weights
that the runs have had, source by source.

Shapes: R mixtures, M sources, E evaluations, C candidate mixtures, D refits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lm_research.analysis.mixing_laws import Law, fewest, fit_law
from lm_research.analysis.statistics import Estimate

FOLDS = 10
RESAMPLES = {"boosted": 10}
"""Refits by law; others get :data:`DEFAULT_RESAMPLES`."""
DEFAULT_RESAMPLES = 100
CANDIDATES = 4000
"""Mixtures drawn by each concentration of a Dirichlet distribution."""
CONCENTRATIONS = (0.3, 1.0, 3.0)
STEPS = (0.3, 0.1, 0.03, 0.01)
"""How far from the best candidate the search looks, round by round."""


@dataclass(frozen=True, eq=False)
class MixtureRuns:
    """Weights and losses of R different mixtures; losses are means over seeds.

    Args:
        sources: M names.
        evaluations: E names.
        weights_RM: shares, summing to 1.
        losses_RE: losses, lower is better.
    """

    sources: tuple[str, ...]
    evaluations: tuple[str, ...]
    weights_RM: np.ndarray
    losses_RE: np.ndarray

    def picked(self, rows: np.ndarray) -> "MixtureRuns":
        """The mixtures of these indices."""
        return MixtureRuns(
            self.sources, self.evaluations, self.weights_RM[rows], self.losses_RE[rows]
        )


@dataclass(frozen=True)
class Worth:
    """How well mixtures are predicted that the fit has not seen (k-fold cross-validation)."""

    spearman: float
    r2: float
    mae: float


@dataclass(frozen=True, eq=False)
class MixingFit:
    """A law for each evaluation, and its refits."""

    law: str
    laws: tuple[Law, ...]
    refits: tuple[tuple[Law, ...], ...]
    worth: Worth
    worth_by_evaluation: tuple[Worth, ...]


@dataclass(frozen=True, eq=False)
class Proposal:
    """The mixture of least predicted mean loss, and those to run next.

    Args:
        weights: M shares with their 95 % intervals over refits.
        loss: the predicted mean loss there, with its interval.
        gain: predicted gain over the best mixture among the runs, with its interval.
        next_NM: mixtures to run next, by expected improvement.
        improvement_N: the expected improvement that each adds to those before it.
    """

    weights: tuple[Estimate, ...]
    loss: Estimate
    gain: Estimate
    next_NM: np.ndarray
    improvement_N: np.ndarray


def mean_loss(laws: Sequence[Law], weights_CM: np.ndarray) -> np.ndarray:
    """Mean over evaluations of the predicted losses, float64, C."""
    return np.asarray(np.mean([law(weights_CM) for law in laws], axis=0))


def fit_mixing(
    runs: MixtureRuns, law: str = "auto", seed: int = 0, resamples: int | None = None
) -> MixingFit:
    """Fit ``law``, or with "auto" the one of linear, quadratic and exponential that predicts best.

    Raises:
        ValueError: too few mixtures for the law, or an unknown law.
    """
    if law == "auto":
        known = [n for n in ("linear", "quadratic", "exponential") if _enough(n, runs)]
        if not known:
            raise ValueError(f"{len(runs.weights_RM)} mixtures: at least 4 are needed")
        law = max(known, key=lambda name: cross_validate(runs, name, seed)[0].r2)
    elif not _enough(law, runs):
        needed = fewest(law, len(runs.sources)) + 1
        raise ValueError(
            f"law={law}: {len(runs.weights_RM)} mixtures; it needs at least {needed}, one of them "
            "to be predicted by the others"
        )
    mean_worth, by_evaluation = cross_validate(runs, law, seed)
    laws = _fit_all(runs, law, seed)
    count = resamples or RESAMPLES.get(law, DEFAULT_RESAMPLES)
    rng = np.random.default_rng(seed)
    refits = tuple(_refit(runs, law, laws, rng) for _ in range(count))
    return MixingFit(law, laws, refits, mean_worth, by_evaluation)


def _enough(law: str, runs: MixtureRuns) -> bool:
    """Whether a law can be fitted with a fold left out."""
    size = len(runs.weights_RM)
    return size - -(-size // min(FOLDS, size)) >= fewest(law, len(runs.sources))


def _fit_all(
    runs: MixtureRuns, law: str, seed: int, like: Sequence[Law] | None = None
) -> tuple[Law, ...]:
    before: Sequence[Law | None] = like or [None] * len(runs.evaluations)
    return tuple(
        fit_law(law, runs.weights_RM, loss_R, seed, one)
        for loss_R, one in zip(runs.losses_RE.T, before, strict=True)
    )


def _refit(
    runs: MixtureRuns, law: str, laws: Sequence[Law], rng: np.random.Generator
) -> tuple[Law, ...]:
    """A fit to mixtures drawn with replacement, with enough different ones among them."""
    size = len(runs.weights_RM)
    needed = min(fewest(law, len(runs.sources)), size)
    while len(np.unique(rows := rng.integers(0, size, size))) < min(needed, size // 2 + 1):
        continue
    return _fit_all(runs.picked(rows), law, int(rng.integers(1 << 31)), laws)


def cross_validate(runs: MixtureRuns, law: str, seed: int = 0) -> tuple[Worth, tuple[Worth, ...]]:
    """Of the mean loss, and of each evaluation: what left-out mixtures are predicted to have."""
    size = len(runs.weights_RM)
    order_R = np.random.default_rng(seed).permutation(size)
    predicted_RE = np.empty_like(runs.losses_RE)
    for fold in np.array_split(order_R, min(FOLDS, size)):
        laws = _fit_all(runs.picked(np.setdiff1d(order_R, fold)), law, seed)
        predicted_RE[fold] = np.stack([one(runs.weights_RM[fold]) for one in laws], axis=1)
    pairs = zip(runs.losses_RE.T, predicted_RE.T, strict=True)
    mean_worth = worth(runs.losses_RE.mean(1), predicted_RE.mean(1))
    return mean_worth, tuple(worth(true_R, found_R) for true_R, found_R in pairs)


def worth(true_R: np.ndarray, predicted_R: np.ndarray) -> Worth:
    """Spearman's rank correlation, R^2 = 1 - SSE / SST, and the mean absolute error."""
    from scipy.stats import spearmanr

    error_R = true_R - predicted_R
    total = float(((true_R - true_R.mean()) ** 2).sum())
    varied = np.ptp(true_R) > 0 and np.ptp(predicted_R) > 0
    rank = float(spearmanr(true_R, predicted_R).statistic) if varied else float("nan")
    r2 = 1 - float((error_R**2).sum()) / total if total else float("nan")
    return Worth(rank, r2, float(abs(error_R).mean()))


def propose(runs: MixtureRuns, fit: MixingFit, more: int = 4, seed: int = 0) -> Proposal:
    """The optimum of the fitted laws and ``more`` mixtures to run next, as different as they pay.

    Of one more mixture the expected improvement is the mean over refits of what it takes off the
    lowest loss that the refit predicts so far, the runs and the mixtures chosen before it included.
    """
    rng = np.random.default_rng(seed)
    drawn_CM, best_M = _optimum(runs, fit, rng)
    candidates_CM = np.concatenate([drawn_CM, best_M[None]])
    refits_DC = np.stack([mean_loss(laws, candidates_CM) for laws in fit.refits])
    so_far_D = np.array([mean_loss(laws, runs.weights_RM).min() for laws in fit.refits])
    own = float(mean_loss(fit.laws, best_M[None])[0])
    gain = float(mean_loss(fit.laws, runs.weights_RM).min()) - own
    optima_DM = candidates_CM[refits_DC.argmin(1)]
    weights = tuple(
        _interval(value, draws_D) for value, draws_D in zip(best_M, optima_DM.T, strict=True)
    )
    loss, gained = _interval(own, refits_DC[:, -1]), _interval(gain, so_far_D - refits_DC[:, -1])
    chosen, improvement = _next(refits_DC, so_far_D, candidates_CM, runs.weights_RM, more)
    return Proposal(weights, loss, gained, candidates_CM[chosen], np.array(improvement))


def _interval(value: float, draws_D: np.ndarray, level: float = 0.95) -> Estimate:
    low, high = np.quantile(draws_D, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(value), len(draws_D), None, float(low), float(high), level)


def _optimum(
    runs: MixtureRuns, fit: MixingFit, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Candidates from all over, and the best after looking closer and closer around it."""
    size = len(runs.sources)
    drawn = [rng.dirichlet(np.full(size, a), CANDIDATES) for a in CONCENTRATIONS]
    pool_CM = _within(np.concatenate([*drawn, runs.weights_RM]), runs)
    best_M = pool_CM[mean_loss(fit.laws, pool_CM).argmin()]
    for step in STEPS:
        aside_CM = rng.dirichlet(np.full(size, CONCENTRATIONS[0]), CANDIDATES // 2)
        near_CM = _within(np.vstack([best_M, (1 - step) * best_M + step * aside_CM]), runs)
        best_M = near_CM[mean_loss(fit.laws, near_CM).argmin()]
    return pool_CM, best_M


def _within(weights_CM: np.ndarray, runs: MixtureRuns) -> np.ndarray:
    """Those whose every weight some run has reached, from above and from below."""
    low_M, high_M = runs.weights_RM.min(0), runs.weights_RM.max(0)
    inside_C = ((weights_CM >= low_M - 1e-9) & (weights_CM <= high_M + 1e-9)).all(1)
    return weights_CM[inside_C]


def _next(
    refits_DC: np.ndarray, so_far_D: np.ndarray, candidates_CM: np.ndarray, known_RM: np.ndarray,
    more: int,
) -> tuple[list[int], list[float]]:  # fmt: skip
    """Greedy by expected improvement; where there is none left, the farthest from all known."""
    chosen: list[int] = []
    improvement: list[float] = []
    for _ in range(more):
        expected_C = np.maximum(so_far_D[:, None] - refits_DC, 0).mean(0)
        if not expected_C.any():
            taken_KM = np.concatenate([known_RM, candidates_CM[chosen]])
            expected_C = abs(candidates_CM[:, None] - taken_KM).sum(2).min(1)
            improvement.append(0.0)
        else:
            improvement.append(float(expected_C.max()))
        chosen.append(int(expected_C.argmax()))
        so_far_D = np.minimum(so_far_D, refits_DC[:, chosen[-1]])
    return chosen, improvement
