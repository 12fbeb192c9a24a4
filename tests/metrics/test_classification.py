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
    if classes == 2:
        rounded = np.exp(log_p)[:, 1].round(1)  # with ties
        assert metrics.roc_auc(rounded, labels) == pytest.approx(roc_auc_score(labels, rounded))
