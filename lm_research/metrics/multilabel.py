"""Scores of a classifier whose documents may have several labels, or none.

A class is predicted where its probability is above a half. Names and values are scikit-learn's:
micro averages are over all decisions (documents times classes), macro averages means over all
classes, 0/0 is 0. ``subset_accuracy`` is the share of documents whose labels are all predicted and
no other, ``hamming_loss`` the share of decisions that are wrong. ``average_precision`` is the mean
over the classes (mean average precision). ``label_ranking_average_precision``: of each label of a
document, how many of the classes that score at least as high are labels of it, too; documents of
no class, or all, count as 1. ``calibration_error`` is over all decisions, by the probability of the
class.

Shapes: D documents, C classes.
"""

import numpy as np

from lm_research.metrics.calibration import calibration_error, nats
from lm_research.metrics.classification import shares
from lm_research.metrics.ranking import average_precision, macro, roc_auc

NAMES = ("precision", "recall", "f1")


def multilabel_scores(logits_DC: np.ndarray, labels_DC: np.ndarray) -> dict[str, float | None]:
    """All scores by name; None where one is undefined.

    Args:
        logits_DC: float64, log p / (1 - p).
        labels_DC: bool, which classes each document is of.
    """
    from scipy.special import expit

    loss_nats = float(nats(logits_DC, labels_DC).mean())
    return {
        "loss_nats": loss_nats,
        **decision_scores(logits_DC > 0, labels_DC),
        "roc_auc": macro(roc_auc, logits_DC, labels_DC),
        "average_precision": macro(average_precision, logits_DC, labels_DC),
        "label_ranking_average_precision": label_ranking(logits_DC, labels_DC),
        "calibration_error": calibration_error(expit(logits_DC).ravel(), labels_DC.ravel()),
        "documents": len(labels_DC),
    }


def decision_scores(predicted_DC: np.ndarray, labels_DC: np.ndarray) -> dict[str, float]:
    """Those that know what was predicted, and no probabilities; both arrays are bool."""
    of_class = multilabel_per_class(predicted_DC, labels_DC)
    sums = (of_class[name].sum(keepdims=True) for name in ("hits", "predicted", "support"))
    micro = shares(*sums)
    right_DC = predicted_DC == labels_DC
    return {
        "subset_accuracy": float(right_DC.all(1).mean()),
        "hamming_loss": float(1 - right_DC.mean()),
        **{f"{name}_macro": float(of_class[name].mean()) for name in NAMES},
        **{f"{name}_micro": float(micro[name][0]) for name in NAMES},
    }


def multilabel_per_class(predicted_DC: np.ndarray, labels_DC: np.ndarray) -> dict[str, np.ndarray]:
    """``precision``, ``recall``, ``f1`` (float64), ``hits``, ``predicted`` and ``support``."""
    hits_C = (predicted_DC & labels_DC).sum(0)
    return {"hits": hits_C, **shares(hits_C, predicted_DC.sum(0), labels_DC.sum(0))}


def label_ranking(scores_DC: np.ndarray, labels_DC: np.ndarray) -> float:
    """Label ranking average precision; scores are finite."""
    from scipy.stats import rankdata

    rank_DC = rankdata(-scores_DC, "max", axis=1)
    among_DC = rankdata(np.where(labels_DC, -scores_DC, np.inf), "max", axis=1)
    count_D = labels_DC.sum(1)
    sums_D = np.where(labels_DC, among_DC / rank_DC, 0.0).sum(1)
    trivial_D = (count_D == 0) | (count_D == labels_DC.shape[1])
    return float(np.where(trivial_D, 1.0, sums_D / np.maximum(count_D, 1)).mean())
