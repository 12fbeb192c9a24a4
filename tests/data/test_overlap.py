"""Equal and nearly equal texts against counts by hand and planted copies."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.data.overlap import BANDS, ROWS, equal_texts, near_counts, near_duplicates
from lm_research.text.units import units


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


def _words(text: str) -> set[tuple[str, ...]]:
    """The runs of 5 units as they are, without any hash."""
    found = list(units(text))
    return {tuple(found[i : i + 5]) for i in range(max(1, len(found) - 4))}


def test_recall_against_every_pair_compared_one_by_one() -> None:
    rng = np.random.default_rng(1)
    texts = []
    for _ in range(80):
        words = [f"w{n}" for n in rng.integers(0, 5000, 120)]
        texts.append(" ".join(words))
        for changed in rng.choice([0, 1, 2, 3, 4, 5, 8], 3):  # to both sides of 0.8, and 1
            copy = list(words)
            for place in rng.choice(120, changed, replace=False):
                copy[place] = "altered"
            texts.append(" ".join(copy))
    sets = [_words(text) for text in texts]
    exact = {
        (i, j): len(sets[i] & sets[j]) / len(sets[i] | sets[j])
        for i, j in combinations(range(len(sets)), 2)
        if sets[i] & sets[j]
    }
    held = {pair: s for pair, s in exact.items() if s >= 0.8}
    near_the_threshold = sum(s < 0.85 for s in held.values())
    assert len(held) > 100
    assert near_the_threshold > 30
    found = {(pair.first, pair.second): pair.jaccard for pair in near_duplicates(texts)}
    assert found.keys() <= held.keys()  # exact similarity is checked
    assert found == pytest.approx({pair: held[pair] for pair in found})
    expected = sum(1 - (1 - s**ROWS) ** BANDS for s in held.values())
    assert expected / len(held) > 0.999
    assert len(found) / len(held) > 0.99


def test_boilerplate_does_not_hide_a_copy() -> None:
    """More candidates than are compared: the most similar ones are."""
    shared = " ".join(f"s{n}" for n in range(70))
    rng = np.random.default_rng(2)
    texts = [f"{shared} {' '.join(f'w{n}' for n in rng.integers(0, 9999, 25))}" for _ in range(300)]
    pairs = near_duplicates([*texts, texts[250] + " end"])
    assert [(pair.first, pair.second) for pair in pairs if pair.jaccard > 0.9] == [(250, 300)]
