"""Score a sequence-to-sequence model on pairs, and let it write."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from lm_research.data.document import DataError
from lm_research.data.document_batches import by_length, padded
from lm_research.data.pair_batches import pair_batch
from lm_research.data.pairs import PairedSplit
from lm_research.metrics.information import perplexity
from lm_research.tasks.decoding import Hypothesis, Search, search
from lm_research.tasks.evaluation import DivergenceError, Evaluation
from lm_research.tasks.language_modeling import default_dtype
from lm_research.tasks.sequence_to_sequence import SequenceToSequence

BATCH = 64
"""Pairs that are scored, or sources that are written of, at once, at most; a matter of memory."""
Progress = Callable[[int, int], None]


def evaluate_pairs(model: SequenceToSequence, split: PairedSplit) -> Evaluation:
    """log p of every target given its source, once; ``model`` is in evaluation mode.

    Raises:
        DataError: there is no pair.
        DivergenceError: the model predicts NaN.
    """
    name = split.split.name
    if not len(split):
        raise DataError(
            f"the {name} split has no pair: splits.{name} must be greater than 0, and the source "
            "large enough"
        )
    nats_D, hits = np.empty(len(split)), 0
    lengths_D = split.source_lengths_D + split.target_lengths_D
    for places in by_length(lengths_D, BATCH, None):
        sources, targets = [split.source(i) for i in places], [split.target(i) for i in places]
        batch = pair_batch(sources, targets, model.most_source)
        log_p_BTV, _ = model.read(batch)
        there_BT = batch.target_BT >= 0
        picked_BT = log_p_BTV.gather(-1, batch.target_BT.clamp(min=0)[..., None])[..., 0].double()
        nats_D[places] = -picked_BT.masked_fill(~there_BT, 0.0).sum(1).numpy()
        hits += int(((log_p_BTV.argmax(-1) == batch.target_BT) & there_BT).sum())
    if np.isnan(nats_D).any():
        raise DivergenceError(
            f"the model's probabilities on the {name} split are not numbers (NaN): training "
            "diverged; lower optimizer.lr, or set trainer.gradient_clip"
        )
    tokens, total = int(split.target_lengths_D.sum()) + len(split), float(nats_D.sum())
    scores: dict[str, float | None] = {
        "loss_nats": total / tokens,
        "perplexity_token": perplexity(total, tokens),
        "accuracy": hits / tokens,
        "tokens": tokens,
        "documents": len(split),
    }
    size_D = np.array([len(text.encode()) for text in split.texts["targets"]], np.int64)
    return Evaluation(scores, nats_D, size_D)


def write_texts(
    model: SequenceToSequence,
    sources: Sequence[np.ndarray],
    how: Search | None = None,
    progress: Progress | None = None,
    names: Sequence[int] | None = None,
) -> list[list[Hypothesis]]:
    """What the model writes of each source (ids_N), the best first; in evaluation mode.

    A source's draws, where there are any, follow from its place among ``sources``, or its name.
    """
    how = how or model.search
    found: list[list[Hypothesis]] = [[] for _ in sources]
    lengths_D = np.array([len(ids_N) for ids_N in sources], np.int64)
    most = max(BATCH // how.beam, 1) if how.sampling is None else BATCH
    batches = by_length(lengths_D, max(most, 16), model.most_source)
    for number, places in enumerate(batches):
        named = [names[i] for i in places] if names else places.tolist()
        texts = write_batch(model, [sources[i] for i in places], how, names=named)
        for place, written in zip(places.tolist(), texts, strict=True):
            found[place] = written
        if progress:
            progress(number + 1, len(batches))
    return found


def write_batch(
    model: SequenceToSequence,
    sources: Sequence[np.ndarray],
    how: Search,
    limits: Sequence[int] | None = None,
    names: Sequence[int] | None = None,
) -> list[list[Hypothesis]]:
    """As :func:`write_texts`, all at once.

    Args:
        limits: the most tokens of each text; None: those of the model.
        names: see :func:`search`.
    """
    source_BS, lengths_B = padded(sources, model.most_source)
    if limits is None:
        limits = [int(model.longest_ratio * n) + model.longest_extra for n in lengths_B.tolist()]
    moved = source_BS.to(model.device), lengths_B.to(model.device)
    with torch.inference_mode(), default_dtype(model.dtype):
        return search(model, *moved, limits, how, names)
