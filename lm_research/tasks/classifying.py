"""Score a classifier on labelled documents, and give classes to documents that have none."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lm_research.data.document import DataError
from lm_research.data.document_batches import DocumentBatch, in_order, padded
from lm_research.data.labels import LabelledSplit
from lm_research.metrics.classification import scores
from lm_research.tasks.classification import Classification
from lm_research.tasks.evaluation import DivergenceError, Evaluation

BATCH = 64
"""Documents that are scored at once, at most; a matter of memory, not of the scores."""


@dataclass(frozen=True)
class ClassifierEvaluation(Evaluation):
    """As :class:`Evaluation`, with what was predicted. A document's nats are -log p(its label)."""

    labels_D: np.ndarray
    log_p_DC: np.ndarray

    @property
    def predicted_D(self) -> np.ndarray:  # noqa: N802 - the name carries the shape
        """Places of the classes that were predicted, int64."""
        return self.log_p_DC.argmax(1)


def evaluate_classifier(
    model: Classification,
    split: LabelledSplit,
    progress: Callable[[int, int], None] | None = None,
) -> ClassifierEvaluation:
    """Every labelled document of ``split`` once; ``model`` is in evaluation mode.

    Raises:
        DataError: there is none.
        DivergenceError: the model predicts NaN.
    """
    name = split.split.name
    if not len(split):
        raise DataError(
            f"the {name} split has no document of a known class ({', '.join(model.classes)}): "
            f"splits.{name} must be greater than 0, and the source large enough"
        )
    log_p_DC = np.empty((len(split), len(model.classes)))
    batches = in_order(split, BATCH, model.max_tokens)
    for number, places in enumerate(batches):
        documents = [split.document(place) for place in places]
        log_p_DC[places] = _log_probabilities(model, documents)
        if progress:
            progress(number + 1, len(batches))
    if np.isnan(log_p_DC).any():
        raise DivergenceError(
            f"the model's probabilities on the {name} split are not numbers (NaN): training "
            "diverged; lower optimizer.lr, or set trainer.gradient_clip"
        )
    found = scores(log_p_DC, split.labels_D)
    found["other_labels"] = split.left_out
    nats_D = -log_p_DC[np.arange(len(split)), split.labels_D]
    size_D = split.split.documents["bytes"][split.places_D].astype(np.int64)
    return ClassifierEvaluation(found, nats_D, size_D, split.labels_D, log_p_DC)


def classify(
    model: Classification, documents: Sequence[np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """The predicted class of each document (ids_N), and p_C of all classes."""
    for log_p_C in _log_probabilities(model, documents):
        yield model.classes[int(log_p_C.argmax())], np.exp(log_p_C)


def _log_probabilities(model: Classification, documents: Sequence[np.ndarray]) -> np.ndarray:
    ids_BT, lengths_B = padded(documents, model.max_tokens)
    none_B = torch.zeros(len(documents), dtype=torch.int64)
    log_p_BC = model.log_probabilities(DocumentBatch(ids_BT, lengths_B, none_B))
    return log_p_BC.double().numpy()
