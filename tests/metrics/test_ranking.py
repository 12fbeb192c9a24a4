"""Areas and curves of rankings, beside scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.preprocessing import label_binarize

from lm_research.metrics import ranking
from lm_research.metrics.classification import scores


def drawn(documents, decimals, seed=0):
    rng = np.random.default_rng(seed)
    positive = rng.random(documents) < 0.3
    return (rng.normal(size=documents) + positive).round(decimals), positive


@pytest.mark.parametrize("decimals", [0, 1, 12])  # many ties, some, none
def test_areas(decimals):
    values, positive = drawn(300, decimals)
    assert ranking.roc_auc(values, positive) == pytest.approx(
        metrics.roc_auc_score(positive, values)
    )
    expected = metrics.average_precision_score(positive, values)
    assert ranking.average_precision(values, positive) == pytest.approx(expected)
    assert ranking.roc_auc(values, np.ones(300, bool)) is None
    assert ranking.average_precision(values, np.ones(300, bool)) == 1.0
    assert ranking.average_precision(values, np.zeros(300, bool)) is None


def test_of_several_classes_each_is_against_all_others():
    rng = np.random.default_rng(4)
    labels, logits = rng.integers(0, 4, 200), rng.normal(size=(200, 4))
    logits[np.arange(200), labels] += 1
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = scores(np.log(p), labels)
    expected = metrics.roc_auc_score(labels, p, multi_class="ovr", average="macro")
    assert found["roc_auc"] == pytest.approx(expected)
    sides = label_binarize(labels, classes=range(4))
    expected = metrics.average_precision_score(sides, p, average="macro")
    assert found["average_precision"] == pytest.approx(expected)


def test_of_two_classes_the_second_counts():
    rng = np.random.default_rng(5)
    labels, p = rng.integers(0, 2, 90), rng.random(90)
    found = scores(np.log(np.stack([1 - p, p], 1)), labels)
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(labels, p))
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(labels, p))


def test_short_curves_are_scikit_learns():
    values, positive = drawn(60, 1)
    x, y = ranking.roc_curve(values, positive)
    expected = metrics.roc_curve(positive, values, drop_intermediate=False)[:2]
    np.testing.assert_allclose([x, y], expected, atol=1e-6)
    recall, precision = ranking.precision_recall_curve(values, positive)
    theirs, recalls, _ = metrics.precision_recall_curve(positive, values)
    np.testing.assert_allclose(recall, recalls[-2::-1], atol=1e-6)  # without its last, (0, 1)
    np.testing.assert_allclose(precision, theirs[-2::-1], atol=1e-6)


def test_long_curves_are_thinned_to_points_of_the_curve():
    values, positive = drawn(5000, 12)
    for curve, whole in (
        (ranking.roc_curve, metrics.roc_curve(positive, values, drop_intermediate=False)[:2]),
        (
            ranking.precision_recall_curve,
            [a[::-1] for a in metrics.precision_recall_curve(positive, values)[1::-1]],
        ),
    ):
        x, y = curve(values, positive)
        assert 50 < len(x) == len(y) <= ranking.POINTS
        points = {(round(a, 6), round(b, 6)) for a, b in zip(*whole, strict=True)}
        assert points >= set(zip(x, y, strict=True))
        assert x[-1] == 1.0
    x, y = ranking.roc_curve(values, positive)
    area = np.trapezoid(y, x)
    assert area == pytest.approx(metrics.roc_auc_score(positive, values), abs=0.01)
    assert ranking.roc_curve(values, np.ones(5000, bool)) is None
    assert ranking.precision_recall_curve(values, np.zeros(5000, bool)) is None
