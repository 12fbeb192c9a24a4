"""The text that word2vec reads: kept once, gone through in chunks of tokens, frequent ones thinned.

Shapes: N tokens of all documents and their ends, M tokens of a chunk that were kept, V vocabulary.
"""

import tempfile
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lm_research.vectorizers.checks import as_ids
from lm_research.vectorizers.vectorizer import NOTHING

_PAIRS = 1 << 23
"""Pairs of neighbours that a chunk has at most, about: bounds what is held of them (64 MiB)."""


class Tokens(NamedTuple):
    """All documents: ``ids_N`` (int32), ``NOTHING`` after each; how often each occurs (V)."""

    ids_N: np.ndarray
    counts_V: np.ndarray


class Span(NamedTuple):
    """Tokens [start, stop) of the text in one epoch; from ``begin`` to ``end`` of the training, in
    shares of it. ``seed`` is for all that is drawn about them."""

    start: int
    stop: int
    begin: float
    end: float
    seed: tuple[int, ...]

    def rate(self, learning_rate: float, done: float) -> float:
        """The rate where a share of the span is done: it falls linearly, to 1 / 10,000."""
        share = self.begin + done * (self.end - self.begin)
        return learning_rate * max(1 - share, 1e-4)


class Chunk(NamedTuple):
    """A span of the text as it is read: ``ids_M`` (int32) are the tokens kept.

    The neighbours of token m are those in [low_M[m], high_M[m]), itself left out.
    """

    ids_M: np.ndarray
    low_M: np.ndarray
    high_M: np.ndarray


def gathered(documents: Iterable[np.ndarray], vocabulary_size: int, memory: float) -> Tokens:
    """Keep the documents of two tokens or more; on the disk beyond ``memory`` bytes."""
    counts_V = np.zeros(vocabulary_size, dtype=np.int64)
    held: list[np.ndarray] = []
    size = 0
    with tempfile.TemporaryFile(prefix="lm-research-tokens-") as file:
        for document in documents:
            ids_N = as_ids(document, vocabulary_size)
            if len(ids_N) < 2:
                continue
            np.add.at(counts_V, ids_N, 1)
            held.append(np.append(ids_N, NOTHING).astype(np.int32))
            size += held[-1].nbytes
            if size > memory / 2:  # joined, they take as much again
                file.write(np.concatenate(held).data)
                held, size = [], 0
        rest_N = np.concatenate([np.zeros(0, np.int32), *held])
        if file.tell() == 0:
            return Tokens(rest_N, counts_V)
        file.write(rest_N.data)
        file.flush()
        return Tokens(np.memmap(file, np.int32, mode="r"), counts_V)  # it lives on unnamed


def kept_shares(counts_V: np.ndarray, subsample: float) -> np.ndarray:
    """The probability (float32, V) with which a token is read.

    min(1, sqrt(t / f) + t / f) for a share f of the tokens and the threshold t: what the published
    program of Mikolov et al. (2013) does, where the paper has sqrt(t / f). A threshold of 0 keeps
    all.
    """
    if subsample == 0:
        return np.ones(len(counts_V), dtype=np.float32)
    ratio_V = subsample * counts_V.sum() / np.maximum(counts_V, 1)
    return np.minimum(1, np.sqrt(ratio_V) + ratio_V).astype(np.float32)


def spans(length: int, window: int, epochs: int, seed: int, pairs: int = _PAIRS) -> list[Span]:
    """The text of ``length`` tokens in every epoch, cut after ``pairs`` / (window + 1) tokens."""
    size = max(1, pairs // (window + 1))
    found, whole = [], max(1, epochs * length)
    for epoch in range(epochs):
        for start in range(0, length, size):
            stop = min(start + size, length)
            begin, end = ((epoch * length + at) / whole for at in (start, stop))
            found.append(Span(start, stop, begin, end, (seed, epoch, start)))
    return found


def read(tokens: Tokens, span: Span, kept_V: np.ndarray, window: int) -> Chunk:
    """Draw which tokens are kept, and how far each looks: 1 to ``window`` of those, to either side.

    No window reaches over the end of a document or of the span.
    """
    rng = np.random.default_rng((*span.seed, 0))
    ids_N = np.asarray(tokens.ids_N[span.start : span.stop])
    real_N = ids_N >= 0
    at = np.flatnonzero(real_N & (rng.random(len(ids_N), dtype=np.float32) < kept_V[ids_N]))
    document_M = np.cumsum(~real_N)[at]
    borders = np.flatnonzero(np.diff(document_M, prepend=-1, append=-1))
    lengths, place_M = np.diff(borders), np.arange(len(at))
    reach_M = rng.integers(1, window + 1, len(at))
    low_M = np.maximum(place_M - reach_M, np.repeat(borders[:-1], lengths))
    high_M = np.minimum(place_M + reach_M + 1, np.repeat(borders[1:], lengths))
    return Chunk(ids_N[at], low_M.astype(np.int32), high_M.astype(np.int32))
