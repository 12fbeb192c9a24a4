"""Shared runs of units against a loop over all pairs of runs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.data.ngrams import EvaluationSide, gathered, windows
from lm_research.text.units import unit_hashes, units

texts = st.lists(st.lists(st.sampled_from("abc"), max_size=14).map(" ".join), max_size=7)


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    """The definition, slowly: windows of n, or the whole of a shorter text, marked as such."""
    words = text.split()
    if 0 < len(words) < n:
        return {("whole", *words)}
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)} if words else set()


def side(documents: list[str]) -> EvaluationSide:
    return EvaluationSide(map(unit_hashes, documents))


def pieces(documents: list[str], most: int = 5):
    return gathered(map(unit_hashes, documents), most)


@settings(deadline=None, max_examples=150)
@given(texts, texts, st.integers(1, 6))
def test_shared_windows_are_those_of_a_loop(train, evaluate, n) -> None:
    known = set().union(*(grams(text, n) for text in train)) if train else set()
    one = side(evaluate)
    found = one.documents_sharing(pieces(train), n)
    assert found.tolist() == [bool(grams(text, n) & known) for text in evaluate]
    covered = 0
    for text in evaluate:
        words = text.split()
        hit = set()
        for i in range(max(len(words) - n + 1, min(len(words), 1))):
            window = words[i : i + n]
            if (tuple(window) if len(window) == n else ("whole", *window)) in known:
                hit |= set(range(i, i + len(window)))
        covered += len(hit)
    assert one.covered(*one.shared(pieces(train), n), n) == covered


def longest_by_hand(train: list[str], evaluate: list[str]) -> int:
    def runs(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        ends = range(len(words) + 1)
        return {tuple(words[i:j]) for i in ends for j in ends if i < j}

    known = set().union(*map(runs, train)) if train else set()
    return max((len(run) for text in evaluate for run in runs(text) & known), default=0)


@settings(deadline=None, max_examples=100)
@given(texts, texts)
def test_the_longest_match_is_that_of_all_pairs(train, evaluate) -> None:
    length, where = side(evaluate).longest(lambda: pieces(train))
    assert length == longest_by_hand(train, evaluate)
    assert (where >= 0) == (length > 0)
    if length:
        assert longest_by_hand(train, [evaluate[where]]) == length


def test_windows_of_a_long_text_have_few_collisions() -> None:
    units_N = np.arange(300_000, dtype=np.uint32)
    hashes = windows(units_N, np.array([200_000, 100_000]), 13).hashes_N
    assert len(np.unique(hashes)) == len(hashes) == 300_000 - 2 * 12
    assert np.unpackbits(hashes.view(np.uint8)).mean() == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat, the CAT!", ["the", "cat", "the", "cat"]),
        ("我爱NLP 2024年", ["我", "爱", "nlp", "2024", "年"]),
        ("すし and ラーメン", [*"すし", "and", *"ラーメン"]),
        ("don't", ["don", "t"]),
        ("", []),
    ],
)
def test_units_are_words_or_characters(text, expected) -> None:
    assert units(text) == expected
    assert len(unit_hashes(text)) == len(expected)
