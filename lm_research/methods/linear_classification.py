"""Test error of multinomial logistic regression on n-grams of words."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.sparse import csr_array

from lm_research.config.types import PositiveFloat, PositiveInt
from lm_research.data.document import DataError, Document, Source
from lm_research.data.downloads import Downloads
from lm_research.data.sources.downloaded import DownloadedSource
from lm_research.methods.method import Method, Progress
from lm_research.methods.ngram_features import NGramFeatures
from lm_research.models.multinomial_logistic import MultinomialLogistic

GAIN = 1e-7
"""Of the solver. With 1e-12 one of 7,600 test texts changed its class, in one model of two."""


class LinearClassification(Method):
    """Percent of the test texts that get another class than theirs: ``error``.

    The bags of Zhang, Zhao and LeCun (2015, arXiv:1509.01626): the counts or TF-IDF of the most
    frequent n-grams (:class:`NGramFeatures`), and multinomial logistic regression. The paper does
    not say how its weights are held: here an L2 penalty is chosen on the validation split, and
    the model is then fitted to training and validation texts together. Also measured:
    ``validation_error`` and ``penalty`` of the choice. Nothing is drawn.

    Args:
        ngrams: longest n-gram of words; all shorter ones are features, too.
        features: so many of the most frequent ones.
        weighting: ``count``, or ``tfidf``, count ln(N / df).
        scale: what features are divided by: 1 (``none``), the largest of the training texts
            (``corpus``), the largest of the same text (``document``).
        penalties: values of C to choose from; those that hold the weights most come first.
    """

    def __init__(
        self,
        penalties: list[PositiveFloat],
        ngrams: PositiveInt = 1,
        features: PositiveInt = 50_000,
        weighting: Literal["count", "tfidf"] = "count",
        scale: Literal["none", "corpus", "document"] = "corpus",
    ) -> None:
        if not penalties:
            raise ValueError("penalties: at least one")
        self.penalties = sorted(penalties)
        self.ngrams, self.features = ngrams, features
        self.weighting, self.scale = weighting, scale

    def files(self, source: Source | None) -> dict[str, str | None]:
        """Those of the source."""
        known = source.files if isinstance(source, DownloadedSource) else []
        return {file.name: file.sha256 for file in known}

    def measure(
        self, source: Source | None, downloads: Downloads, seed: int, progress: Progress
    ) -> dict[str, float]:
        """See the class."""
        train, validation, test = _official(source)
        classes = sorted({str(document.label) for document in train})
        fits = len(self.penalties) + 1
        progress(0, fits)
        penalty, validation_error = self._chosen(train, validation, classes, progress)
        error = self._error([*train, *validation], test, classes, penalty)
        progress(fits, fits)
        return {"error": error, "validation_error": validation_error, "penalty": penalty}

    def _error(
        self,
        train: Sequence[Document],
        test: Sequence[Document],
        classes: Sequence[str],
        penalty: float,
    ) -> float:
        features, model = self._features(), MultinomialLogistic(penalty, GAIN)
        x_NV = features.fit([document.text for document in train])
        model.fit(x_NV, _labels(train, classes))
        test_NV = features.transform([document.text for document in test])
        return _percent_wrong(model, test_NV, _labels(test, classes))

    def _features(self) -> NGramFeatures:
        return NGramFeatures(self.ngrams, self.features, self.weighting, self.scale)

    def _chosen(
        self,
        train: Sequence[Document],
        held: Sequence[Document],
        classes: Sequence[str],
        progress: Progress,
    ) -> tuple[float, float]:
        """C, and the validation error by it; of equal ones the least C."""
        features = self._features()
        x_NV = features.fit([document.text for document in train])
        held_NV = features.transform([document.text for document in held])
        labels_N, held_N = _labels(train, classes), _labels(held, classes)
        best, before = (self.penalties[0], float("inf")), None
        for number, penalty in enumerate(self.penalties, start=1):
            model = MultinomialLogistic(penalty, GAIN)
            model.fit(x_NV, labels_N, before)
            before, error = model, _percent_wrong(model, held_NV, held_N)
            best = (penalty, error) if error < best[1] else best
            progress(number, len(self.penalties) + 1)
        return best


def _official(source: Source | None) -> tuple[list[Document], list[Document], list[Document]]:
    """Labelled documents of the training, validation and test split."""
    if source is None:
        raise DataError("linear classification needs data.option in expected.yaml")
    found: dict[str | None, list[Document]] = {"train": [], "validation": [], "test": []}
    for document in source:
        if document.label is not None and document.split in found:
            found[document.split].append(document)
    if empty := [str(split) for split, documents in found.items() if not documents]:
        raise DataError(
            f"data={source.name}: no labelled document in its {' and '.join(empty)} split; fix: a "
            "source with official splits, and data.validation_share above 0 where one is missing"
        )
    return found["train"], found["validation"], found["test"]


def _labels(documents: Sequence[Document], classes: Sequence[str]) -> np.ndarray:
    """int64; -1 for a label of no training document, which nothing will predict."""
    place = {label: number for number, label in enumerate(classes)}
    return np.array([place.get(str(document.label), -1) for document in documents], np.int64)


def _percent_wrong(model: MultinomialLogistic, x_NV: csr_array, labels_N: np.ndarray) -> float:
    return 100 * float((model.log_probabilities(x_NV).argmax(1) != labels_N).mean())
