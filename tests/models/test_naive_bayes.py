"""Linear classifiers against scikit-learn's."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.naive_bayes import MultinomialNB
from sklearn.svm import LinearSVC

from lm_research.models.naive_bayes import (
    MultinomialNaiveBayes,
    NaiveBayesSupportVectors,
    SupportVectors,
    log_count_ratio,
    squared_hinge,
)


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    positive_N = rng.random(300) < 0.4
    rates = np.where(positive_N[:, None], rng.gamma(0.3, size=40), rng.gamma(0.3, size=40))
    return csr_array(rng.poisson(rates).astype(float)), positive_N


@pytest.mark.parametrize("smoothing", [0.1, 1.0])
def test_naive_bayes_is_scikit_learns(texts, smoothing):
    counts_NV, positive_N = texts
    own, oracle = MultinomialNaiveBayes(smoothing), MultinomialNB(alpha=smoothing)
    own.fit(counts_NV, positive_N)
    oracle.fit(counts_NV, positive_N)
    assert (own.decide(counts_NV) == oracle.predict(counts_NV)).all()
    log_odds = np.diff(oracle.predict_joint_log_proba(counts_NV), axis=1)[:, 0]
    assert counts_NV @ own.w_V + own.b == pytest.approx(log_odds, abs=1e-9)


@pytest.mark.parametrize("penalty", [0.1, 1.0])
def test_the_svm_is_liblinears(texts, penalty):
    counts_NV, positive_N = texts
    w_V, b = squared_hinge(counts_NV, positive_N, penalty)
    oracle = LinearSVC(C=penalty, dual=False, tol=1e-8, max_iter=10_000).fit(counts_NV, positive_N)
    assert w_V == pytest.approx(oracle.coef_[0], abs=1e-4)
    assert b == pytest.approx(oracle.intercept_[0], abs=1e-4)
    own = SupportVectors(penalty)
    own.fit(counts_NV, positive_N)
    assert (own.decide(counts_NV) == oracle.predict(counts_NV)).mean() > 0.99


def test_nbsvm_at_its_ends(texts):
    counts_NV, positive_N = texts
    r_V = log_count_ratio(counts_NV, positive_N, 1.0)
    alone = LinearSVC(C=1.0, dual=False, tol=1e-8).fit(counts_NV.toarray() * r_V, positive_N)
    own = NaiveBayesSupportVectors(interpolation=1.0)
    own.fit(counts_NV, positive_N)
    assert own.w_V == pytest.approx(alone.coef_[0] * r_V, abs=1e-3)
    own = NaiveBayesSupportVectors(interpolation=0.0)
    own.fit(counts_NV, positive_N)  # naive Bayes, scaled
    assert own.w_V == pytest.approx(np.abs(alone.coef_).mean() * r_V, rel=1e-3)


def test_one_class_is_refused(texts):
    with pytest.raises(ValueError, match="one class"):
        MultinomialNaiveBayes().fit(texts[0], np.ones(300, dtype=bool))
