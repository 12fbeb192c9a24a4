"""word2vec by numpy and scipy, in batches on one thread: where numba is not installed.

A batch's gradients do not know of each other and are added up; negatives come from the whole
vocabulary.

Shapes: B tokens of a batch, P pairs (token, neighbour), E examples (pairs, or tokens with CBOW), T
= 1 + negatives, V vocabulary, D vector size, R distinct input rows, S distinct rows of targets.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from lm_research.vectorizers.word2vec_text import Chunk, Span, Tokens, kept_shares
from lm_research.vectorizers.word2vec_training import Settings, Tables, most_tokens, train

_BATCH = 1024
"""Tokens of a batch at most."""
_SWAY = 1.6
"""See ``most_tokens``; at 6 fits were seen to diverge."""


class Examples(NamedTuple):
    """``inputs`` @ w gives h: the token's row, or the mean of its neighbours' rows.

    ``targets_ET`` are o and its negatives. ``counts_ET`` is False where a negative is o, which is
    passed over.
    """

    inputs_EV: sparse.csr_array
    targets_ET: np.ndarray
    counts_ET: np.ndarray


class Gradient(NamedTuple):
    """J of some examples, and its gradient in the rows that they touch: ``main`` (R, D) belongs to
    ``rows`` (R) of w, ``context`` (S, D) to ``columns`` (S) of w~."""

    value: float
    rows: np.ndarray
    main: np.ndarray
    columns: np.ndarray
    context: np.ndarray


def gradient(tables: Tables, examples: Examples) -> Gradient:
    """The gradient of the examples' share of J, as sparse products."""
    inputs_EV, targets_ET, counts_ET = examples
    rows_R, row = np.unique(inputs_EV.indices, return_inverse=True)
    columns_S, column = np.unique(targets_ET, return_inverse=True)
    size, width = targets_ET.shape
    inputs_ER = _rows(inputs_EV.data, row, inputs_EV.indptr, len(rows_R))
    h_ED, context_SD = inputs_ER @ tables.main[rows_R], tables.context[columns_S]
    column_ET = column.reshape(size, width)
    sign_T = np.where(np.arange(width) == 0, 1, -1).astype(h_ED.dtype)
    x_ET = sign_T * np.einsum("ed,etd->et", h_ED, context_SD[column_ET])
    value = float((np.logaddexp(0, -x_ET) * counts_ET).sum())
    slope_ET = -sign_T * counts_ET * _logistic(-x_ET)
    indptr = np.arange(0, size * width + 1, width)
    slopes_ES = _rows(slope_ET.reshape(-1), column_ET.reshape(-1), indptr, len(columns_S))
    in_main = inputs_ER.T @ (slopes_ES @ context_SD)
    return Gradient(value, rows_R, in_main, columns_S, slopes_ES.T @ h_ED)


def _rows(data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, width: int) -> Any:
    return sparse.csr_array((data, indices, indptr), shape=(len(indptr) - 1, width))


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


def neighbours(chunk: Chunk, at_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many neighbours each of the tokens has, and their ids, token after token (P)."""
    low_B, many_B = chunk.low_M[at_B], chunk.high_M[at_B] - chunk.low_M[at_B] - 1
    ends_B = np.cumsum(many_B)
    place_P = np.arange(many_B.sum()) + np.repeat(low_B - ends_B + many_B, many_B)
    place_P += place_P >= np.repeat(at_B, many_B)  # the token itself is none
    return many_B, chunk.ids_M[place_P]


class Batches:
    """A solver of ``word2vec_training.py``: either architecture, in batches."""

    def __init__(self, tokens: Tokens, settings: Settings, cbow: bool) -> None:
        self.settings, self.cbow = settings, cbow
        counts_V = tokens.counts_V.astype(np.float64)
        noise_V = np.where(counts_V > 0, counts_V**settings.noise_power, 0)
        self.noise_V = np.cumsum(noise_V / max(noise_V.sum(), 1e-9))
        kept_V = counts_V * kept_shares(tokens.counts_V, settings.subsample)
        kept_V /= max(kept_V.sum(), 1)
        often_V = kept_V + settings.negatives * np.diff(self.noise_V, prepend=0)
        examples = 1 if cbow else settings.window + 1
        self.batch = most_tokens(often_V * examples, settings.learning_rate, _SWAY, _BATCH)

    def prepare(self, chunk: Chunk, span: Span) -> Chunk:
        """Nothing is to do."""
        return chunk

    def learn(self, prepared: Chunk, span: Span, tables: Tables) -> tuple[float, int]:
        """Batch by batch."""
        rng = np.random.default_rng((*span.seed, 1))
        total, count, size = 0.0, 0, len(prepared.ids_M)
        for start in range(0, size, self.batch):
            at_B = np.arange(start, min(start + self.batch, size))
            examples = self.examples(prepared, at_B, rng)
            if len(examples.targets_ET):
                step = gradient(tables, examples)
                rate = np.float32(span.rate(self.settings.learning_rate, start / size))
                tables.main[step.rows] -= rate * step.main
                tables.context[step.columns] -= rate * step.context
                total, count = total + step.value, count + len(examples.targets_ET)
        return total, count

    def examples(self, chunk: Chunk, at_B: np.ndarray, rng: np.random.Generator) -> Examples:
        """The tokens' (h, o), with negatives."""
        many_B, near_P = neighbours(chunk, at_B)
        size = len(self.noise_V)
        if self.cbow:
            has = many_B > 0
            target_E, many_E = chunk.ids_M[at_B[has]], many_B[has]
            share_P = np.repeat(1 / many_E, many_E).astype(np.float32)
            inputs_EV = _rows(share_P, near_P, np.append(0, np.cumsum(many_E)), size)
        else:
            target_E, token_E = near_P, np.repeat(chunk.ids_M[at_B], many_B)
            ones = np.ones(len(near_P), np.float32)
            inputs_EV = _rows(ones, token_E, np.arange(len(near_P) + 1), size)
        drawn = rng.random((len(target_E), self.settings.negatives)) * self.noise_V[-1]
        drawn_EK = np.searchsorted(self.noise_V, drawn, side="right")
        targets_ET = np.concatenate([target_E[:, None], drawn_EK], 1)
        counts_ET = np.ones(targets_ET.shape, dtype=bool)
        counts_ET[:, 1:] = drawn_EK != target_E[:, None]
        return Examples(inputs_EV, targets_ET, counts_ET)


def train_batches(
    tokens: Tokens, dim: int, settings: Settings, cbow: bool
) -> tuple[np.ndarray, list[float]]:
    """As ``word2vec_training.train``."""
    return train(tokens, dim, Batches(tokens, settings, cbow), settings)
