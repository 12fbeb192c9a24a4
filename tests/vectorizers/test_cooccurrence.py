from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.vectorizers.cooccurrence import _joined, cooccurrences

V = 6


def by_hand(documents: list[list[int]], window: int) -> np.ndarray:
    counts_VV = np.zeros((V, V))
    for ids in documents:
        for t, center in enumerate(ids):
            for s, other in enumerate(ids):
                if 0 < abs(t - s) <= window:
                    counts_VV[center, other] += 1 / abs(t - s)
    return counts_VV


@settings(max_examples=60, deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(0, V - 1), max_size=15), max_size=5),
    window=st.integers(1, 12),
    chunk=st.sampled_from([1, 2, 3, 7, 30, 200_000]),
)
def test_equals_a_double_loop(documents: list[list[int]], window: int, chunk: int) -> None:
    arrays = (np.array(ids, dtype=np.int32) for ids in documents)
    counts_VV = cooccurrences(arrays, V, window, chunk).toarray()
    np.testing.assert_allclose(counts_VV, by_hand(documents, window), rtol=1e-12)
    assert np.array_equal(counts_VV, counts_VV.T)


def test_ids_beyond_the_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match=rf"ids from 0 to {V}, but vocabulary_size is {V}"):
        cooccurrences([np.array([0, V])], V, 2)


def test_short_pieces_are_joined_until_a_chunk_is_full_and_no_further() -> None:
    pieces = [(np.full(n, n), np.full(n, -n)) for n in (3, 6, 5, 2, 7, 8, 10, 1)]
    joined = list(_joined(iter(pieces), chunk=10))
    assert [len(firsts) for firsts, _ in joined] == [3 + 6 + 5, 2 + 7 + 8, 10, 1]
    assert all(np.array_equal(firsts, -ids) for firsts, ids in joined)
    assert np.concatenate([firsts for firsts, _ in joined]).sum() == sum(
        len(p[0]) ** 2 for p in pieces
    )


def some_documents() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.zipf(1.4, n) % 50 for n in (300, 1, 0, 40, 700, 2)]


@pytest.mark.parametrize("window", [1, 7, 22])
def test_chunks_spills_and_numba_change_no_bit(window: int) -> None:
    whole = cooccurrences(some_documents(), 50, window, compiled=False)
    for changed in ({"compiled": True}, {"chunk": 60}, {"chunk": 60, "memory": 4000}):
        other = cooccurrences(some_documents(), 50, window, **changed)
        assert np.array_equal(whole.toarray(), other.toarray())
        assert other.has_canonical_format


def test_what_does_not_fit_is_mapped_from_a_file_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    counts_VV = cooccurrences(some_documents(), 50, 30, chunk=100, memory=1000)
    assert not list(tmp_path.iterdir())
    expected = cooccurrences(some_documents(), 50, 30)
    np.testing.assert_allclose(counts_VV.toarray(), expected.toarray(), rtol=1e-12)
