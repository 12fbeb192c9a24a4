"""word2vec compiled, on every core, with the same bits on any number (docs/decisions/0027).

Skip-gram: the pairs (token, neighbour) of a chunk are ordered by block (part of the token, part of
the neighbour), and a pair's negatives come from the neighbour's part. So blocks that share neither
rows nor columns touch different vectors, and run side by side as GloVe's do (``glove_blocks.py``):
plain SGD, a pair at a time.

CBOW: the neighbours of a token are of many parts. In a batch the means h are taken first; then each
part's tokens are learned one after another; then the neighbours' rows move, each by one thread.

Shapes: V vocabulary, D vector size, M tokens of a chunk, K parts, P pairs, B tokens of a batch.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from lm_research.vectorizers.compiled import compiled
from lm_research.vectorizers.word2vec_noise import Noise, deal, parts_of
from lm_research.vectorizers.word2vec_text import Chunk, Span, Tokens, kept_shares
from lm_research.vectorizers.word2vec_training import Settings, Tables, most_tokens, train

_BATCH = 8192
"""Tokens of a batch of CBOW at most."""
_SWAY = 3.2
"""See ``most_tokens``; the neighbours' rows alone are meant, for the others know of each other."""


class Crew:
    """Calls that run side by side on some threads; on one, in the thread that asks."""

    def __init__(self, threads: int, pool: ThreadPoolExecutor | None) -> None:
        self.threads, self._pool = threads, pool

    def run(self, loop: Callable[..., Any], shares: list[Any], *arguments: Any) -> None:
        """``loop(share, *arguments)`` for each share; returns when all are done."""
        if self._pool is None:
            for share in shares:
                loop(share, *arguments)
        else:
            for done in [self._pool.submit(loop, share, *arguments) for share in shares]:
                done.result()


@contextmanager
def crew(threads: int) -> Iterator[Crew]:
    """Threads for as long as they are needed."""
    if threads == 1:
        yield Crew(1, None)
    else:
        with ThreadPoolExecutor(threads) as pool:
            yield Crew(threads, pool)


class _Blocks:
    """What the two share: the draws about a chunk."""

    def __init__(self, tokens: Tokens, settings: Settings, crew: Crew) -> None:
        self.counts_V, self.settings, self.crew = tokens.counts_V, settings, crew
        self.parts = parts_of(tokens.counts_V)

    def _dealt(self, span: Span) -> tuple[Noise, np.random.Generator]:
        rng = np.random.default_rng((*span.seed, 1))
        return deal(self.counts_V, self.settings.noise_power, self.parts, rng), rng

    def _rate(self, span: Span, done: float) -> np.float32:
        return np.float32(span.rate(self.settings.learning_rate, done))


class Pairs(NamedTuple):
    """The pairs (P, 2) of a chunk in the order of their blocks, which ``starts`` bounds."""

    pairs_P2: np.ndarray
    starts: np.ndarray
    noise: Noise
    rng: np.random.Generator


class SkipGram(_Blocks):
    """A solver of ``word2vec_training.py``: skip-gram in blocks."""

    def prepare(self, chunk: Chunk, span: Span) -> Pairs:
        """Order the pairs by block."""
        noise, rng = self._dealt(span)
        starts = np.zeros(noise.parts**2 + 1, dtype=np.int64)
        _loops().count_pairs(*chunk, noise.part_V, noise.parts, starts)
        np.cumsum(starts, out=starts)
        pairs_P2 = np.empty((starts[-1], 2), dtype=np.int32)
        _loops().place_pairs(*chunk, noise.part_V, noise.parts, starts[:-1].copy(), pairs_P2)
        return Pairs(pairs_P2, starts, noise, rng)

    def learn(self, prepared: Pairs, span: Span, tables: Tables) -> tuple[float, int]:
        """K rounds of K blocks, in an order drawn anew."""
        pairs_P2, starts, noise, rng = prepared
        parts, threads = noise.parts, self.crew.threads
        values, side = np.zeros(parts * parts), np.arange(parts)
        salt = np.uint64(rng.integers(1 << 62))
        for turn, shift in enumerate(rng.permutation(parts)):
            blocks = side * parts + (side + shift) % parts
            heavy = blocks[np.argsort(starts[blocks] - starts[blocks + 1], kind="stable")]
            rest = self.settings.negatives, self._rate(span, turn / parts), salt, values
            shares = [heavy[t::threads] for t in range(threads)]
            arguments = starts, pairs_P2, *tables, noise.tables, *rest
            self.crew.run(_loops().skip_gram, shares, *arguments)
        return float(values.sum()), len(pairs_P2)


class CBOW(_Blocks):
    """A solver of ``word2vec_training.py``: CBOW in batches."""

    def __init__(self, tokens: Tokens, settings: Settings, crew: Crew) -> None:
        super().__init__(tokens, settings, crew)
        kept_V = tokens.counts_V * kept_shares(tokens.counts_V, settings.subsample)
        kept_V = kept_V / max(kept_V.sum(), 1)
        self.batch = most_tokens(kept_V, settings.learning_rate, _SWAY, _BATCH)

    def prepare(self, chunk: Chunk, span: Span) -> tuple[Chunk, Noise, np.random.Generator]:
        """Deal the parts."""
        return chunk, *self._dealt(span)

    def learn(self, prepared: Any, span: Span, tables: Tables) -> tuple[float, int]:
        """Batch by batch."""
        chunk, noise, rng = prepared
        h_BD = np.empty((self.batch, tables.main.shape[1]), dtype=np.float32)
        total, size = 0.0, len(chunk.ids_M)
        for start in range(0, size, self.batch):
            at_B = np.arange(start, min(start + self.batch, size))
            rate, salt = self._rate(span, start / size), np.uint64(rng.integers(1 << 62))
            total += self._learn_batch(chunk, noise, at_B, h_BD[: len(at_B)], tables, rate, salt)
        return total, int(np.count_nonzero(chunk.high_M - chunk.low_M > 1))

    def _learn_batch(
        self,
        chunk: Chunk,
        noise: Noise,
        at_B: np.ndarray,
        h_BD: np.ndarray,
        tables: Tables,
        rate: np.float32,
        salt: np.uint64,
    ) -> float:
        part_B = noise.part_V[chunk.ids_M[at_B]]
        order_B = at_B[np.argsort(part_B, kind="stable")]
        bounds = np.searchsorted(np.sort(part_B), np.arange(noise.parts + 1))
        parts, values = np.arange(noise.parts), np.zeros(noise.parts)
        cuts = np.linspace(0, len(order_B), self.crew.threads + 1).astype(int)
        rows = [slice(*cut) for cut in pairwise(cuts)]

        def average(row: slice) -> None:
            _loops().average(order_B[row], *chunk, tables.main, h_BD[row])

        self.crew.run(average, rows)
        hands = range(self.crew.threads)
        rest = noise.tables, self.settings.negatives, rate, salt, values
        shares = [parts[t :: len(hands)] for t in hands]
        arguments = bounds, order_B, *chunk, h_BD, tables.context, *rest
        self.crew.run(_loops().targets, shares, *arguments)
        mine = [parts % len(hands) == t for t in hands]
        self.crew.run(_loops().spread, mine, noise.part_V, order_B, *chunk, h_BD, tables.main)
        return float(values.sum())


def train_blocks(
    tokens: Tokens, dim: int, settings: Settings, cbow: bool, threads: int
) -> tuple[np.ndarray, list[float]]:
    """As ``word2vec_training.train``, on at most K threads."""
    with crew(min(threads, parts_of(tokens.counts_V))) as hands:
        solver = (CBOW if cbow else SkipGram)(tokens, settings, hands)
        return train(tokens, dim, solver, settings, threads)


class _Loops(NamedTuple):
    count_pairs: Any
    place_pairs: Any
    skip_gram: Any
    average: Any
    targets: Any
    spread: Any


@cache
def _loops() -> _Loops:
    import lm_research.vectorizers.word2vec_loops as loops

    return _Loops(
        compiled(loops.count_pairs),
        compiled(loops.place_pairs),
        loops.compiled_skip_gram(),
        compiled(loops.average),
        loops.compiled_targets(),
        compiled(loops.spread),
    )
