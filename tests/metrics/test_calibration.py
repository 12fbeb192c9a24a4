"""Temperatures and reliability diagrams, beside a fine grid and torchmetrics' bins."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from lm_research.metrics.calibration import (
    HIGHEST,
    LOWEST,
    calibration_error,
    fit_temperature,
    nats,
    reliability,
)


def drawn(temperature, several=False, documents=4000):
    """Logits that are ``temperature`` times what the labels were drawn from."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(documents, 4))
    if several:
        labels = rng.random(logits.shape) < expit(logits)
    else:
        p = softmax(logits, axis=1)
        labels = (rng.random((documents, 1)) > p.cumsum(1)[:, :-1]).sum(1)
    return temperature * logits, labels


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_of_the_labels_is_found(several, temperature):
    logits, labels = drawn(temperature, several)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.15)
    grid = np.geomspace(found / 1.5, found * 1.5, 301)
    losses = [nats(logits / t, labels).mean() for t in grid]
    assert nats(logits / found, labels).mean() <= min(losses) + 1e-12
    if temperature == 3.0:
        p, raw = ((expit if several else lambda z: softmax(z, axis=1))(z) for z in (
            logits / found, logits
        ))  # fmt: skip
        if several:
            pairs = [(x.ravel(), labels.ravel()) for x in (p, raw)]
        else:
            pairs = [(x.max(1), x.argmax(1) == labels) for x in (p, raw)]
        after, before = (calibration_error(*pair) for pair in pairs)
        assert after < 0.3 * before


@pytest.mark.parametrize("several", [False, True])
def test_it_never_makes_the_labels_less_probable_nor_moves_a_decision(several):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        logits = rng.normal(size=(7, 3)) * rng.uniform(0.01, 20)
        labels = rng.random((7, 3)) < 0.4 if several else rng.integers(0, 3, 7)
        t = fit_temperature(logits, labels)
        assert LOWEST < t < HIGHEST
        assert nats(logits / t, labels).mean() <= nats(logits, labels).mean()
        np.testing.assert_array_equal((logits / t).argmax(1), logits.argmax(1))
        np.testing.assert_array_equal(logits / t > 0, logits > 0)


def test_without_an_error_it_stays_within_its_bounds():
    logits = np.array([[5.0, 0.0], [0.0, 5.0]])
    assert LOWEST < fit_temperature(logits, np.array([0, 1])) < 0.2  # where the loss is 0
    assert 10 < fit_temperature(logits, np.array([1, 0])) < HIGHEST


@pytest.mark.parametrize("several", [False, True])
def test_nats_are_torchs(several):
    logits, labels = drawn(1.0, several, documents=50)
    z, y = torch.from_numpy(logits), torch.from_numpy(labels)
    if several:
        losses = torch.nn.functional.binary_cross_entropy_with_logits
        expected = losses(z, y.double(), reduction="none").sum(1)
    else:
        expected = torch.nn.functional.cross_entropy(z, y, reduction="none")
    np.testing.assert_allclose(nats(logits, labels), expected.numpy())
    assert np.isfinite(nats(logits * 1e4, labels)).all()


def test_a_reliability_diagram_is_the_calibration_error_bin_by_bin():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.4, 1.0, 500)
    right = rng.random(500) < p**2
    bins = reliability(p, right)
    gaps = np.abs(np.array(bins.right) - bins.probability) * bins.count
    assert gaps.sum() / 500 == pytest.approx(calibration_error(p, right))
    assert sum(bins.count) == 500
    assert len(bins.count) == 9  # those that hold something
    inside = (p > 14 / 15) & (p <= 1)
    assert bins.right[-1] == pytest.approx(right[inside].mean())
    assert bins.probability[-1] == pytest.approx(p[inside].mean())
