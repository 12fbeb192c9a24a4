"""Score a classifier on labelled documents, and give classes to documents that have none."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lm_research.data.document import DataError
from lm_research.data.document_batches import DocumentBatch, in_order, padded
from lm_research.data.labels import LabelledSplit, MultilabelSplit
from lm_research.metrics.calibration import log_p, nats
from lm_research.metrics.classification import scores
from lm_research.metrics.multilabel import multilabel_scores
from lm_research.tasks.classification import Classification
from lm_research.tasks.evaluation import DivergenceError, Evaluation

BATCH = 64
"""Documents that are scored at once, at most; a matter of memory, not of the scores."""
Progress = Callable[[int, int], None]
CALIBRATED = ("loss_nats", "calibration_error")
"""Scores that a temperature moves, told as they were without it, too."""


@dataclass(frozen=True)
class ClassifierEvaluation(Evaluation):
    """As :class:`Evaluation`, with what was predicted. A document's nats are -log p(its label)."""

    labels_D: np.ndarray
    log_p_DC: np.ndarray
    temperature: float = 1.0
    """by which the logits were divided"""

    @property
    def predicted_D(self) -> np.ndarray:  # noqa: N802 - the name carries the shape
        """Places of the classes that were predicted, int64."""
        return self.log_p_DC.argmax(1)


@dataclass(frozen=True)
class MultilabelEvaluation(Evaluation):
    """The same where a document may have several labels; its nats are -log p(all its labels)."""

    labels_DC: np.ndarray
    logits_DC: np.ndarray
    """divided by the temperature"""
    temperature: float = 1.0

    @property
    def predicted_DC(self) -> np.ndarray:  # noqa: N802 - the name carries the shape
        """Which classes were predicted, bool: those more probable than not."""
        return self.logits_DC > 0


def evaluate_classifier(
    model: Classification, split: LabelledSplit, progress: Progress | None = None
) -> ClassifierEvaluation | MultilabelEvaluation:
    """Every labelled document of ``split`` once; ``model`` is in evaluation mode.

    Raises:
        DataError: there is none.
        DivergenceError: the model predicts NaN.
    """
    raw_DC = split_logits(model, split, progress)
    temperature = float(model.temperature) if model.calibrate else 1.0
    logits_DC, targets = raw_DC / temperature, split.all_targets()
    found = _scores(logits_DC, targets)
    if model.calibrate:
        before = _scores(raw_DC, targets)
        found |= {f"{name}_uncalibrated": before[name] for name in CALIBRATED}
    found["other_labels"] = split.left_out
    nats_D = nats(logits_DC, targets)
    size_D = split.split.documents["bytes"][split.places_D].astype(np.int64)
    if isinstance(split, MultilabelSplit):
        return MultilabelEvaluation(found, nats_D, size_D, targets, logits_DC, temperature)
    log_p_DC = log_p(logits_DC)
    return ClassifierEvaluation(found, nats_D, size_D, targets, log_p_DC, temperature)


def _scores(logits_DC: np.ndarray, targets: np.ndarray) -> dict[str, float | None]:
    """By labels_D (int64), or labels_DC (bool) where there may be several."""
    if targets.ndim == 2:
        return multilabel_scores(logits_DC, targets)
    return scores(log_p(logits_DC), targets)


def split_logits(
    model: Classification, split: LabelledSplit, progress: Progress | None = None
) -> np.ndarray:
    """logits_DC, float64; see :func:`evaluate_classifier`."""
    if not len(split):
        name = split.split.name
        raise DataError(
            f"the {name} split has no document of a known class ({', '.join(model.classes)}): "
            f"splits.{name} must be greater than 0, and the source large enough"
        )
    logits_DC = np.empty((len(split), len(model.classes)))
    batches = in_order(split, BATCH, model.max_tokens)
    for number, places in enumerate(batches):
        documents = [split.document(place) for place in places]
        logits_DC[places] = model.held_out_logits(_unlabelled(model, documents)).double().numpy()
        if progress:
            progress(number + 1, len(batches))
    if np.isnan(logits_DC).any():
        raise DivergenceError(
            f"the model's probabilities on the {split.split.name} split are not numbers (NaN): "
            "training diverged; lower optimizer.lr, or set trainer.gradient_clip"
        )
    return logits_DC


def classify(
    model: Classification, documents: Sequence[np.ndarray]
) -> Iterator[tuple[str | list[str], np.ndarray]]:
    """The predicted class of each document (ids_N), and p_C of all classes.

    Where a document may have several labels: those more probable than not, the most probable first.
    """
    logits_BC = model.held_out_logits(_unlabelled(model, documents))
    p_BC = model.normalized(logits_BC).double().exp().numpy()
    for logits_C, p_C in zip(logits_BC.numpy(), p_BC, strict=True):
        if model.several:
            order = np.argsort(-logits_C, kind="stable").tolist()
            yield [model.classes[place] for place in order if logits_C[place] > 0], p_C
        else:
            yield model.classes[int(logits_C.argmax())], p_C


def _unlabelled(model: Classification, documents: Sequence[np.ndarray]) -> DocumentBatch:
    ids_BT, lengths_B = padded(documents, model.max_tokens)
    none_B: Tensor = torch.zeros(len(documents), dtype=torch.int64)
    return DocumentBatch(ids_BT, lengths_B, none_B)
