"""How far probabilities are from frequencies, and the temperature that brings them closer.

Calibration error and temperature scaling: Guo et al. 2017, "On Calibration of Modern Neural
Networks". Temperature scaling divides the logits by one number T > 0 that is fitted to held-out
documents: the order of the classes, and on which side of a half a probability lies, stay as they
are.

Shapes: N probabilities, D documents, C classes.
"""

from dataclasses import dataclass

import numpy as np

BINS = 15
LOWEST, HIGHEST = 0.02, 50.0
"""Bounds of T: where the held-out documents are told apart without an error, there is no best."""
_ROUNDING = 1e-7
"""Of log T, to which the search goes."""


def calibration_error(p_N: np.ndarray, right_N: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: the mean of |share that is right - mean probability|, by bins.

    The bins are of equal width, weighed by what is in them; one holds probabilities in (low, high].
    """
    gaps = np.bincount(_bin(p_N, bins), weights=right_N - p_N, minlength=bins)
    return float(np.abs(gaps).sum() / len(p_N))


@dataclass(frozen=True)
class Reliability:
    """The bins that hold something: mean probability, share that is right (float), and how many."""

    probability: list[float]
    right: list[float]
    count: list[int]


def reliability(p_N: np.ndarray, right_N: np.ndarray, bins: int = BINS) -> Reliability:
    """What a reliability diagram shows: the bins of :func:`calibration_error`."""
    bin_N = _bin(p_N, bins)
    count = np.bincount(bin_N, minlength=bins)
    held = count > 0
    sums = (np.bincount(bin_N, weights=x_N, minlength=bins)[held] for x_N in (p_N, right_N))
    probability, right = ((total / count[held]).tolist() for total in sums)
    return Reliability(probability, right, count[held].tolist())


def _bin(p_N: np.ndarray, bins: int) -> np.ndarray:
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    return np.searchsorted(edges, p_N, side="left")


def fit_temperature(logits_DC: np.ndarray, labels: np.ndarray) -> float:
    """The T that makes the labels most probable; never one that makes them less so than T = 1.

    The negative log-likelihood is convex in 1/T, so it has one minimum along log T.

    Args:
        logits_DC: float64.
        labels: labels_D, int64 (softmax), or labels_DC, bool (a sigmoid for each class).
    """
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        return float(nats(logits_DC / np.exp(log_t), labels).mean())

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": _ROUNDING})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def log_p(logits_DC: np.ndarray) -> np.ndarray:
    """log_p_DC of a softmax, float64."""
    from scipy.special import log_softmax

    found: np.ndarray = log_softmax(logits_DC, axis=1)
    return found


def nats(logits_DC: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """nats_D, float64: -log p(labels of the document).

    Args:
        logits_DC: of a softmax where ``labels`` are labels_D (int64); where they are labels_DC
            (bool) of a sigmoid for each class, and a document's nats are the sum over classes.
    """
    if labels.ndim == 1:
        found: np.ndarray = -np.take_along_axis(log_p(logits_DC), labels[:, None], 1)[:, 0]
        return found
    signed_DC = np.where(labels, -logits_DC, logits_DC)
    nats_D: np.ndarray = np.logaddexp(0.0, signed_DC).sum(1)
    return nats_D
