"""Scores of classifiers, beside scikit-learn's and torchmetrics'."""

import numpy as np
import pytest
import torch

from lm_research.metrics import classification as metrics


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_are_those_of_scikit_learn_and_torchmetrics(classes):
    from sklearn.metrics import (
        accuracy_score,
        confusion_matrix,
        log_loss,
        precision_recall_fscore_support,
        roc_auc_score,
    )
    from torchmetrics.functional.classification import multiclass_calibration_error

    rng = np.random.default_rng(classes)
    log_p = torch.randn(
        200, classes, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    log_p = (2 * log_p).log_softmax(1).numpy()
    labels = rng.integers(0, classes - (classes > 2), 200)  # the last of five never occurs
    predicted, found = log_p.argmax(1), metrics.scores(log_p, labels)
    assert found["accuracy"] == accuracy_score(labels, predicted)
    for average in ("macro", "micro"):
        values = precision_recall_fscore_support(
            labels, predicted, average=average, zero_division=0
        )
        for name, value in zip(("precision", "recall", "f1"), values, strict=False):
            assert found[f"{name}_{average}"] == pytest.approx(value)
    expected = log_loss(labels, np.exp(log_p), labels=range(classes))
    assert found["loss_nats"] == pytest.approx(expected)
    p, target = torch.from_numpy(np.exp(log_p)), torch.from_numpy(labels)
    error = multiclass_calibration_error(p, target, classes, n_bins=15)
    assert found["calibration_error"] == pytest.approx(float(error), abs=1e-6)
    cells = metrics.confusion(labels, predicted, classes)
    np.testing.assert_array_equal(cells, confusion_matrix(labels, predicted, labels=range(classes)))
    assert found["documents"] == 200
    if classes == 2:
        assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, np.exp(log_p)[:, 1]))
        rounded = np.exp(log_p)[:, 1].round(1)  # with ties
        assert metrics.roc_auc(rounded, labels) == pytest.approx(roc_auc_score(labels, rounded))


@pytest.mark.parametrize("bins", [1, 2, 7, 15])
def test_calibration_by_bins_of_both_signs(bins):
    """Too sure in some bins, not sure enough in others: what a mean over all would cancel."""
    from torchmetrics.functional.classification import binary_calibration_error

    rng = np.random.default_rng(bins)
    p = rng.uniform(0.0, 1.0, 400)
    right = rng.random(400) < 0.5 + 0.4 * np.sin(9 * p)
    expected = binary_calibration_error(torch.from_numpy(p), torch.from_numpy(right), bins)
    assert metrics.calibration_error(p, right, bins) == pytest.approx(float(expected), abs=1e-6)


def test_float32_is_summed_in_float64_and_a_class_once_named_counts():
    log_p = np.log(np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]], np.float32))
    found = metrics.scores(log_p, np.array([0, 0, 2]))
    # class 1 was given once, wrongly, and class 2 occurs once: both count in the means, as 0
    assert found["f1_macro"] == pytest.approx(1 / 3)
    assert found["loss_nats"] == pytest.approx(-np.log([0.7, 0.6, 0.1]).mean(), rel=1e-6)
    absent = metrics.scores(log_p[:2], np.array([0, 0]))
    assert absent["f1_macro"] == 1.0  # the others occur nowhere


def test_a_class_of_one_document():
    of_class = metrics.per_class(np.array([[1, 0], [0, 0]]))
    for name in ("precision", "recall", "f1"):
        assert of_class[name].tolist() == [1.0, 0.0]
