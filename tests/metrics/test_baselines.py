"""scikit-learn's models beside a neural one are what scikit-learn makes of the same words."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from lm_research.data.labels import MultilabelSplit
from lm_research.metrics.baselines import baseline_scores

CLASSES = ["bad", "good", "never"]


class Split:
    """What of :class:`LabelledSplit` is read: documents as ids, and labels."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.classes, self.labels_D = CLASSES, rng.integers(0, 2, count)
        drawn = (rng.integers(0, 12, rng.integers(3, 9)) for _ in range(count))
        self.documents = [
            ids_N + (label if rng.random() < 0.6 else 0)
            for ids_N, label in zip(drawn, self.labels_D, strict=True)
        ]

    def __len__(self):
        return len(self.documents)

    def document(self, place):
        return self.documents[place]

    def texts(self):
        return [" ".join(f"w{i}" for i in ids_N) for ids_N in self.documents]


def words_of(kind, longest):
    return kind(lowercase=False, token_pattern=r"\S+", ngram_range=(1, longest))


LOGISTIC, SVM = LogisticRegression(max_iter=1000, random_state=3), LinearSVC(random_state=3)
MODELS = {
    "bag_of_words_logistic": (words_of(CountVectorizer, 1), LOGISTIC),
    "tfidf_words_logistic": (words_of(TfidfVectorizer, 1), LOGISTIC),
    "tfidf_logistic": (words_of(TfidfVectorizer, 2), LOGISTIC),
    "tfidf_svm": (words_of(TfidfVectorizer, 2), SVM),
}


def test_the_models_score_as_scikit_learns_do():
    train, held, empty = Split(120, 0), Split(60, 1), Split(0, 2)
    found = baseline_scores(train, {"val": held, "test": empty}, seed=3)
    expected = {}
    for name, (words, model) in MODELS.items():
        x_train, x_held = words.fit_transform(train.texts()), words.transform(held.texts())
        predicted = model.fit(x_train, train.labels_D).predict(x_held)
        scores = {
            "accuracy": accuracy_score(held.labels_D, predicted),
            "f1_macro": f1_score(held.labels_D, predicted, average="macro"),
        }
        expected |= {f"baseline/{name}/val_{key}": value for key, value in scores.items()}
    assert found == pytest.approx(expected)
    assert 0.6 < found["baseline/tfidf_svm/val_accuracy"] < 1  # there is something to tell apart


class SeveralSplit(MultilabelSplit):
    """Documents whose words tell of each class by itself."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.classes, self._labels_DC = CLASSES, rng.random((count, 3)) < (0.5, 0.3, 0.2)
        self.documents = [
            np.concatenate(
                [rng.integers(0, 9, 4), 10 + np.flatnonzero(row | (rng.random(3) < 0.1))]
            )
            for row in self._labels_DC
        ]

    labels_DC = property(lambda self: self._labels_DC)
    document, __len__, texts = Split.document, Split.__len__, Split.texts


def test_of_several_labels_there_is_one_model_a_class():
    train, held = SeveralSplit(150, 0), SeveralSplit(60, 1)
    found = baseline_scores(train, {"val": held}, seed=3)
    expected = {}
    for name, (words, model) in MODELS.items():
        x_train, x_held = words.fit_transform(train.texts()), words.transform(held.texts())
        fitted = OneVsRestClassifier(model).fit(x_train, train.labels_DC)
        predicted = fitted.predict(x_held)
        scores = {
            "subset_accuracy": accuracy_score(held.labels_DC, predicted),
            "f1_macro": f1_score(held.labels_DC, predicted, average="macro"),
            "f1_micro": f1_score(held.labels_DC, predicted, average="micro"),
        }
        expected |= {f"baseline/{name}/val_{key}": value for key, value in scores.items()}
    assert found == pytest.approx(expected)
    assert 0.6 < found["baseline/tfidf_svm/val_f1_micro"] < 1
