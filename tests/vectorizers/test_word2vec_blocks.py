"""word2vec compiled, against plain sequential SGD in float64 with the same draws."""

from collections.abc import Iterator

import numpy as np
import pytest

from lm_research.vectorizers.word2vec_blocks import CBOW, Crew, SkipGram, train_blocks
from lm_research.vectorizers.word2vec_noise import Noise, deal, parts_of
from lm_research.vectorizers.word2vec_text import Chunk, Tokens, gathered, kept_shares, read, spans
from lm_research.vectorizers.word2vec_training import Settings, Tables, initial_tables

V, D = 150, 6
SETTINGS = Settings(
    window=3,
    negatives=4,
    noise_power=0.75,
    subsample=0.01,
    epochs=2,
    learning_rate=0.1,
    seed=5,
)
ALONE = Crew(1, None)
ALL = (1 << 64) - 1


def some_tokens(memory: float = 1e9, documents: int = 30) -> Tokens:
    rng = np.random.default_rng(0)
    share_V = 1 / np.arange(1, V + 1)
    share_V[-3:] = 0  # tokens that do not occur
    share_V /= share_V.sum()
    drawn = [rng.choice(V, rng.integers(2, 60), p=share_V) for _ in range(documents)]
    return gathered([*drawn, np.arange(V - 3)], V, memory)


def mixed(state: int) -> int:
    """SplitMix64, in whole numbers."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & ALL
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & ALL
    return state ^ (state >> 31)


def draws(noise: Noise, part: int, seed: int) -> Iterator[int]:
    """Tokens of a part, without end."""
    first, last = noise.starts[part], noise.starts[part + 1]
    state = mixed(int(seed))
    while True:
        state = (state + 0x9E3779B97F4A7C15) & ALL
        bits = mixed(state)
        place = int(first) + ((bits >> 32) * int(last - first) >> 32)
        own = (bits & 0xFFFFFF) / (1 << 24) < noise.share_V[place]
        yield int(noise.ids_V[place if own else noise.other_V[place]])


def sgd(h: np.ndarray, context: np.ndarray, target: int, drawn: Iterator[int], rate: float):
    """Steps on the context rows in turn; where h should move, and J."""
    move, objective = np.zeros_like(h), 0.0
    others = [next(drawn) for _ in range(SETTINGS.negatives)]
    for sign, token in [(1, target), *((-1, n) for n in others if n != target)]:
        right = 1 / (1 + np.exp(-sign * (h @ context[token])))
        move += rate * sign * (1 - right) * context[token]
        context[token] += rate * sign * (1 - right) * h
        objective -= np.log(right)
    return move, objective


def in_float64(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    main, context = (t.astype(np.float64) for t in initial_tables(V, D, SETTINGS.seed))
    context += np.random.default_rng(1).normal(size=context.shape) * 0.3
    return main, context


def read_first(tokens: Tokens) -> tuple[Chunk, object]:
    span = spans(len(tokens.ids_N), SETTINGS.window, SETTINGS.epochs, SETTINGS.seed)[0]
    kept_V = kept_shares(tokens.counts_V, SETTINGS.subsample)
    return read(tokens, span, kept_V, SETTINGS.window), span


def near(chunk: Chunk, m: int) -> list[int]:
    return [int(chunk.ids_M[n]) for n in range(chunk.low_M[m], chunk.high_M[m]) if n != m]


def test_skip_gram_is_sequential_sgd_in_the_order_of_the_blocks() -> None:
    tokens = some_tokens()
    chunk, span = read_first(tokens)
    solver, (main, context) = SkipGram(tokens, SETTINGS, ALONE), in_float64(tokens)
    assert solver.parts == 2
    tables = Tables(main.astype(np.float32), context.astype(np.float32))
    ready = solver.prepare(chunk, span)
    found, count = solver.learn(ready, span, tables)

    noise, rng = solver._dealt(span)
    salt, total, met = int(rng.integers(1 << 62)), 0.0, 0
    part = noise.part_V
    pairs = [(int(a), b) for m, a in enumerate(chunk.ids_M) for b in near(chunk, m)]
    for turn, shift in enumerate(rng.permutation(noise.parts)):
        rate = np.float32(0.1 * (1 - span.end * turn / noise.parts))
        for p in range(noise.parts):
            q = (p + shift) % noise.parts
            drawn = draws(noise, q, salt + p * noise.parts + q)
            for a, b in pairs:
                if (part[a], part[b]) == (p, q):
                    move, objective = sgd(main[a], context, b, drawn, float(rate))
                    main[a] += move
                    total, met = total + objective, met + 1
    assert met == count == len(pairs)
    assert found == pytest.approx(total, rel=1e-5)
    np.testing.assert_allclose(tables.main, main, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tables.context, context, rtol=1e-4, atol=1e-5)


def test_cbow_is_sequential_sgd_on_targets_with_the_neighbours_moved_after_each_batch() -> None:
    tokens = some_tokens()
    chunk, span = read_first(tokens)
    solver, (main, context) = CBOW(tokens, SETTINGS, ALONE), in_float64(tokens)
    solver.batch = 50
    tables = Tables(main.astype(np.float32), context.astype(np.float32))
    found, count = solver.learn(solver.prepare(chunk, span), span, tables)

    noise, rng = solver._dealt(span)
    total, met, size = 0.0, 0, len(chunk.ids_M)
    for start in range(0, size, 50):
        rate = np.float32(0.1 * (1 - span.end * start / size))
        salt, before = int(rng.integers(1 << 62)), main.copy()
        for q in range(noise.parts):
            drawn = draws(noise, q, salt + q)
            for m in range(start, min(start + 50, size)):
                around = near(chunk, m)
                if noise.part_V[chunk.ids_M[m]] == q and around:
                    h = before[around].mean(0)
                    move, objective = sgd(h, context, int(chunk.ids_M[m]), drawn, float(rate))
                    for row in around:  # the mean's gradient
                        main[row] += move / len(around)
                    total, met = total + objective, met + 1
    assert met == count
    assert found == pytest.approx(total, rel=1e-5)
    np.testing.assert_allclose(tables.main, main, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tables.context, context, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cbow", [False, True])
def test_the_number_of_threads_and_the_memory_change_no_bit(cbow: bool) -> None:
    tokens = some_tokens(documents=200)
    one, objectives = train_blocks(tokens, D, SETTINGS, cbow, threads=1)
    for threads, memory in ((2, 1e9), (7, 1e9), (2, 0.0)):
        kept = some_tokens(memory, documents=200)
        again, the_same = train_blocks(kept, D, SETTINGS, cbow, threads)
        assert np.array_equal(one, again)
        assert objectives == the_same
    other, _ = train_blocks(tokens, D, SETTINGS._replace(seed=6), cbow, threads=1)
    assert not np.array_equal(one, other)


def test_tokens_are_dealt_by_chance_and_evenly() -> None:
    counts_V = (10_000 / np.arange(1, 1001)).astype(np.int64)
    rng = np.random.default_rng(0)
    one, two = deal(counts_V, 0.75, 4, rng), deal(counts_V, 0.75, 4, rng)
    assert not np.array_equal(one.part_V, two.part_V)
    for noise in (one, two):
        assert sorted(noise.ids_V) == list(range(1000))
        assert np.bincount(noise.part_V).tolist() == [250] * 4
        for part in range(4):
            own = noise.ids_V[noise.starts[part] : noise.starts[part + 1]]
            assert (noise.part_V[own] == part).all()
    assert [parts_of(np.ones(n)) for n in (1, 127, 128, 10**6)] == [1, 1, 2, 16]


def test_negatives_are_drawn_by_the_power_of_the_frequencies_in_a_part() -> None:
    counts_V = np.array([1000, 500, 100, 30, 10, 3, 1, 0])
    noise = deal(counts_V, 0.75, 2, np.random.default_rng(0))
    for part in range(2):
        first, last = noise.starts[part], noise.starts[part + 1]
        size, chance_V = last - first, np.zeros(8)
        for place in range(first, last):  # what the table gives, exactly
            chance_V[noise.ids_V[place]] += noise.share_V[place] / size
            chance_V[noise.ids_V[noise.other_V[place]]] += (1 - noise.share_V[place]) / size
        expected_V = np.where((counts_V > 0) & (noise.part_V == part), counts_V**0.75, 0)
        np.testing.assert_allclose(chance_V, expected_V / expected_V.sum(), atol=1e-7)
        drawn = draws(noise, part, 3)
        met_V = np.bincount([next(drawn) for _ in range(20_000)], minlength=8) / 20_000
        np.testing.assert_allclose(met_V, chance_V, atol=5 * 0.5 / 20_000**0.5)
