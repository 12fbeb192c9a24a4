"""Each threshold of Gopher on both sides; shares against a slow count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text.cleaning import Drop
from lm_research.text.quality.gopher import (
    GopherQuality,
    GopherRepetition,
    duplicate_ngram_share,
    duplicate_shares,
    top_ngram_share,
)

QUALITY, REPETITION = GopherQuality(), GopherRepetition()


def words(count: int, start: int = 0) -> list[str]:
    """Distinct words of five letters."""
    letters = "abcdefghij"
    return ["w" + "".join(letters[int(d)] for d in f"{i:04}") for i in range(start, start + count)]


def english(count: int, *others: str) -> str:
    """A text of ``count`` words that passes, ending in others'."""
    return " ".join(["the", "of", *words(count - 2 - len(others)), *others])


def reason(rule, text: str) -> str | None:
    result = rule(text)
    if isinstance(result, Drop):
        return result.reason
    assert result == text
    return None


@pytest.mark.parametrize(
    ("passes", "fails", "why"),
    [
        (english(50), english(49), "too few words"),
        (english(100_000), english(100_001), "too many words"),
        ("the and " + "abc " * 50, "the of " + "abc " * 50, "words too short"),
        (
            " ".join(["have", "that", "a" * 22, *["a" * 10] * 59]),
            " ".join(["have", "that", "a" * 23, *["a" * 10] * 59]),
            "words too long",
        ),
        (english(100, *["#tag"] * 10), english(100, *["#tag"] * 11), "too many hash signs"),
        (
            english(100, *["so..."] * 10, "end"),
            english(100, *["so..."] * 10, "so…", "end"),
            "too many ellipses",
        ),
        (english(50, *["1234"] * 10), english(50, *["1234"] * 11), "too few words with letters"),
        (
            "The " + " ".join(words(60)) + " of.",
            "The the " + " ".join(words(60)),
            "too few stop words",
        ),
    ],
)
def test_words_and_signs(passes, fails, why):
    assert reason(QUALITY, passes) is None
    assert reason(QUALITY, fails) == why


def lines(bullets: int, ellipses: int, total: int) -> str:
    found = []
    for i in range(total):
        line = " ".join(["the", "of", *words(20, 20 * i)])
        found.append(("• " if i < bullets else "") + line + ("..." if i < ellipses else ""))
    return "\n".join(found)


def test_lines():
    assert reason(QUALITY, lines(9, 3, 10)) is None
    assert reason(QUALITY, lines(10, 0, 10)) == "too many lines begin with a bullet"
    assert reason(QUALITY, lines(0, 4, 10)) == "too many lines end with an ellipsis"


def unique_line(i: int, length: int = 6) -> str:
    return " ".join(words(length, 10 * i))


def repeated(unit: str, copies: int, others: int, joint: str) -> str:
    return joint.join([unit] * copies + [unique_line(i, 9) for i in range(1, others + 1)])


@pytest.mark.parametrize(("name", "joint"), [("lines", "\n"), ("paragraphs", "\n\n")])
def test_duplicate_lines_and_paragraphs(name, joint):
    # Of ten, three repeat the first: 0.3 may be; of nine, three are more.
    assert reason(REPETITION, repeated("a", 4, 6, joint)) is None
    single = GopherRepetition(max_duplicate_lines=1) if name == "paragraphs" else REPETITION
    assert reason(single, repeated("a", 4, 5, joint)) == f"duplicate {name}"


@pytest.mark.parametrize(("name", "joint"), [("lines", "\n"), ("paragraphs", "\n\n")])
def test_characters_in_duplicate_lines_and_paragraphs(name, joint):
    rest = {"max_top_ngrams": {}, "max_duplicate_ngrams": {}}
    if name == "paragraphs":
        rest |= {"max_duplicate_lines": 1, "max_duplicate_line_characters": 1}
    rule = GopherRepetition(**rest)
    # 20 + 20 of characters that repeat, 60 others: 20 of 100 repeat an earlier one.
    text = joint.join(["x" * 20, "x" * 20, *(c * 15 for c in "abcd")])
    assert reason(rule, text) is None
    assert reason(rule, text[:-1]) == f"characters in duplicate {name}"


@pytest.mark.parametrize(("n", "share"), [(2, 0.20), (3, 0.18), (4, 0.16)])
def test_top_ngrams(n, share):
    others = {m: 1.0 for m in (2, 3, 4) if m != n}
    rule = GopherRepetition(max_top_ngrams={**others, n: share}, max_duplicate_ngrams={})
    default = GopherRepetition(max_duplicate_ngrams={})
    gram = words(n)
    for total in range(2 * n + 1, 40 * n):
        filler = words(total - 2 * n, 100)
        text = " ".join([*gram, *filler[: len(filler) // 2], *gram, *filler[len(filler) // 2 :]])
        fails = 2 * n / total > share
        assert reason(rule, text) == (f"top {n}-gram" if fails else None)
        if fails:
            assert reason(default, text) is not None


@pytest.mark.parametrize("n", range(5, 11))
def test_duplicate_ngrams(n):
    share = 0.15 - 0.01 * (n - 5)
    text_of = lambda total: " ".join([*words(n), *words(total - 2 * n, 100), *words(n)])  # noqa: E731
    rule = GopherRepetition(max_top_ngrams={})
    fewest = next(t for t in range(2 * n + 1, 500) if n / t <= share + 1e-12)
    assert reason(rule, text_of(fewest + n)) is None
    told = reason(rule, text_of(2 * n + 1))
    assert str(told).startswith("duplicate ")
    only = GopherRepetition(max_top_ngrams={}, max_duplicate_ngrams={n: share})
    assert reason(only, text_of(fewest + 1)) is None
    assert reason(only, text_of(fewest - 1)) == f"duplicate {n}-grams"
    assert REPETITION.duplicate[n] == pytest.approx(share)


def slow_cover(items: list[str], n: int, starts: list[int]) -> float:
    covered = {j for i in starts for j in range(i, i + n)}
    return sum(len(items[j]) for j in covered) / max(sum(map(len, items)), 1)


@given(st.lists(st.sampled_from(["a", "bb", "c"]), max_size=30), st.integers(2, 6))
def test_shares_are_those_of_a_slow_count(items, n):
    grams = [tuple(items[i : i + n]) for i in range(len(items) - n + 1)]
    again = [i for i, gram in enumerate(grams) if gram in grams[:i]]
    assert duplicate_ngram_share(items, n) == pytest.approx(slow_cover(items, n, again))
    most = max((grams.count(g) for g in grams), default=0)
    tops = {g for g in grams if grams.count(g) == most}
    size = max((sum(map(len, g)) for g in tops), default=0)
    allowed = [
        slow_cover(items, n, [i for i, other in enumerate(grams) if other == g])
        for g in tops
        if sum(map(len, g)) == size
    ]
    found = top_ngram_share(items, n)
    assert found == 0 if most < 2 else any(found == pytest.approx(share) for share in allowed)


def test_repeats_of_lines_by_hand():
    assert duplicate_shares(["ab", "cde", "ab", "ab"]) == (0.5, 4 / 9)
    assert duplicate_shares([]) == (0, 0)


def test_chinese_is_counted_by_characters():
    text = "今天天气很好我们去公园玩" + "".join(chr(0x4E00 + 7 * i) for i in range(60))
    assert reason(GopherRepetition(words="pieces"), text) is None
    assert reason(GopherRepetition(words="pieces"), text + "今天天气很好我们去公园玩" * 2)
    assert reason(GopherRepetition(), text + "今天天气很好我们去公园玩" * 2) is None
