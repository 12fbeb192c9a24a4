"""Score a language model on a held-out split, as one stream from its first token to its last."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from lm_research.data.batches import EvaluationWindows, RandomBatches, StridedWindows
from lm_research.data.document import DataError
from lm_research.data.token_store import TokenSplit
from lm_research.metrics.information import bits_per_byte, perplexity
from lm_research.metrics.next_token import NextTokenScores
from lm_research.tasks.streaming import StreamingModel


class DivergenceError(Exception):
    """Training left the numbers: a loss, or what a model predicts, is not a number."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split (None where undefined), and each document's share of them."""

    scores: dict[str, float | None]
    document_nats: np.ndarray
    """float64, one per document: its tokens, its separator, and the spelling of its unknowns"""
    document_bytes: np.ndarray


def evaluate(
    model: StreamingModel,
    split: TokenSplit,
    window: int,
    words: bool = True,
    progress: Callable[[int, int], None] | None = None,
    contaminated: np.ndarray | None = None,
    stride: int | None = None,
) -> Evaluation:
    """Every token of ``split`` is predicted once, from everything before it in the stream.

    The state is carried over the whole split, so the result depends neither on ``window`` (a matter
    of memory) nor on anything that training used; unless there is a ``stride``.

    Args:
        words: whether words are what white space parts (not so in Chinese).
        progress: called with (windows done, windows in all).
        contaminated: bool, one per document: which of them share text with what the model was
            trained on. They are left out of ``bits_per_byte_clean``; nothing else changes, and the
            model has read them before what follows them.
        stride: windows of ``window`` tokens begin so far apart, each is read from the initial
            state, and what is new in it is scored (:class:`StridedWindows`); None: one stream.

    Raises:
        DataError: the split is empty.
        DivergenceError: the model predicts NaN.
    """
    if not len(split.documents):
        raise DataError(
            f"the {split.name} split has no document, so there is nothing to score: "
            f"splits.{split.name} must be greater than 0, and the source large enough"
        )
    windows = StridedWindows(split, window, stride) if stride else EvaluationWindows(split, window)
    scores = NextTokenScores(model.vocabulary_size, sync_on_compute=False)
    nats_N = np.empty(windows.targets)
    for number, (log_p_NV, targets_N, start) in enumerate(_predicted(model, windows)):
        scores.update(log_p_NV, targets_N)
        picked = log_p_NV.gather(1, targets_N[:, None])[:, 0]
        nats_N[start : start + len(targets_N)] = -picked.double().numpy()
        if progress:
            progress(number + 1, len(windows))
    if np.isnan(nats_N).any():
        raise DivergenceError(
            f"the model's probabilities on the {split.name} split are not numbers (NaN): training "
            "diverged; lower optimizer.lr, or set trainer.gradient_clip"
        )
    result = _summarise(scores, nats_N, split, words)
    if contaminated is not None:
        result.scores.update(_clean(result, contaminated))
    return result


def _predicted(
    model: StreamingModel, windows: EvaluationWindows | StridedWindows
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """log_p_NV of what is scored, its targets_N, and where in the stream it begins."""
    carried, stream = isinstance(windows, EvaluationWindows), model.start(1)
    for piece in windows:
        before = stream if carried else model.start(len(piece.ids_BT))
        log_p_BTV, stream = model.advance(piece.ids_BT, before)
        log_p_BTV, targets_BT = log_p_BTV[:, -piece.scored :], piece.targets_BT[:, -piece.scored :]
        yield log_p_BTV.flatten(0, 1).cpu(), targets_BT.flatten(), piece.start


class Reading(TypedDict):
    """How :func:`evaluate` reads a split."""

    window: int
    stride: int | None


def reading_of(model: Any, window: int) -> Reading:
    """As the model's task has it; ``window`` where it is a matter of memory."""
    stride = getattr(model, "eval_stride", None)
    return {"window": model.eval_window if stride else window, "stride": stride}


def sampled_loss(
    model: StreamingModel, split: TokenSplit, batch_size: int, window: int, batches: int, seed: int
) -> float:
    """Mean loss in nats over ``batches`` batches of windows that begin anywhere in ``split``.

    Each window is read from the initial state, and all its steps count, as nanoGPT's
    ``estimate_loss`` has it. The windows go by ``seed``, so that every evaluation has the same.
    """
    nats, count = 0.0, 0
    for batch in RandomBatches(split, batch_size, window, batches, seed):
        log_p_BTV, _ = model.advance(batch.ids_BT, model.start(len(batch.ids_BT)))
        targets_BT1 = batch.targets_BT[..., None].to(log_p_BTV.device)
        picked_BT1 = log_p_BTV.gather(2, targets_BT1)
        nats, count = nats - float(picked_BT1.double().sum()), count + picked_BT1.numel()
    return nats / count


def _summarise(
    scores: NextTokenScores, nats_N: np.ndarray, split: TokenSplit, words: bool
) -> Evaluation:
    documents = split.documents
    # The target at position p of the stream is token p + 1; a document's last target is the
    # separator that ends it, so its predictions start one before its first token.
    first = documents["start"] - 1
    token_nats = np.add.reduceat(nats_N, first)
    spelling, text_bytes = documents["spelling_nats"], int(documents["bytes"].sum())
    total, extra = float(nats_N.sum()), float(spelling.sum())
    units = int(documents["words"].sum()) + len(documents)
    result: dict[str, float | None] = {
        "bits_per_byte": bits_per_byte(total, extra, text_bytes),
        "perplexity_token": perplexity(total, len(nats_N)),
        "perplexity_word": perplexity(total + extra, units) if words else None,
        **scores.compute(),
        "tokens": len(nats_N),
        "bytes": text_bytes,
    }
    return Evaluation(result, token_nats + spelling, documents["bytes"].astype(np.int64))


def _clean(whole: Evaluation, contaminated: np.ndarray) -> dict[str, float | None]:
    """Bits per byte of the other documents; equal to the whole where none is contaminated."""
    clean, count = ~contaminated, int(contaminated.sum())
    bits = whole.scores["bits_per_byte"]
    if count:
        nats = float(whole.document_nats[clean].sum())
        bits = bits_per_byte(nats, 0.0, int(whole.document_bytes[clean].sum()))
    return {"bits_per_byte_clean": bits, "contaminated_documents": count}


def evaluating(module: Any) -> Any:
    """A context in which ``module`` (if it is one) is in evaluation mode; afterwards as before.

    What was compiled for training runs uncompiled in it: other lengths, and no gradients, would be
    compiled anew.
    """
    return _Evaluating(module)


class _Evaluating:
    def __init__(self, module: Any) -> None:
        self.module = module if isinstance(module, torch.nn.Module) else None

    def __enter__(self) -> None:
        self.stance = ExitStack()
        if self.module is not None:
            self.was_training = self.module.training
            self.module.eval()
            if getattr(self.module, "compiled", False):
                self.stance.enter_context(torch.compiler.set_stance("force_eager"))

    def __exit__(self, *error: object) -> None:
        self.stance.close()
        if self.module is not None:
            self.module.train(self.was_training)
