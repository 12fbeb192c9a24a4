"""Scores of a classifier of whole documents, from its log-probabilities.

Precision of a class is the share of the documents given to it that are its own; recall the share
of its own that are given to it; F1 their harmonic mean; 0/0 is 0. Macro averages are means over the
classes that occur among labels or predictions (scikit-learn's convention); micro averages are over
all documents, and all equal to accuracy where a document has one label.

Calibration error (Guo et al. 2017, "On Calibration of Modern Neural Networks") is the mean, weighed
by documents, of |accuracy - mean probability| over 15 bins of equal width by the probability of the
predicted class. ROC-AUC is the probability that a document of the second of two classes has a
higher probability of it than one of the first, ties counted as a half.

Shapes: D documents, C classes.
"""

import numpy as np

BINS = 15


def scores(log_p_DC: np.ndarray, labels_D: np.ndarray) -> dict[str, float | None]:
    """All scores by name; None where one is undefined.

    Args:
        log_p_DC: natural logarithms, float.
        labels_D: int64, places of the true classes.
    """
    predicted_D = log_p_DC.argmax(1)
    p_DC = np.exp(log_p_DC.astype(np.float64))
    nats_D = -np.take_along_axis(log_p_DC, labels_D[:, None], 1)[:, 0].astype(np.float64)
    of_class = per_class(confusion(labels_D, predicted_D, log_p_DC.shape[1]))
    occurs_C = (of_class["support"] + of_class["predicted"]) > 0
    accuracy = float((predicted_D == labels_D).mean())
    names = ("precision", "recall", "f1")
    return {
        "loss_nats": float(nats_D.mean()),
        "accuracy": accuracy,
        **{f"{name}_macro": float(of_class[name][occurs_C].mean()) for name in names},
        **{f"{name}_micro": accuracy for name in names},
        "calibration_error": calibration_error(p_DC.max(1), predicted_D == labels_D),
        **({"roc_auc": roc_auc(p_DC[:, 1], labels_D)} if p_DC.shape[1] == 2 else {}),
        "documents": len(labels_D),
    }


def confusion(labels_D: np.ndarray, predicted_D: np.ndarray, classes: int) -> np.ndarray:
    """int64, C x C: documents of the row's class that were given to the column's."""
    cells = np.bincount(labels_D * classes + predicted_D, minlength=classes**2)
    return cells.reshape(classes, classes)


def per_class(confusion_CC: np.ndarray) -> dict[str, np.ndarray]:
    """``precision``, ``recall``, ``f1`` (float64), ``support`` and ``predicted`` of each class."""
    hits_C = confusion_CC.diagonal().astype(np.float64)
    predicted_C, support_C = confusion_CC.sum(0), confusion_CC.sum(1)
    return {
        "precision": hits_C / np.maximum(predicted_C, 1),
        "recall": hits_C / np.maximum(support_C, 1),
        "f1": 2 * hits_C / np.maximum(predicted_C + support_C, 1),
        "support": support_C,
        "predicted": predicted_C,
    }


def calibration_error(p_D: np.ndarray, right_D: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error; a bin holds the probabilities in (low, high]."""
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    bin_D = np.searchsorted(edges, p_D, side="left")
    gaps = np.bincount(bin_D, weights=right_D - p_D, minlength=bins)
    return float(np.abs(gaps).sum() / len(p_D))


def roc_auc(p_D: np.ndarray, labels_D: np.ndarray) -> float | None:
    """Of two classes, by ranks of ``p_D``, the second's probability; None with one alone."""
    from scipy.stats import rankdata

    of_second = labels_D == 1
    second, first = int(of_second.sum()), int((~of_second).sum())
    if not first or not second:
        return None
    ranks = rankdata(p_D)[of_second].sum()
    return float((ranks - second * (second + 1) / 2) / (first * second))
