"""Splits by the hash of the text, and shuffling through a bounded buffer."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chisquare

from lm_research.data.document import DataError, Document, Source
from lm_research.data.mixture import Mixture
from lm_research.data.selection import Selection
from lm_research.data.splits import DOCUMENT_BYTES, SPLITS, shuffle, split_of


def document(text: str, source: str = "a", id: str = "a/0", split: str | None = None) -> Document:
    return Document(text, source, id, split=split)


def documents(count: int) -> list[Document]:
    return [document(f"text {i}", id=f"a/{i}") for i in range(count)]


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.01, 0.3), (0.5, 0.0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_fractions_are_those_asked_for(validation: float, test: float, seed: int) -> None:
    count, alpha = 20_000, 1e-6  # six cases: a right hash fails once in 80,000 runs
    found = [split_of(d, validation, test, seed) for d in documents(count)]
    shares = {"train": 1 - validation - test, "validation": validation, "test": test}
    for split in SPLITS:
        low, high = binom.interval(1 - alpha, count, shares[split])
        assert low <= found.count(split) <= high


def test_held_out_documents_stay_so_from_release_to_release() -> None:
    found = "".join(split_of(d, 0.3, 0.3, 7)[:2] for d in documents(12))
    assert found == "trvatevatrtetrtrtrtetetr"
    assert [split_of(document(text), 0.3, 0.3, 7)[:2] for text in ("", "猫", "\ud800")] == [
        "te",
        "tr",
        "te",
    ]


def test_seeds_choose_independently() -> None:
    count, p = 20_000, 0.25
    held = [[split_of(d, p, 0, seed) == "validation" for d in documents(count)] for seed in (0, 1)]
    both = sum(a and b for a, b in zip(*held, strict=True))
    low, high = binom.interval(1 - 1e-6, count, p * p)
    assert low <= both <= high


@given(st.text(), st.floats(0.01, 0.5), st.floats(0, 0.49), st.integers(0, 9))
def test_equal_texts_share_a_split_wherever_they_come_from(
    text: str, validation: float, test: float, seed: int
) -> None:
    one = document(text, "a", "a/1")
    other = Document(text, "b", "b/77", label="x", target="y")
    assert split_of(one, validation, test, seed) == split_of(other, validation, test, seed)


@given(st.text(), st.floats(0.01, 0.3), st.floats(0.31, 0.9))
def test_a_larger_fraction_keeps_what_a_smaller_one_held_out(
    text: str, small: float, large: float
) -> None:
    if split_of(document(text), small, 0, 0) == "validation":
        assert split_of(document(text), large, 0, 0) == "validation"


@pytest.mark.parametrize("split", SPLITS)
def test_an_official_split_is_kept(split: str) -> None:
    found = {split_of(document(f"{i}", split=split), 0.5, 0.3, seed=i) for i in range(50)}
    assert found == {split}


def test_an_official_split_of_another_name_is_an_error() -> None:
    with pytest.raises(DataError, match=r"a/0: split='dev'; allowed are train, validation, test"):
        split_of(document("x", split="dev"), 0.1, 0.1, 0)


class Listed(Source):
    def __init__(self, name: str, texts: list[str]) -> None:
        super().__init__(name=name, language="en", category="web", licence="unknown")
        self.texts = texts

    def __iter__(self) -> Iterator[Document]:
        for number, text in enumerate(self.texts):
            yield Document(text, self.name, f"{self.name}/{number}")

    def signature(self) -> str:
        return self.name


def held_out(source: Source) -> dict[str, set[str]]:
    splits = {"validation": 0.2, "test": 0.2, "seed": 3}
    selection = Selection(source, [], splits, dict.fromkeys(SPLITS, 10**9))
    found: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split, chosen in selection:
        found[split].add(chosen.text)
    return found


def test_a_source_keeps_its_held_out_documents_inside_a_mixture() -> None:
    # Two sources that share a third of their texts, and repeat some.
    a = Listed("a", [f"text {i % 50}" for i in range(60)])
    b = Listed("b", [f"text {i}" for i in range(30, 90)])
    mixture = Mixture(
        {"a": 3, "b": 1},
        {"a": a, "b": b},
        name="mix",
        language="en",
        category="mixed",
        licence="unknown",
    )
    alone_a, alone_b, mixed = held_out(a), held_out(b), held_out(mixture)
    for split in SPLITS:
        assert mixed[split] == alone_a[split] | alone_b[split]
        assert len(mixed[split]) > 3
    assert not mixed["train"] & (mixed["validation"] | mixed["test"])


texts = st.lists(st.text(max_size=20), max_size=40)


@given(texts, st.integers(0, 2**31), st.sampled_from([1, 300, 2000, 1 << 25]))
def test_shuffling_loses_and_invents_nothing(given: list[str], seed: int, size: int) -> None:
    before = [document(text, id=f"a/{i}") for i, text in enumerate(given)]
    after = list(shuffle(before, seed, size))
    assert sorted(d.id for d in after) == sorted(d.id for d in before)
    assert [d.id for d in shuffle(before, seed, size)] == [d.id for d in after]


def test_every_order_is_equally_likely() -> None:
    counts: dict[tuple[str, ...], int] = {}
    for seed in range(2400):
        order = tuple(d.text for d in shuffle([document(c) for c in "abcd"], seed))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert chisquare(list(counts.values())).pvalue > 1e-3


@given(
    st.lists(st.sampled_from(["", "x" * 10, "世界" * 40, "y" * 3000]), max_size=60),
    st.integers(256, 5000),
)
def test_the_buffer_holds_no_more_than_it_may(given: list[str], most: int) -> None:
    pulled = 0

    def source() -> Iterator[Document]:
        nonlocal pulled
        for text in given:
            pulled += size(text)
            yield document(text)

    def size(text: str) -> int:
        return len(text.encode()) + DOCUMENT_BYTES

    given_out = 0
    for out in shuffle(source(), 0, most):
        held = pulled - given_out
        # The buffer when `out` was taken: full (or one document that fills it), and the newest one.
        longest = max(map(size, given))
        assert held <= max(most, longest) + longest
        given_out += size(out.text)
    assert given_out == pulled == sum(map(size, given))


def test_a_corpus_that_just_fits_is_shuffled_whole() -> None:
    read = 0

    def source() -> Iterator[Document]:
        nonlocal read
        for _ in range(4):
            read += 1
            yield document("x")

    for size, expected in ((4, 4), (3, 4), (2, 3)):
        read = 0
        next(shuffle(source(), 0, buffer_bytes=size * (DOCUMENT_BYTES + 1)))
        assert read == expected


def test_documents_larger_than_the_buffer_change_places_too() -> None:
    given = [document("x", id="a/0"), document("y", id="a/1")]
    first = {next(shuffle(given, seed, buffer_bytes=1)).id for seed in range(20)}
    assert first == {"a/0", "a/1"}


def test_a_larger_corpus_is_shuffled_locally() -> None:
    given = documents(2000)
    after = list(shuffle(given, 0, buffer_bytes=100 * (DOCUMENT_BYTES + 10)))
    places = {d.id: place for place, d in enumerate(after)}
    moved = [places[d.id] - place for place, d in enumerate(given)]
    assert min(moved) >= -110  # nothing comes out before it was read
    assert max(moved) > 300  # and some wait long
