"""Copies are found, other texts kept, and what is found does not depend on the pass."""

import random
import tracemalloc
from dataclasses import dataclass

import pytest

from lm_research.text.cleaning import Cleaner, Drop, LowerCase, MaskUrls
from lm_research.text.duplicates import ExactDuplicates, NearDuplicates, NgramOverlap, shingles

WORDS = [f"w{i:x}" for i in range(5000)]


def document(seed: int, length: int = 200) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def edited(text: str, rate: float, seed: int = 0) -> str:
    """A copy in which this share of the words is another one."""
    rng = random.Random(seed)
    words = text.split()
    for i in rng.sample(range(len(words)), round(rate * len(words))):
        words[i] = f"new{rng.randrange(10**6)}"
    return " ".join(words)


@dataclass
class Doc:
    text: str
    source: str


class Other(list):
    """A source of other texts."""

    def __init__(self, name: str, texts: list[str]) -> None:
        super().__init__(Doc(text, name) for text in texts)

    def signature(self) -> str:
        return repr(list(self))


ALL = [ExactDuplicates, NearDuplicates, NgramOverlap]


@pytest.mark.parametrize("kind", ALL)
def test_the_first_of_equal_texts_is_kept(kind):
    rule = kind()
    texts = [document(i) for i in range(20)]
    assert [rule(text) for text in texts] == texts
    assert all(isinstance(rule(text), Drop) for text in texts)


def test_case_spaces_and_punctuation_make_no_other_text():
    rule = ExactDuplicates()
    assert rule("Hello, world! 你好。") == "Hello, world! 你好。"
    assert rule("hello   world\n你好") == Drop("exact copy")
    assert rule("hello worlds 你好") == "hello worlds 你好"
    assert rule("!!!") == "!!!"
    assert rule("???") == "???"
    assert rule("???") == Drop("exact copy")


def test_an_edited_copy_is_near_and_not_exact():
    text, copy = document(0), edited(document(0), 0.01)
    near, exact = NearDuplicates(), ExactDuplicates()
    assert (exact(text), near(text)) == (text, text)
    assert (exact(copy), near(copy)) == (copy, Drop("near copy"))


def test_a_copy_within_a_longer_text_overlaps():
    rule = NgramOverlap(keep_one_in=1)
    text = document(0)
    rule(document(1, 1000) + " " + text)
    assert rule(text) == Drop("passages")
    half = " ".join([text, document(2, 300)])
    assert rule(half) == half  # two fifths of it is known
    assert NgramOverlap(keep_one_in=1, max_share=0)(text) == text


def test_short_texts():
    near, overlap = NearDuplicates(), NgramOverlap()
    assert [near("one two"), near("one two three"), near("")] == ["one two", "one two three", ""]
    assert near("One, two.") == Drop("near copy")
    assert [overlap("one two"), overlap("one two")] == ["one two", "one two"]


def test_chinese_copies():
    rng = random.Random(0)
    characters = [chr(c) for c in range(0x4E00, 0x5E00)]
    text = "".join(rng.choices(characters, k=300))
    near = NearDuplicates()
    assert near(text) == text
    assert near(text[:150] + "，" + text[151:]) == Drop("near copy")
    assert near("".join(rng.choices(characters, k=300))).__class__ is str


@pytest.mark.parametrize("kind", ALL)
def test_texts_of_other_sources_are_read_first_through_the_rules_before(kind):
    text = document(0)
    other = Other("held", [f"http://a.b {text.upper()}", document(1)])
    cleaner = Cleaner([MaskUrls(""), LowerCase(), kind(against={"held": other})])
    cleaner.learn()
    assert cleaner.clean(text, "mine") is None
    reasons = cleaner.report()[-1]["reasons"]
    assert len(reasons) == 1
    assert next(iter(reasons)).endswith("of a text of held")
    assert cleaner.clean(document(2), "mine") == document(2)
    assert cleaner.counts[0].documents_in == 2  # what is read first is not counted


@pytest.mark.parametrize("kind", ALL)
def test_a_source_is_not_compared_with_itself(kind):
    texts = [document(i) for i in range(3)]
    rule = kind(against={"held": Other("held", texts)})
    cleaner = Cleaner([rule])
    cleaner.learn()
    assert [cleaner.clean(text, "held") for text in texts] == texts
    assert [cleaner.clean(text, "held") for text in texts] == [None] * 3


def test_the_signature_changes_with_the_other_sources():
    one, two = Other("a", ["x"]), Other("a", ["y"])
    assert NearDuplicates({"a": one}).signature() != NearDuplicates({"a": two}).signature()
    assert NearDuplicates({"a": one}).signature() == NearDuplicates({"a": one}).signature()


def test_estimates_agree_with_those_of_datasketch_and_the_exact_similarity():
    import numpy as np
    import rensa
    from datasketch import MinHash

    errors = {"rensa": [], "datasketch": []}
    for seed in range(60):
        a = set(shingles(document(seed), 5))
        b = set(shingles(edited(document(seed), (seed % 10) / 50, seed), 5))
        exact = len(a & b) / len(a | b)
        ours = [rensa.RMinHash(112, 1) for _ in "ab"]
        theirs = [MinHash(112) for _ in "ab"]
        for items, m, t in zip((a, b), ours, theirs, strict=True):
            m.update(sorted(items))
            t.update_batch([item.encode() for item in items])
        errors["rensa"].append(ours[0].jaccard(ours[1]) - exact)
        errors["datasketch"].append(theirs[0].jaccard(theirs[1]) - exact)
    for found in errors.values():  # sqrt(s (1 - s) / 112) is at most 0.047
        assert np.sqrt(np.mean(np.square(found))) < 0.047
        assert abs(np.mean(found)) < 0.02


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.1, 0.2])
def test_bands_find_as_many_as_the_formula_says(rate):
    found, expected = 0, 0.0
    rule = NearDuplicates(shingle=3, bands=20, rows=5)
    for seed in range(60):
        text, copy = document(seed), edited(document(seed), rate, seed)
        a, b = set(shingles(text, 3)), set(shingles(copy, 3))
        expected += 1 - (1 - (len(a & b) / len(a | b)) ** 5) ** 20
        assert rule(text) == text  # no other text is taken for a copy
        found += isinstance(rule(copy), Drop)
    assert found == pytest.approx(expected, abs=3 * (60 * 0.25) ** 0.5 * (rate > 0.05) + 2)


def test_memory_of_exact_hashes():
    rule = ExactDuplicates()
    texts = [f"text {i}" for i in range(20_000)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for text in texts:
        rule(text)
    each = (tracemalloc.get_traced_memory()[0] - before) / len(texts)
    tracemalloc.stop()
    assert each < 120
