"""scikit-learn's linear models, to be scored beside a neural one on the same documents.

Logistic regression on counts and on TF-IDF of the run's own tokens (whole documents), and on TF-IDF
of one and two of them, which a linear support vector machine reads, too: all with scikit-learn's
defaults. They see the training split alone, and nothing is tuned. Where a document may have several
labels there is one such model for each class (``OneVsRestClassifier``).
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from lm_research.data.labels import LabelledSplit, MultilabelSplit
from lm_research.metrics.classification import confusion, per_class
from lm_research.metrics.multilabel import decision_scores

FEATURES = {
    ("counts", 1): {"bag_of_words_logistic": "logistic"},
    ("tfidf", 1): {"tfidf_words_logistic": "logistic"},
    ("tfidf", 2): {"tfidf_logistic": "logistic", "tfidf_svm": "svm"},
}
"""Weights of n-grams and the longest of these -> the models that read them."""


def baseline_scores(
    train: LabelledSplit, held: Mapping[str, LabelledSplit], seed: int
) -> dict[str, float]:
    """``baseline/tfidf_logistic/val_accuracy`` and the like; needs scikit-learn (``baselines``).

    Args:
        train: what the models are fitted to.
        held: by name; an empty split is left out.
        seed: of the solvers.
    """
    found: dict[str, float] = {}
    several = isinstance(train, MultilabelSplit)
    there = {group: split for group, split in held.items() if len(split)}
    for (weights, longest), kinds in FEATURES.items():
        vectorizer = _vectorizer(weights, longest)
        x_train = vectorizer.fit_transform(_documents(train))
        x_held = {g: vectorizer.transform(_documents(split)) for g, split in there.items()}
        for name, kind in kinds.items():
            model = _model(kind, seed, several)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(x_train, _targets(train))
            for group, split in there.items():
                scores = _scores(split, model.predict(x_held[group]))
                found |= {f"baseline/{name}/{group}_{k}": v for k, v in scores.items()}
    return found


def _vectorizer(weights: str, longest: int) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    kind = {"counts": CountVectorizer, "tfidf": TfidfVectorizer}[weights]
    return kind(tokenizer=_tokens, token_pattern=None, lowercase=False, ngram_range=(1, longest))


def _model(kind: str, seed: int, several: bool) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import LinearSVC

    models = {
        "logistic": LogisticRegression(max_iter=1000, random_state=seed),
        "svm": LinearSVC(random_state=seed),
    }
    model = models[kind]
    return OneVsRestClassifier(model) if several else model


def _documents(split: LabelledSplit) -> list[Any]:
    return [split.document(i) for i in range(len(split))]


def _tokens(ids_N: np.ndarray) -> list[str]:
    """scikit-learn joins the tokens of an n-gram as text."""
    return list(map(str, ids_N.tolist()))


def _targets(split: LabelledSplit) -> np.ndarray:
    """labels_D, int64, or labels_DC as scikit-learn wants them: 0 and 1."""
    if isinstance(split, MultilabelSplit):
        return split.labels_DC.astype(np.int64)
    return split.labels_D


def _scores(split: LabelledSplit, predicted: np.ndarray) -> dict[str, float]:
    """Of predicted_DC (0 and 1) where a document may have several labels, else of predicted_D."""
    if isinstance(split, MultilabelSplit):
        found = decision_scores(predicted.reshape(split.labels_DC.shape) > 0, split.labels_DC)
        return {name: found[name] for name in ("subset_accuracy", "f1_macro", "f1_micro")}
    cells = confusion(split.labels_D, predicted, len(split.classes))
    of_class = per_class(cells)
    occurs_C = (of_class["support"] + of_class["predicted"]) > 0
    f1 = float(of_class["f1"][occurs_C].mean())
    return {"accuracy": float((predicted == split.labels_D).mean()), "f1_macro": f1}
