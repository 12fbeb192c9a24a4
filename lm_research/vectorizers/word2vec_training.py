"""Skip-gram and CBOW with negative sampling (Mikolov et al. 2013, arXiv:1310.4546, 1301.3781).

    J = - sum over (h, o) (ln s(h . w~_o) + sum over k negatives n of ln s(-h . w~_n))

s is the logistic function. Skip-gram: o is a neighbour of a token, h its row w. CBOW: o is the
token, h the mean of its neighbours' rows w. Negatives come from the unigram distribution to a
power. Steps are plain SGD at a rate that falls linearly.

Shapes: N tokens, V vocabulary, D vector size.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import numpy as np

from lm_research.vectorizers.word2vec_text import Chunk, Span, Tokens, kept_shares, read, spans


class Settings(NamedTuple):
    """What the solvers are told; see ``word2vec.Word2Vec``."""

    window: int
    negatives: int
    noise_power: float
    subsample: float
    epochs: int
    learning_rate: float
    seed: int


class Tables(NamedTuple):
    """The rows w and w~ of every token (V, D; float32)."""

    main: np.ndarray
    context: np.ndarray


class Solver(Protocol):
    """Goes through chunks of the text. What it draws depends on a span's seed alone."""

    def prepare(self, chunk: Chunk, span: Span) -> Any:
        """What can be done before the chunk's turn, in another thread."""

    def learn(self, prepared: Any, span: Span, tables: Tables) -> tuple[float, int]:
        """Move the tables. Returns J as it was met, and the number of its (h, o)."""


def initial_tables(vocabulary_size: int, dim: int, seed: int) -> Tables:
    """w from U(-0.5, 0.5) / D, w~ zero, as the published program has them."""
    drawn_VD = np.random.default_rng(seed).random((vocabulary_size, dim), dtype=np.float32)
    return Tables((drawn_VD - np.float32(0.5)) / np.float32(dim), np.zeros_like(drawn_VD))


def train(
    tokens: Tokens, dim: int, solver: Solver, settings: Settings, threads: int = 1
) -> tuple[np.ndarray, list[float]]:
    """Train on every span of the text, in order.

    Raises ``ValueError`` where the numbers grow beyond all bounds.

    Returns:
        The vectors w (V, D; float32), and J divided by the number of (h, o) at each epoch, as met
        on the way: of an epoch in which no token has a neighbour there is no number.
    """
    tables = initial_tables(len(tokens.counts_V), dim, settings.seed)
    kept_V = kept_shares(tokens.counts_V, settings.subsample)
    parts = spans(len(tokens.ids_N), settings.window, settings.epochs, settings.seed)

    def prepared(span: Span) -> Any:
        return solver.prepare(read(tokens, span, kept_V, settings.window), span)

    totals = np.zeros((settings.epochs, 2))
    with ThreadPoolExecutor(1) if threads > 1 else nullcontext() as pool:
        for span, ready in zip(parts, ahead(pool, prepared, parts), strict=True):
            value, count = solver.learn(ready, span, tables)
            _check(value, tables, settings)
            totals[span.seed[1]] += value, count
    return tables.main, [float(value / count) for value, count in totals if count]


def _check(value: float, tables: Tables, settings: Settings) -> None:
    if not np.isfinite(value) or not np.isfinite(tables.main).all():
        raise ValueError(
            f"learning_rate is {settings.learning_rate}: with it word2vec has diverged; lower it"
        )


def ahead(
    pool: ThreadPoolExecutor | None, make: Callable[[Any], Any], items: Iterable[Any]
) -> Iterator[Any]:
    """``map(make, items)``; with a pool the next one is made while one is used."""
    if pool is None:
        yield from map(make, items)
        return
    coming = None
    for item in items:
        following = pool.submit(make, item)
        if coming is not None:
            yield coming.result()
        coming = following
    if coming is not None:
        yield coming.result()


def most_tokens(occurrences_V: np.ndarray, learning_rate: float, sway: float, most: int) -> int:
    """Tokens of a batch whose gradients may be added up without knowing of each other.

    A row that has n of them at a rate r moves as by one step of n r: where that is large, the rows
    of frequent tokens overshoot, each time farther.

    Args:
        occurrences_V: how often each row has a gradient, for a token of the text.
        learning_rate: r.
        sway: n r at most.
        most: tokens of a batch at most.
    """
    return int(np.clip(sway / learning_rate / max(occurrences_V.max(), 1e-9), 1, most))
