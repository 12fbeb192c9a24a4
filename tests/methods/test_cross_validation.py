"""Folds, features, and the whole against scikit-learn."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from lm_research.data.document import DataError, Document, Source
from lm_research.data.downloads import Downloads
from lm_research.data.folds import stratified_folds
from lm_research.methods.cross_validation import (
    CrossValidation,
    labelled,
    ngram_counts,
)
from lm_research.models.naive_bayes import MultinomialNaiveBayes

WORDS = ["good", "bad", "film", "plot", "great", "dull", "a", "the", "of", "it", "was", "very"]


class Reviews(Source):
    def __init__(self, labels=("negative", "positive")):
        super().__init__(name="reviews", language="en", category="reviews", licence="none")
        self.labels = labels

    def __iter__(self):
        rng = np.random.default_rng(0)
        for number in range(120):
            label = self.labels[number % len(self.labels)]
            shift = 1 if label == "positive" else 3
            words = [WORDS[int(i)] for i in rng.integers(0, len(WORDS) - shift, 9)]
            yield Document(" ".join(words), self.name, str(number), label)

    def signature(self):
        return "reviews"


@pytest.mark.parametrize("presence", [True, False])
@pytest.mark.parametrize("ngrams", [1, 2])
def test_features_are_scikit_learns(ngrams, presence):
    texts = [*(document.text for document in Reviews()), ""]
    oracle = CountVectorizer(ngram_range=(1, ngrams), token_pattern=r"\S+", binary=presence)
    expected = oracle.fit_transform(texts).toarray()
    found = ngram_counts(texts, ngrams, presence).toarray()
    assert sorted(map(tuple, found.T)) == sorted(map(tuple, expected.T.astype(float)))


def test_folds_are_even_in_both_classes_and_drawn_by_the_seed():
    positive_N = np.arange(203) % 3 == 0
    fold_N = stratified_folds(positive_N, 10, seed=1)
    for own in (positive_N, ~positive_N, np.ones(203, dtype=bool)):
        counts = np.bincount(fold_N[own], minlength=10)
        assert counts.max() - counts.min() <= 1
    assert (fold_N == stratified_folds(positive_N, 10, 1)).all()
    assert (fold_N != stratified_folds(positive_N, 10, 2)).any()


def test_the_accuracy_is_scikit_learns_on_the_same_folds():
    parts = []
    method = CrossValidation(MultinomialNaiveBayes(), ngrams=2, folds=5)
    found = method.measure(Reviews(), Downloads("."), 3, lambda done, whole: parts.append(done))
    texts, positive_N = labelled(Reviews())
    fold_N, scores = stratified_folds(positive_N, 5, 3), []
    for fold in range(5):
        held = fold_N == fold
        count = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", binary=True)
        train = count.fit_transform([t for t, h in zip(texts, held, strict=True) if not h])
        test = count.transform([t for t, h in zip(texts, held, strict=True) if h])
        oracle = MultinomialNB(alpha=1.0).fit(train, positive_N[~held])
        scores.append(100 * oracle.score(test, positive_N[held]))
    assert found["accuracy"] == pytest.approx(np.mean(scores))
    assert found["fold_deviation"] == pytest.approx(np.std(scores, ddof=1))
    assert parts == [1, 2, 3, 4, 5]


def test_two_labels_are_needed():
    with pytest.raises(DataError, match="a, b, c; two are needed"):
        labelled(Reviews(("a", "b", "c")))
    with pytest.raises(DataError, match=r"data\.option"):
        labelled(None)
