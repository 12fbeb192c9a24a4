"""scikit-learn's linear models, to be scored beside a neural one on the same documents.

TF-IDF of unigrams and bigrams of the run's own tokens (whole documents), then logistic regression
or a linear support vector machine, all with scikit-learn's defaults. They see the training split
alone, and nothing is tuned.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from lm_research.data.labels import LabelledSplit
from lm_research.metrics.classification import confusion, per_class

NGRAMS = (1, 2)


def baseline_scores(
    train: LabelledSplit, held: Mapping[str, LabelledSplit], seed: int
) -> dict[str, float]:
    """``baseline/tfidf_logistic/val_accuracy`` and the like; needs scikit-learn (``baselines``).

    Args:
        train: what the models are fitted to.
        held: by name; an empty split is left out.
        seed: of the solvers.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    vectorizer = TfidfVectorizer(
        tokenizer=_tokens, token_pattern=None, lowercase=False, ngram_range=NGRAMS
    )
    x_train = vectorizer.fit_transform(_documents(train))
    found: dict[str, float] = {}
    models = {
        "tfidf_logistic": LogisticRegression(max_iter=1000, random_state=seed),
        "tfidf_svm": LinearSVC(random_state=seed),
    }
    for name, model in models.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x_train, train.labels_D)
        for group, split in held.items():
            if len(split):
                predicted_D = model.predict(vectorizer.transform(_documents(split)))
                scores = _scores(split, predicted_D)
                found |= {f"baseline/{name}/{group}_{k}": v for k, v in scores.items()}
    return found


def _documents(split: LabelledSplit) -> list[Any]:
    return [split.document(i) for i in range(len(split))]


def _tokens(ids_N: np.ndarray) -> list[str]:
    """scikit-learn joins the tokens of an n-gram as text."""
    return list(map(str, ids_N.tolist()))


def _scores(split: LabelledSplit, predicted_D: np.ndarray) -> dict[str, float]:
    cells = confusion(split.labels_D, predicted_D, len(split.classes))
    of_class = per_class(cells)
    occurs_C = (of_class["support"] + of_class["predicted"]) > 0
    f1 = float(of_class["f1"][occurs_C].mean())
    return {"accuracy": float((predicted_D == split.labels_D).mean()), "f1_macro": f1}
