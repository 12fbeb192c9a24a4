"""Accuracy of a classifier of two classes by k-fold cross-validation over a corpus."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from scipy.sparse import csr_array

from lm_research.config.signatures import InstanceOf
from lm_research.config.types import PositiveInt
from lm_research.data.document import DataError, Source
from lm_research.data.downloads import Downloads
from lm_research.data.folds import stratified_folds
from lm_research.data.sources.downloaded import DownloadedSource
from lm_research.methods.method import Method, Progress
from lm_research.models.naive_bayes import LinearClassifier

Classifier = Annotated[
    LinearClassifier, InstanceOf("lm_research.models.naive_bayes.LinearClassifier")
]


class CrossValidation(Method):
    """Mean accuracy over folds, in percent: ``accuracy``, and ``fold_deviation`` over the folds.

    Words are what spaces part. The features of a fold are those of its training texts, and folds
    are drawn anew by each seed, as many texts of a class in each as can be.

    Args:
        classifier: of two classes.
        ngrams: longest n-gram of words that is a feature; all shorter ones are, too.
        presence: whether an n-gram is there, in place of how often (Wang and Manning's f-hat).
        folds: k.
    """

    def __init__(
        self,
        classifier: Classifier,
        ngrams: PositiveInt = 1,
        presence: bool = True,
        folds: PositiveInt = 10,
    ) -> None:
        if folds < 2:
            raise ValueError(f"folds is {folds}; at least 2, one of which is held out")
        self.classifier, self.ngrams, self.presence, self.folds = (
            classifier,
            ngrams,
            presence,
            folds,
        )

    def files(self, source: Source | None) -> dict[str, str | None]:
        """Those of the source."""
        known = source.files if isinstance(source, DownloadedSource) else []
        return {file.name: file.sha256 for file in known}

    def measure(
        self, source: Source | None, downloads: Downloads, seed: int, progress: Progress
    ) -> dict[str, float]:
        """See the class."""
        texts, positive_N = labelled(source)
        counts_NV = ngram_counts(texts, self.ngrams, self.presence)
        fold_N = stratified_folds(positive_N, self.folds, seed)
        scores = []
        for fold in range(self.folds):
            held = fold_N == fold
            kept = np.asarray(counts_NV[~held].sum(axis=0)).ravel() > 0
            seen_NV = csr_array(counts_NV[:, kept])
            self.classifier.fit(seen_NV[~held], positive_N[~held])
            right = self.classifier.decide(seen_NV[held]) == positive_N[held]
            scores.append(100 * float(right.mean()))
            progress(fold + 1, self.folds)
        return {"accuracy": float(np.mean(scores)), "fold_deviation": float(np.std(scores, ddof=1))}


def labelled(source: Source | None) -> tuple[list[str], np.ndarray]:
    """Texts, and whether each has the last of its two labels, in alphabetical order; bool_N."""
    if source is None:
        raise DataError("cross-validation needs data.option in expected.yaml")
    documents = [document for document in source if document.label is not None]
    labels = sorted({str(document.label) for document in documents})
    if len(labels) != 2:
        raise DataError(f"data={source.name}: labels {', '.join(labels) or 'none'}; two are needed")
    texts = [document.text for document in documents]
    return texts, np.array([document.label == labels[1] for document in documents])


def ngram_counts(texts: Sequence[str], longest: int, presence: bool) -> csr_array:
    """Sparse rows of how often each n-gram of 1 to ``longest`` words is in each text, float64."""
    column_of: dict[tuple[str, ...], int] = {}
    rows, columns = [], []
    for row, text in enumerate(texts):
        words = text.split()
        grams = [
            tuple(words[start : start + n])
            for n in range(1, longest + 1)
            for start in range(len(words) - n + 1)
        ]
        for gram in set(grams) if presence else grams:
            rows.append(row)
            columns.append(column_of.setdefault(gram, len(column_of)))
    shape = (len(texts), len(column_of))
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
