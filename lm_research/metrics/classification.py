"""Scores of a classifier of whole documents, from its log-probabilities.

Precision of a class is the share of the documents given to it that are its own; recall the share
of its own that are given to it; F1 their harmonic mean; 0/0 is 0. Macro averages are means over the
classes that occur among labels or predictions (scikit-learn's convention); micro averages are over
all documents, and all equal to accuracy where a document has one label.

``calibration_error`` is by the probability of the predicted class. ``roc_auc`` and
``average_precision`` are of the second of two classes; of more, each is scored against all others,
and the mean is over the classes that occur among the labels.

Shapes: D documents, C classes.
"""

import numpy as np

from lm_research.metrics.calibration import calibration_error
from lm_research.metrics.ranking import average_precision, macro, roc_auc


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
        "roc_auc": macro(roc_auc, *against_all(p_DC, labels_D)),
        "average_precision": macro(average_precision, *against_all(p_DC, labels_D)),
        "documents": len(labels_D),
    }


def against_all(p_DC: np.ndarray, labels_D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels (bool) of each class against all others; of two, of the second."""
    positive_DC = labels_D[:, None] == np.arange(p_DC.shape[1])
    first = 1 if p_DC.shape[1] == 2 else 0
    return p_DC[:, first:], positive_DC[:, first:]


def confusion(labels_D: np.ndarray, predicted_D: np.ndarray, classes: int) -> np.ndarray:
    """int64, C x C: documents of the row's class that were given to the column's."""
    cells = np.bincount(labels_D * classes + predicted_D, minlength=classes**2)
    return cells.reshape(classes, classes)


def per_class(confusion_CC: np.ndarray) -> dict[str, np.ndarray]:
    """``precision``, ``recall``, ``f1`` (float64), ``support`` and ``predicted`` of each class."""
    return shares(confusion_CC.diagonal(), confusion_CC.sum(0), confusion_CC.sum(1))


def shares(
    hits_C: np.ndarray, predicted_C: np.ndarray, support_C: np.ndarray
) -> dict[str, np.ndarray]:
    """As :func:`per_class`, from counts of documents."""
    hits_C = hits_C.astype(np.float64)
    return {
        "precision": hits_C / np.maximum(predicted_C, 1),
        "recall": hits_C / np.maximum(support_C, 1),
        "f1": 2 * hits_C / np.maximum(predicted_C + support_C, 1),
        "support": support_C,
        "predicted": predicted_C,
    }
