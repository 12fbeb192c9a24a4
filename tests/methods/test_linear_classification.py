"""Features and weights of the linear baselines, against scikit-learn and a count by hand."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from lm_research.data.document import DataError, Document, Source
from lm_research.data.downloads import Downloads
from lm_research.methods.linear_classification import LinearClassification
from lm_research.methods.ngram_features import NGramFeatures
from lm_research.models.multinomial_logistic import MultinomialLogistic

WORDS = ["rain", "sun", "Snow", "bank", "goal", "vote", "chip", "X2"]


def texts(count, seed):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(0, 12))) for _ in range(count)]


def dense(features, rows):
    return np.asarray(rows.todense())


@pytest.mark.parametrize("longest", [1, 2, 3, 5])
def test_counts_are_scikit_learns(longest):
    sklearn = pytest.importorskip("sklearn.feature_extraction.text")
    oracle = sklearn.CountVectorizer(ngram_range=(1, longest), token_pattern=r"\w+")
    seen, other = texts(40, 1), [*texts(30, 2), "a word unheard of", ""]
    features = NGramFeatures(longest, 10**6, "count", "none")
    for ours, theirs in (
        (features.fit(seen), oracle.fit_transform(seen)),
        (features.transform(other), oracle.transform(other)),
    ):
        ours, theirs = np.asarray(ours.todense()), np.asarray(theirs.todense())
        assert sorted(map(tuple, ours.T)) == sorted(map(tuple, theirs.T))  # columns, in any order
        assert ours.shape == theirs.shape


def test_features_are_the_most_frequent_n_grams():
    """Counts: b 4, a 3, a b 3, b b 1, b a 1."""
    features = NGramFeatures(2, 3, "count", "none")
    found = np.asarray(features.fit(["a b", "a b b a b"]).todense())
    assert found.tolist() == [[1, 1, 1], [3, 2, 2]]  # b, a, "a b"
    assert np.asarray(features.transform(["b b c a b", "c"]).todense()).tolist() == [
        [3, 1, 1],
        [0, 0, 0],
    ]


def test_tf_idf_and_scales_are_those_of_the_paper():
    """Section 3.1: count ln(N / df), divided by the largest value."""
    seen = ["a a b", "b c", "c c c c d"]
    idf = {"a": math.log(3), "b": math.log(1.5), "c": math.log(1.5), "d": math.log(3)}
    # most frequent first: c 5, then a 2, b 2, d 1
    plain = np.array(
        [
            [0, 2 * idf["a"], idf["b"], 0],
            [idf["c"], 0, idf["b"], 0],
            [4 * idf["c"], 0, 0, idf["d"]],
        ]
    )
    largest = {"none": 1.0, "corpus": plain.max(), "document": plain.max(1, keepdims=True)}
    for scale, divisor in largest.items():
        features = NGramFeatures(1, 10, "tfidf", scale)
        found = np.asarray(features.fit(seen).todense())
        np.testing.assert_allclose(found, plain / divisor, rtol=1e-12)
        other = np.asarray(features.transform(["a d d", "e"]).todense())
        expected = np.array([[0, idf["a"], 0, 2 * idf["d"]], [0, 0, 0, 0]])
        own = {"document": 2 * idf["d"]}.get(scale, divisor)
        np.testing.assert_allclose(other, expected / own, rtol=1e-12)


@pytest.mark.parametrize("penalty", [0.01, 1.0, 100.0])
def test_the_weights_are_scikit_learns(penalty):
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x_NV = rng.poisson(0.7, (120, 15)).astype(float)
    labels_N = (x_NV[:, :4] + rng.normal(0, 1, (120, 4))).argmax(1)
    oracle = linear_model.LogisticRegression(C=penalty, tol=1e-10, max_iter=10_000)
    oracle.fit(x_NV, labels_N)
    for start in (None, MultinomialLogistic(1.0)):
        model = MultinomialLogistic(penalty)
        if start is not None:
            start.fit(csr_array(x_NV), labels_N)
        model.fit(csr_array(x_NV), labels_N, start)
        theirs = oracle.predict_log_proba(x_NV)
        np.testing.assert_allclose(model.log_probabilities(csr_array(x_NV)), theirs, atol=2e-4)
        np.testing.assert_allclose(model.w_KV, oracle.coef_, atol=2e-4)


class Weather(Source):
    """Each text names its label, beside words that say nothing."""

    def __init__(self, splits=("train", "validation", "test")):
        super().__init__(name="weather", language="en", category="news", licence="CC0-1.0")
        self.splits = splits

    def __iter__(self):
        rng = np.random.default_rng(0)
        for split in self.splits:
            for number in range(60):
                label = ("rain", "sun", "snow")[number % 3]
                noise = " ".join(rng.choice(["the", "of", "and", "day", "week"], 6))
                said = label if number % 10 else "nothing"  # a tenth cannot be told
                yield Document(
                    f"{noise} {said}", "weather", f"{split}/{number}", label, None, split
                )

    def signature(self):
        return "weather"


def test_the_method_measures_the_error_of_the_penalty_that_validation_prefers(tmp_path):
    told = []
    method = LinearClassification([100.0, 1e-6], ngrams=2, features=500, weighting="tfidf")
    found = method.measure(
        Weather(), Downloads(str(tmp_path)), 1, lambda *parts: told.append(parts)
    )
    assert found["penalty"] == 100.0
    assert found["validation_error"] <= 10.0
    assert found["error"] <= 10.0
    assert told[-1] == (3, 3)
    assert method.measure(Weather(), Downloads(str(tmp_path)), 2, lambda *parts: None) == found


def test_a_source_without_a_split_is_told(tmp_path):
    with pytest.raises(DataError, match=r"data=weather: .* validation and test split"):
        LinearClassification([1.0]).measure(
            Weather(("train",)), Downloads(str(tmp_path)), 1, lambda *parts: None
        )
    with pytest.raises(ValueError, match="penalties"):
        LinearClassification([])
