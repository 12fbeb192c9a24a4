"""What word2vec reads: the text kept, tokens thinned out, neighbours."""

import numpy as np
import pytest

from lm_research.vectorizers.word2vec_text import Tokens, gathered, kept_shares, read, spans

DOCUMENTS = [np.array(d) for d in ([1, 2, 3, 1], [4], [], [5, 5], [0, 1, 2])]


@pytest.mark.parametrize("memory", [1e9, 40.0, 0.0])
def test_documents_are_kept_in_memory_or_on_the_disk(memory: float) -> None:
    ids_N, counts_V = gathered(iter(DOCUMENTS), 7, memory)
    assert isinstance(ids_N, np.memmap) == (memory < 1e9)
    assert ids_N.tolist() == [1, 2, 3, 1, -1, 5, 5, -1, 0, 1, 2, -1]
    assert ids_N.dtype == np.int32
    assert counts_V.tolist() == [1, 3, 2, 1, 0, 2, 0]


def test_nothing_to_read() -> None:
    for documents in ([], [np.array([3])]):
        ids_N, counts_V = gathered(documents, 4, 0.0)
        assert (len(ids_N), counts_V.sum()) == (0, 0)
    with pytest.raises(ValueError, match="ids from 9 to 9, but vocabulary_size is 4"):
        gathered([np.array([9])], 4, 0.0)


def test_frequent_tokens_are_kept_by_the_published_formula() -> None:
    counts_V = np.array([600, 399, 1, 0])
    t = 0.01
    expected = [(t / f) ** 0.5 + t / f for f in (0.6, 0.399)]
    assert kept_shares(counts_V, t).tolist() == pytest.approx([*expected, 1, 1])
    assert kept_shares(counts_V, 0).tolist() == [1, 1, 1, 1]


def test_spans_cover_every_epoch_and_the_rate_falls_linearly() -> None:
    found = spans(25, window=4, epochs=2, seed=7, pairs=50)
    assert [(s.start, s.stop) for s in found] == [(0, 10), (10, 20), (20, 25)] * 2
    assert found[0].begin == 0
    assert found[-1].end == 1
    assert [s.end for s in found[:-1]] == [s.begin for s in found[1:]]
    assert len({s.seed for s in found}) == 6
    assert found[4].rate(0.5, 0.5) == pytest.approx(0.5 * (1 - 40 / 50))
    assert found[-1].rate(0.5, 1) == pytest.approx(0.5 / 10_000)


def test_neighbours_are_those_within_the_reach_of_the_same_document() -> None:
    rng = np.random.default_rng(0)
    tokens = gathered([rng.integers(0, 9, n) for n in (2, 40, 3, 7, 50)], 9, 1e9)
    (span,) = spans(len(tokens.ids_N), 4, 1, 3)
    chunk = read(tokens, span, np.ones(9, np.float32), 4)
    document_N = np.cumsum(tokens.ids_N < 0)
    document_M = document_N[tokens.ids_N >= 0]
    assert np.array_equal(chunk.ids_M, tokens.ids_N[tokens.ids_N >= 0])
    reaches = set()
    for m in range(len(chunk.ids_M)):
        same = np.flatnonzero(document_M == document_M[m])
        inside = (chunk.low_M[m], chunk.high_M[m])
        options = [
            b for b in range(1, 5) if inside == (max(m - b, same[0]), min(m + b + 1, same[-1] + 1))
        ]
        assert options
        reaches |= set(options) if len(options) == 1 else set()
    assert reaches == {1, 2, 3, 4}


def test_tokens_left_out_are_not_in_between() -> None:
    """Token 0 is kept one time in four; the others then stand side by side."""
    ids_N = np.tile(np.array([0, 1, 0, 2], dtype=np.int32), 3000)
    tokens = Tokens(ids_N, np.bincount(ids_N))
    (span,) = spans(len(ids_N), 1, 1, 0)
    chunk = read(tokens, span, np.array([0.25, 1, 1], np.float32), 1)
    kept = np.bincount(chunk.ids_M)
    assert kept[1:].tolist() == [3000, 3000]
    assert kept[0] == pytest.approx(1500, abs=5 * (6000 * 0.25 * 0.75) ** 0.5)
    assert set(np.diff(chunk.high_M - chunk.low_M).tolist()) == {0, 1, -1}
    again = read(tokens, span, np.array([0.25, 1, 1], np.float32), 1)
    assert np.array_equal(chunk.ids_M, again.ids_M)
