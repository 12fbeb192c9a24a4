"""Mixtures: fractions of bytes, the end of a source, state, errors."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.data.document import Document, Source
from lm_research.data.mixture import Mixture


class Listed(Source):
    """The texts that it is given; counts how many were asked for."""

    def __init__(self, name: str, texts: list[str], skipped: int = 0) -> None:
        super().__init__(name=name, language="en", category="web", licence="unknown")
        self.texts = texts
        self.left_out = skipped
        self.asked = 0

    def __iter__(self) -> Iterator[Document]:
        self.skipped.clear()
        self.skipped["empty"] = self.left_out
        for number, text in enumerate(self.texts):
            self.asked += 1
            yield Document(text, self.name, f"{self.name}/{number}")

    def signature(self) -> str:
        return f"{self.name}:{hash(tuple(self.texts))}"


def mix(weights: dict[str, float], texts: dict[str, list[str]], **options: Any) -> Mixture:
    sources: dict[str, Source] = {name: Listed(name, given) for name, given in texts.items()}
    return Mixture(
        weights,
        sources,
        **options,
        name="mix",
        language="mul",
        category="mixed",
        licence="those of the members",
    )


NAMES = ["a", "b", "c", "d"]
texts_of = st.lists(st.sampled_from(["x", "yy", "世界", "z" * 17, "w" * 40]), max_size=60)
members = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(st.floats(0.05, 20), texts_of),
    min_size=1,
)


@given(members)
def test_no_source_leaves_its_share_by_more_than_its_longest_documents(given: Any) -> None:
    weights = {name: weight for name, (weight, _) in given.items()}
    texts = {name: texts for name, (_, texts) in given.items()}
    total = math.fsum(weights.values())
    longest = max((len(text.encode()) for some in texts.values() for text in some), default=0)
    taken = dict.fromkeys(weights, 0)
    for document in mix(weights, texts, on_exhausted="stop"):
        taken[document.source] += len(document.text.encode())
        for name, weight in weights.items():
            share = weight / total
            ahead = taken[name] - share * sum(taken.values())
            assert ahead <= (1 - share) * longest + 1e-6
            assert ahead >= -(len(weights) - 2 + share) * longest - 1e-6


@given(members)
def test_drop_gives_every_document_once_and_in_its_source_s_order(given: Any) -> None:
    weights = {name: weight for name, (weight, _) in given.items()}
    texts = {name: texts for name, (_, texts) in given.items()}
    found = list(mix(weights, texts))
    for name in weights:
        assert [document.text for document in found if document.source == name] == texts[name]
    assert len(found) == sum(map(len, texts.values()))


@given(members, st.sampled_from(["drop", "stop"]), st.floats(0.01, 100))
def test_the_order_depends_on_the_proportions_alone(given: Any, end: str, scale: float) -> None:
    weights = {name: weight for name, (weight, _) in given.items()}
    texts = {name: texts for name, (_, texts) in given.items()}
    mixture = mix(weights, texts, on_exhausted=end)
    first = list(mixture)
    assert list(mixture) == first
    powers = {name: weight * 2.0 ** round(math.log2(scale)) for name, weight in weights.items()}
    assert list(mix(powers, texts, on_exhausted=end)) == first


def test_two_to_one_by_bytes_whatever_the_lengths_of_documents() -> None:
    mixture = mix({"a": 2, "b": 1}, {"a": ["x" * 10] * 600, "b": ["世" * 100] * 10})
    found = []
    for document in mixture:
        found.append(document)
        if document.id == "b/9":
            break
    assert mixture.achieved() == pytest.approx({"a": 2 / 3, "b": 1 / 3}, abs=300 / 6000)
    assert mixture.utf8_bytes == {"a": 10 * mixture.positions["a"], "b": 3000}
    assert mixture.positions == {"a": len(found) - 10, "b": 10}


def test_the_weights_of_an_exhausted_source_are_shared_pro_rata() -> None:
    texts = {"a": ["x"] * 30, "b": ["x"] * 3000, "c": ["x"] * 1000}
    mixture = mix({"a": 1, "b": 3, "c": 1}, texts)
    found = list(mixture)
    last_a = max(number for number, document in enumerate(found) if document.source == "a")
    assert last_a == pytest.approx(150, abs=5)
    rest = [document.source for document in found[last_a + 1 : last_a + 1001]]
    assert rest.count("b") == pytest.approx(750, abs=2)
    assert mixture.achieved() == pytest.approx({"a": 30 / 4030, "b": 3000 / 4030, "c": 1000 / 4030})


def test_stop_ends_with_the_fractions_that_were_asked_for() -> None:
    texts = {"a": ["x"] * 30, "b": ["x"] * 3000}
    mixture = mix({"a": 1, "b": 3}, texts, on_exhausted="stop")
    assert len(list(mixture)) == pytest.approx(120, abs=4)
    assert mixture.achieved() == pytest.approx({"a": 0.25, "b": 0.75}, abs=0.01)


def test_members_are_read_lazily_and_never_at_weight_0() -> None:
    mixture = mix({"a": 1, "b": 0}, {"a": ["x"] * 100, "b": ["y"] * 100})
    documents = iter(mixture)
    for _ in range(5):
        next(documents)
    assert mixture.sources["a"].asked == 5
    assert mixture.sources["b"].asked == 0
    assert mixture.achieved() == {"a": 1.0, "b": 0.0}
    assert [document.source for document in mixture] == ["a"] * 100


def test_documents_keep_their_source_and_skipped_is_the_sum() -> None:
    sources: dict[str, Source] = {"a": Listed("a", ["x"], 2), "b": Listed("other", ["y"], 3)}
    common = {"language": "en", "category": "mixed", "licence": "unknown"}
    mixture = Mixture({"a": 1, "b": 1}, sources, name="mix", **common)
    for _ in range(2):
        assert [document.source for document in mixture] == ["a", "other"]
        assert mixture.skipped == {"empty": 5}


def test_a_mixture_is_a_source_of_a_mixture() -> None:
    inner = mix({"a": 1, "b": 1}, {"a": ["x"] * 8, "b": ["y"] * 8})
    for number, member in enumerate(inner.sources.values(), start=1):
        member.left_out = number
    outer = Mixture(
        {"inner": 1, "c": 1},
        {"inner": inner, "c": Listed("c", ["z"] * 8, 3)},
        on_exhausted="stop",
        name="outer",
        language="en",
        category="mixed",
        licence="unknown",
    )
    found = [document.source for document in outer]
    assert found == ["a", "c", "b", "c"] * 4 + ["a"]
    assert outer.skipped == {"empty": 6}


def test_a_mixture_describes_itself_as_any_source_does() -> None:
    mixture = mix({"a": 1}, {"a": ["x"]}, citation="Someone 2020")
    found = (mixture.name, mixture.language, mixture.category, mixture.licence, mixture.citation)
    assert found == ("mix", "mul", "mixed", "those of the members", "Someone 2020")
    assert mix({"a": 1}, {"a": ["x"]}).citation == ""


def test_empty_members_give_an_empty_mixture() -> None:
    mixture = mix({"a": 1, "b": 1}, {"a": [], "b": []})
    assert list(mixture) == []
    assert mixture.achieved() == {"a": 0.0, "b": 0.0}


def test_the_signature_combines_weights_and_members() -> None:
    texts = {"a": ["x"], "b": ["y"]}
    same = [mix({"a": 1, "b": 3}, texts), mix({"a": 2, "b": 6}, texts)]
    other = [
        mix({"a": 1, "b": 2}, texts),
        mix({"a": 1, "b": 3}, texts, on_exhausted="stop"),
        mix({"a": 1, "b": 3}, texts | {"b": ["z"]}),
        mix({"b": 3, "a": 1}, texts),  # the order decides ties
    ]
    assert same[0].signature() == same[1].signature()
    assert len({mixture.signature() for mixture in [*same, *other]}) == 1 + len(other)


def test_a_source_of_weight_0_is_no_part_of_the_signature() -> None:
    one = mix({"a": 1}, {"a": ["x"]})
    assert mix({"a": 1, "b": 0}, {"a": ["x"], "b": ["y"]}).signature() == one.signature()


def test_the_signature_stays_the_same_from_release_to_release() -> None:
    """Prepared texts are found by it."""
    mixture = mix({"a": 1, "b": 3}, {"a": [], "b": []})
    for source in mixture.sources.values():
        source.signature = lambda name=source.name: f"{name}:7"
    assert mixture.signature() == "Mixture:2:45a763711c124826"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1, "b": -1}, r"weights.b=-1: allowed is a finite number of at least 0"),
        ({"a": 1, "b": math.nan}, r"weights.b=nan"),
        ({"a": math.inf, "b": 1}, r"weights.a=inf"),
        ({"a": 0, "b": 0}, r"at least one has to be greater than 0"),
        ({"a": 1, "c": 1}, r"weights.c: no source of that name; the sources are a, b"),
        ({"a": 1}, r"source 'b' has no weight; fix: weights.b=1"),
    ],
)
def test_impossible_weights_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mix(weights, {"a": ["x"], "b": ["y"]})


def test_a_weight_without_any_source_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no source of that name; the sources are none$"):
        mix({"a": 1}, {})


def test_an_unknown_end_is_refused() -> None:
    with pytest.raises(ValueError, match="on_exhausted='repeat': allowed are 'drop' and 'stop'"):
        mix({"a": 1}, {"a": ["x"]}, on_exhausted="repeat")
