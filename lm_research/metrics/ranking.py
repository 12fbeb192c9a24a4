"""How well scores put the documents of a class before the others: areas, and the curves' points.

Each class against all others; ties count as scikit-learn counts them. The area under the ROC curve
is the probability that a document of the class scores higher than another one, ties a half; the
average precision is the mean precision over the recalls at which a threshold can stand (no
interpolation). Both are undefined for a class that no document is of, or, of the first, that all
are of; means are over the classes for which they are defined.

Shapes: D documents, C classes, P points.
"""

from collections.abc import Callable

import numpy as np

POINTS = 100
"""Of a curve that is kept: more cannot be seen."""
Area = Callable[[np.ndarray, np.ndarray], float | None]


def roc_auc(scores_D: np.ndarray, positive_D: np.ndarray) -> float | None:
    """Area under the ROC curve by ranks; None where all documents are of one kind."""
    from scipy.stats import rankdata

    positive_D = positive_D.astype(np.bool_)
    inside, outside = int(positive_D.sum()), int((~positive_D).sum())
    if not inside or not outside:
        return None
    ranks = rankdata(scores_D)[positive_D].sum()
    return float((ranks - inside * (inside + 1) / 2) / (inside * outside))


def average_precision(scores_D: np.ndarray, positive_D: np.ndarray) -> float | None:
    """Sum of precision times the gain in recall over the thresholds; None without a positive."""
    hits_P, given_P = _thresholds(scores_D, positive_D)
    if not hits_P[-1]:
        return None
    gains_P = np.diff(hits_P, prepend=0.0)
    return float((gains_P * hits_P / given_P).sum() / hits_P[-1])


def macro(area: Area, scores_DC: np.ndarray, positive_DC: np.ndarray) -> float | None:
    """The mean of ``area`` over the classes where it is defined; None where it is nowhere."""
    areas = (area(*columns) for columns in zip(scores_DC.T, positive_DC.T, strict=True))
    known = [value for value in areas if value is not None]
    return float(np.mean(known)) if known else None


def roc_curve(scores_D: np.ndarray, positive_D: np.ndarray) -> list[list[float]] | None:
    """False and true positive rates from (0, 0) to (1, 1); at most ``POINTS`` of each."""
    hits_P, given_P = _thresholds(scores_D, positive_D)
    misses_P = given_P - hits_P
    if not hits_P[-1] or not misses_P[-1]:
        return None
    x_P, y_P = (np.concatenate([[0.0], part / part[-1]]) for part in (misses_P, hits_P))
    return _thinned(x_P, y_P)


def precision_recall_curve(
    scores_D: np.ndarray, positive_D: np.ndarray
) -> list[list[float]] | None:
    """Recall and precision from the highest threshold to the lowest; at most ``POINTS`` of each."""
    hits_P, given_P = _thresholds(scores_D, positive_D)
    if not hits_P[-1]:
        return None
    return _thinned(hits_P / hits_P[-1], hits_P / given_P)


def _thresholds(scores_D: np.ndarray, positive_D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each different score, from the highest: documents of the class at or above, and all."""
    order = np.argsort(-scores_D, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores_D[order]) != 0, True))
    hits_P = np.cumsum(positive_D[order], dtype=np.float64)[ends]
    return hits_P, ends + 1.0


def _thinned(x_P: np.ndarray, y_P: np.ndarray) -> list[list[float]]:
    """The ends, and points between them at equal distances along the curve."""
    if len(x_P) > POINTS:
        steps = np.hypot(np.diff(x_P), np.diff(y_P))
        way_P = np.concatenate([[0.0], np.cumsum(steps)])
        chosen = np.searchsorted(way_P, np.linspace(0.0, way_P[-1], POINTS))
        chosen = np.unique(np.append(chosen, len(x_P) - 1))
        chosen = np.delete(chosen, -2) if len(chosen) > POINTS else chosen
        x_P, y_P = x_P[chosen], y_P[chosen]
    return [np.round(part, 6).tolist() for part in (x_P, y_P)]
