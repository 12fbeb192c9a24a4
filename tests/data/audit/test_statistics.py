"""The audit's numbers against scipy, constructed texts and counts by hand."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from lm_research.data.audit.bias import bias_probes
from lm_research.data.audit.divergence import divergences, jensen_shannon
from lm_research.data.audit.language import readability
from lm_research.data.audit.licences import conflicts, terms_of
from lm_research.data.audit.personal import personal_counts
from lm_research.data.audit.reading import Group, Sample, Sampled
from lm_research.data.audit.topics import topic_words
from lm_research.data.audit.vocabulary import compression, diversity, growth, ranks

# A weight of 5e-324 overflows in scipy's quotient of two of them.
weight = st.just(0.0) | st.floats(1e-6, 100)
weights = st.lists(weight, min_size=4, max_size=4).filter(lambda w: sum(w) > 1e-3)


@given(weights, weights)
def test_divergence_is_scipys(first, second) -> None:
    p, q = np.array(first), np.array(second)
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-7)


def test_divergence_of_sources_is_0_to_1_with_an_interval() -> None:
    rng = np.random.default_rng(0)
    draw = lambda words: [" ".join(rng.choice(words, 20)) for _ in range(60)]  # noqa: E731
    same, other = ["a", "b", "c"], ["x", "y"]
    texts = {"one": draw(same), "two": draw(same), "three": draw(other)}
    rows = {(r["first"], r["second"]): r for r in divergences(texts, "words", 0, resamples=50)}
    assert rows["one", "three"]["bits"] == pytest.approx(1)
    assert rows["one", "two"]["bits"] < 0.01
    counts = [Counter(" ".join(texts[name]).split()) for name in ("one", "two")]
    p, q = ([count[word] for word in same] for count in counts)
    assert rows["one", "two"]["bits"] == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    for row in rows.values():
        if row["low"] is not None:
            assert 0 <= row["low"] <= row["high"] <= 1
    assert rows["one", "one"]["bits"] < 0.02
    assert set(rows) >= {("two", "two"), ("two", "three")}


def test_zipf_finds_the_exponent_that_a_text_was_made_with() -> None:
    counts = Counter({f"w{r}": round(1e6 / r**1.2) for r in range(1, 3000)})
    assert ranks(counts)["s"] == pytest.approx(1.2, abs=0.01)
    assert ranks(counts)["points"][0] == [1, 1_000_000]


def test_heaps_finds_the_exponent_that_a_text_was_made_with() -> None:
    tokens, types = [], 0
    for n in range(1, 20_001):
        new = 3 * n**0.6 >= types + 1
        types += new
        tokens.append(f"w{types}" if new else "w1")
    found = growth(tokens)
    assert found["beta"] == pytest.approx(0.6, abs=0.02)
    assert found["K"] == pytest.approx(3, rel=0.1)
    assert found["points"][-1] == [20_000, len(set(tokens))]


def test_nothing_is_fitted_to_nothing() -> None:
    assert growth([])["beta"] is ranks(Counter())["s"] is diversity([])["type_token_ratio"] is None
    assert compression([]) is None


def test_type_token_ratio_is_averaged_over_blocks() -> None:
    tokens = [str(i % 500) for i in range(1000)] + ["a"] * 1000 + ["left over"] * 5
    found = diversity(tokens)
    assert found["type_token_ratio_block"] == pytest.approx((0.5 + 0.001) / 2)
    assert found["type_token_ratio"] == pytest.approx(502 / 2005)


def test_flesch_by_hand() -> None:
    # 2 sentences, 9 words; the cat sat on the mat / it was happy: 6 + 4 syllables
    found = readability(["The cat sat on the mat. It was happy."], "en")
    assert found["flesch_reading_ease"] == pytest.approx(206.835 - 1.015 * 4.5 - 84.6 * 10 / 9)
    assert readability(["我爱你。真的!"], "zh") == {"characters_per_sentence": 2.5}
    assert readability(["x"], "de") == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to a.b@example.com now", {"e-mail addresses": 1}),
        ("call (212) 555-0123 or +49 30 901820", {"telephone numbers": 2}),
        ("手机13800138000，谢谢", {"telephone numbers": 1}),
        ("from 192.168.0.1, not 999.1.1.1", {"IP addresses": 1}),
        ("ssn 123-45-6789 and 000-12-3456", {"US social security numbers": 1}),
        ("身份证11010519491231002X号", {"Chinese identity numbers": 1}),
        ("card 4111 1111 1111 1111", {"payment card numbers": 1}),
        ("card 4111 1111 1111 1112", {}),
        ("version 1.2.3, in 2024, 3.14159265", {}),
    ],
)
def test_personal_data_by_form(text, expected) -> None:
    assert personal_counts(text) == expected


def test_check_digits_decide() -> None:
    assert personal_counts("4111 1111 1111 1111") == {"payment card numbers": 1}
    assert personal_counts("4111111111111117") == {}
    assert personal_counts("11010519491231002X") == {"Chinese identity numbers": 1}
    assert personal_counts("110105194912310021") == {}


def test_topic_words_tell_sources_apart() -> None:
    texts = {
        "sea": [["the", "ship", "sails", "today"]] * 5,
        "sky": [["the", "plane", "flies", "today"]] * 5,
    }
    found = {name: [word for word, _ in words] for name, words in topic_words(texts).items()}
    assert set(found["sea"][:2]) == {"ship", "sails"}
    assert set(found["sky"][:2]) == {"plane", "flies"}


def test_bias_counts_sentences() -> None:
    texts = ["She is a nurse. He said nurses help. The doctor left.", "Her doctor met a Muslim."]
    found = bias_probes(texts, "en")
    assert found["pronouns"] == {"feminine": 2, "masculine": 1}
    assert found["occupations"]["nurse"] == {"feminine": 1, "masculine": 1}
    assert found["occupations"]["doctor"] == {"feminine": 1, "masculine": 0}
    assert found["groups"]["religion"] == {"muslim": 1}
    assert bias_probes(["她是医生。"], "zh")["occupations"]["医生"]["feminine"] == 1
    assert bias_probes(["x"], "de") is None


def test_licences_that_cannot_be_joined_are_named() -> None:
    assert terms_of("CC-BY-NC-SA-4.0 (see LICENSE)")["commercial"] is False
    assert terms_of("public domain, it says")["known"] is False
    sentence = terms_of("Given for research that is not commercial; the package is MIT")
    assert (sentence["known"], sentence["commercial"]) == (False, False)
    assert terms_of("The package that carries it is MIT")["known"] is False
    assert terms_of("MIT AND (CC-BY-SA-3.0 OR CC0-1.0); by A. Nobody")["share_alike"] == [
        "CC-BY-SA"
    ]
    assert conflicts({"a": "MIT", "b": "CC-BY-4.0", "c": "CC0-1.0"}) == []
    told = conflicts({"a": "CC-BY-SA-4.0", "b": "CC-BY-NC-4.0", "c": "ODbL-1.0"})
    assert any(t.startswith("b: non-commercial") for t in told)
    assert any("a is share-alike" in t and "b forbids" in t for t in told)
    assert any(t.startswith("a (CC-BY-SA) and c (ODbL)") for t in told)


def test_a_sample_is_bounded_uniform_and_the_same_again() -> None:
    def drawn(seed: int) -> list[int]:
        sample = Sample(1000, seed)
        for n in range(1000):
            sample.offer(Sampled(Group("s", "train"), n, "x" * 10))
        assert sample.bytes == sum(len(d.text) for d in sample.documents()) <= 1000
        return [d.digest for d in sample.documents()]

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(drawn(1)) == 100
    means = [np.mean(drawn(seed)) for seed in range(30)]
    assert np.mean(means) == pytest.approx(499.5, abs=4 * 28.9 / 30**0.5)
