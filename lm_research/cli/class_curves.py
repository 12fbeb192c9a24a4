"""What a report draws of a classifier: the curves of its classes, small enough for one page."""

from dataclasses import asdict
from typing import Any

import numpy as np

from lm_research.metrics.calibration import reliability
from lm_research.metrics.classification import against_all
from lm_research.metrics.ranking import (
    average_precision,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)
from lm_research.tasks.classifying import ClassifierEvaluation, MultilabelEvaluation

CLASSES = 8
"""Whose curves are kept, those of most documents: more cannot be told apart."""
Found = ClassifierEvaluation | MultilabelEvaluation


def class_curves(result: Found, classes: list[str]) -> dict[str, Any]:
    """``roc`` and ``precision_recall``: a list of the classes' curves each; and ``reliability``.

    JSON values. A curve has the name of its ``class``, the ``area`` (ROC-AUC, average precision),
    and the points ``x`` and ``y``. Of two classes it is the second's.
    """
    p_DC, positive_DC = _sides(result)
    names = classes[-p_DC.shape[1] :]
    order = np.argsort(-positive_DC.sum(0), kind="stable")[:CLASSES].tolist()
    kinds = {
        "roc": (roc_curve, roc_auc),
        "precision_recall": (precision_recall_curve, average_precision),
    }
    found: dict[str, Any] = {}
    for kind, (curve, area) in kinds.items():
        columns = [(names[place], p_DC[:, place], positive_DC[:, place]) for place in order]
        found[kind] = [
            {"class": name, "area": area(p_D, positive_D), "x": points[0], "y": points[1]}
            for name, p_D, positive_D in columns
            if (points := curve(p_D, positive_D)) is not None
        ]
    return found | {"reliability": _reliability(result)}


def _reliability(result: Found) -> list[dict[str, Any]]:
    """The bins of the calibration error, and, where there is a temperature, those without it."""
    steps = [("", 1.0)] if result.temperature == 1 else [("before", result.temperature)]
    steps += [] if result.temperature == 1 else [("after", 1.0)]
    return [{"name": n, **asdict(reliability(*_confidence(result, t)))} for n, t in steps]


def _confidence(result: Found, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """p_N and right_N (bool) with the logits times ``factor``: of documents, or of decisions."""
    from scipy.special import expit, softmax

    if isinstance(result, MultilabelEvaluation):
        return expit(factor * result.logits_DC).ravel(), result.labels_DC.ravel()
    p_DC = softmax(factor * result.log_p_DC, axis=1)
    return p_DC.max(1), result.predicted_D == result.labels_D


def _sides(result: Found) -> tuple[np.ndarray, np.ndarray]:
    """p_DC, and which documents are of each class (bool)."""
    from scipy.special import expit

    if isinstance(result, MultilabelEvaluation):
        return expit(result.logits_DC), result.labels_DC
    return against_all(np.exp(result.log_p_DC), result.labels_D)
