"""Scores where a document may have several labels, beside scikit-learn's and torchmetrics'."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from lm_research.metrics.multilabel import label_ranking, multilabel_per_class, multilabel_scores


def drawn(seed, documents=150, classes=6, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.random((documents, classes)) < rng.uniform(0.1, 0.6, classes)
    labels[0], labels[1] = False, True  # of no class, and of all
    logits = rng.normal(size=labels.shape) + 1.2 * labels
    return (logits.round(0) + 0.5 if ties else logits), labels


@pytest.mark.parametrize("ties", [False, True])
def test_scores_are_those_of_scikit_learn(ties):
    from sklearn import metrics

    logits, labels = drawn(1, ties=ties)
    found, predicted, p = multilabel_scores(logits, labels), logits > 0, expit(logits)
    assert found["subset_accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert found["hamming_loss"] == pytest.approx(metrics.hamming_loss(labels, predicted))
    for average in ("macro", "micro"):
        values = metrics.precision_recall_fscore_support(labels, predicted, average=average)
        for name, value in zip(("precision", "recall", "f1"), values, strict=False):
            assert found[f"{name}_{average}"] == pytest.approx(value)
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(labels, p))
    expected = metrics.average_precision_score(labels, p)
    assert found["average_precision"] == pytest.approx(expected)
    expected = metrics.label_ranking_average_precision_score(labels, p)
    assert found["label_ranking_average_precision"] == pytest.approx(expected)
    of_class = metrics.precision_recall_fscore_support(labels, predicted, average=None)
    ours = multilabel_per_class(predicted, labels)
    for name, values in zip(("precision", "recall", "f1", "support"), of_class, strict=True):
        np.testing.assert_allclose(ours[name], values)


def test_loss_and_calibration_are_those_of_torch():
    from torchmetrics.functional.classification import binary_calibration_error

    logits, labels = drawn(2)
    found = multilabel_scores(logits, labels)
    z, y = torch.from_numpy(logits), torch.from_numpy(labels)
    nats = torch.nn.functional.binary_cross_entropy_with_logits(z, y.double()) * labels.shape[1]
    assert found["loss_nats"] == pytest.approx(float(nats))
    error = binary_calibration_error(z.sigmoid().flatten(), y.flatten().int(), n_bins=15)
    assert found["calibration_error"] == pytest.approx(float(error), abs=1e-6)


def test_a_class_that_occurs_nowhere_is_zero_in_the_mean_and_has_no_area():
    logits, labels = drawn(3)
    labels[:, 2], logits[:, 2] = False, -9.0
    with_it, without = multilabel_scores(logits, labels), np.delete(np.arange(6), 2)
    rest = multilabel_scores(logits[:, without], labels[:, without])
    assert with_it["f1_macro"] == pytest.approx(rest["f1_macro"] * 5 / 6)  # as scikit-learn has it
    assert with_it["f1_micro"] == pytest.approx(rest["f1_micro"])
    assert with_it["average_precision"] == pytest.approx(rest["average_precision"])
    none = multilabel_scores(np.full((3, 2), -1.0), np.zeros((3, 2), bool))
    assert none["roc_auc"] is None
    assert none["average_precision"] is None
    assert none["subset_accuracy"] == 1.0
    assert none["f1_micro"] == 0.0


def test_a_ranking_by_hand():
    labels = np.array([[True, False, True], [False, False, True]])
    scores = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
    # the first: 1/1 and 2/3; the second: its one label comes third
    assert label_ranking(scores, labels) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 3) / 2)
