"""Score a tagger on sentences whose tags are known, and give tags to words that have none.

Shapes: W words of a split, D sentences, C tags.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lm_research.data.document import DataError
from lm_research.data.document_batches import by_length
from lm_research.data.tagged_batches import NO_TAG, tagged_batch
from lm_research.data.tagged_words import Sentence, TaggedSplit
from lm_research.metrics.calibration import calibration_error
from lm_research.metrics.tagging import tag_scores
from lm_research.tasks.evaluation import DivergenceError, Evaluation
from lm_research.tasks.tagging import Tagging
from lm_research.text.tagged_words import EncodedWords

BATCH = 64
"""Sentences that are scored at once, at most; a matter of memory, not of the scores."""


@dataclass(frozen=True)
class TaggerEvaluation(Evaluation):
    """As :class:`Evaluation`, with what was predicted. A document is a sentence.

    Its nats are the sum of its words' -log p(tag), of the tags that the model knows.
    """

    predicted_W: np.ndarray
    """int64, places of the tags"""


def evaluate_tagger(
    model: Tagging,
    split: TaggedSplit,
    known: Collection[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TaggerEvaluation:
    """Every word of ``split`` once; ``model`` is in evaluation mode.

    Args:
        known: see :func:`tag_scores`.

    Raises:
        DataError: there is no word whose tag the model knows.
        DivergenceError: the model predicts NaN.
    """
    name = split.split.name
    there_W = split.tags_W >= 0
    if not there_W.any():
        raise DataError(
            f"the {name} split has no word with a known tag ({', '.join(model.classes)}): "
            f"splits.{name} must be greater than 0, and the source large enough"
        )
    nats_W, p_W, predicted_W = _predicted(model, split, progress)
    if np.isnan(p_W).any():
        raise DivergenceError(
            f"the model's probabilities on the {name} split are not numbers (NaN): training "
            "diverged; lower optimizer.lr, or set trainer.gradient_clip"
        )
    right_W = predicted_W == split.tags_W
    scores: dict[str, float | None] = {
        "loss_nats": float(nats_W[there_W].mean()),
        **tag_scores(split, predicted_W, known),
        "calibration_error": calibration_error(p_W[there_W], right_W[there_W]),
    }
    nats_D = np.add.reduceat(np.where(there_W, nats_W, 0.0), split.starts_D)
    size_D = split.split.documents["bytes"].astype(np.int64)
    return TaggerEvaluation(scores, nats_D, size_D, predicted_W)


def _predicted(
    model: Tagging, split: TaggedSplit, progress: Callable[[int, int], None] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each word -log p of its tag, p of the predicted one, and that one's place."""
    nats_W, p_W = np.empty(len(split.words_W)), np.empty(len(split.words_W))
    predicted_W = np.empty(len(split.words_W), np.int64)
    batches = by_length(split.lengths_D, BATCH, None)
    for number, places in enumerate(batches):
        sentences = [split.sentence(place) for place in places]
        for place, log_p_WC in zip(places, _log_probabilities(model, sentences), strict=True):
            start = int(split.starts_D[place])
            words = slice(start, start + len(log_p_WC))
            tags_W = split.tags_W[words].clip(min=0)  # of another tag: nats that nobody reads
            nats_W[words] = -np.take_along_axis(log_p_WC, tags_W[:, None], 1)[:, 0]
            p_W[words], predicted_W[words] = np.exp(log_p_WC.max(1)), log_p_WC.argmax(1)
        if progress:
            progress(number + 1, len(batches))
    return nats_W, p_W, predicted_W


def tag(model: Tagging, sentences: Sequence[EncodedWords]) -> list[list[str]]:
    """A tag for each word of each sentence; ``model`` is in evaluation mode."""
    found: list[list[str]] = [[] for _ in sentences]
    lengths_D = np.array([len(one.ids_N) for one in sentences], np.int64)
    for places in by_length(lengths_D, BATCH, None):
        untagged = [_untagged(sentences[place]) for place in places]
        for place, log_p_WC in zip(places, _log_probabilities(model, untagged), strict=True):
            found[place] = [model.classes[tag] for tag in log_p_WC.argmax(1)]
    return found


def _untagged(sentence: EncodedWords) -> Sentence:
    none_W = np.full(len(sentence.ends_W), NO_TAG, np.int64)
    return Sentence(sentence.ids_N, sentence.ends_W, none_W)


def _log_probabilities(model: Tagging, sentences: Sequence[Sentence]) -> Iterator[np.ndarray]:
    """log_p_WC, float64, of each sentence."""
    log_p_BWC = model.log_probabilities(tagged_batch(sentences)).double().numpy()
    for log_p_WC, sentence in zip(log_p_BWC, sentences, strict=True):
        yield log_p_WC[: len(sentence.ends_W)]
