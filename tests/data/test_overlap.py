"""Equal and nearly equal texts against counts by hand and planted copies."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lm_research.data.overlap import equal_texts, near_counts, near_duplicates


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=30))
def test_equal_texts_are_those_of_a_count(rows) -> None:
    hashes = np.array([h for h, _ in rows], np.uint64)
    groups = np.array([g for _, g in rows], np.int64)
    found = equal_texts(hashes, groups, 3)
    held = [Counter(h for h, g in rows if g == group) for group in range(3)]
    for i in range(3):
        repeated = {h for h, n in held[i].items() if n > 1}
        if repeated:
            assert found[i, i].texts == len(repeated)
            assert found[i, i].first == sum(held[i][h] - 1 for h in repeated)
        for j in range(i + 1, 3):
            shared = held[i].keys() & held[j].keys()
            assert ((i, j) in found) == bool(shared)
            if shared:
                one = found[i, j]
                counts = (sum(held[i][h] for h in shared), sum(held[j][h] for h in shared))
                assert (one.texts, one.first, one.second) == (len(shared), *counts)
                assert set(one.digests) <= shared


def test_planted_near_duplicates_are_found_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    originals = [[f"w{n}" for n in rng.integers(0, 5000, 200)] for _ in range(60)]
    copies = []
    for words in originals:
        changed = list(words)
        changed[int(rng.integers(200))] = "altered"  # at most 10 of 201 shingles: 0.95 alike
        copies.append(changed)
    texts = [" ".join(words) for words in [*originals, *copies]]
    pairs = near_duplicates(texts)
    found = {(pair.first, pair.second) for pair in pairs}
    planted = {(n, n + 60) for n in range(60)}
    assert found <= planted  # exact similarity is checked
    assert len(found) >= 0.99 * 60
    assert all(0.9 < pair.jaccard < 1 for pair in pairs)
    counted = near_counts(pairs, [0] * 60 + [1] * 60)
    assert counted[0, 1][:2] == (len(found), len(found))


def test_texts_without_words_are_alike_to_nothing() -> None:
    assert near_duplicates(["", "!!!", "?", "a b"]) == []
    assert [pair.jaccard for pair in near_duplicates(["a b", "A, b!"])] == [1.0]
