"""Kneser-Ney against a slow implementation by the definition: dictionaries, <s> and </s>."""

import gzip
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.models.ngram import KneserNey, discounts

# Read at import, before the fixtures give every test a cache of its own.
PENN_TREEBANK = Path(os.environ.get("LM_RESEARCH_CACHE", "no cache")).expanduser() / "ptb"


class ByDefinition:
    """Chen and Goodman 1998, equations of section 4.1.6, one probability at a time."""

    def __init__(self, documents, vocabulary_size, order):
        self.vocabulary_size, self.order = vocabulary_size, order
        sentences = [("<s>", *document, "</s>") for document in documents]
        raw = {n: self.count(sentences, n) for n in range(1, order + 1)}
        self.adjusted = {order: dict(raw[order])}
        for n in range(1, order):
            before = defaultdict(set)
            for gram in raw[n + 1]:
                before[gram[1:]].add(gram[0])
            self.adjusted[n] = {
                gram: count if gram[0] == "<s>" else len(before[gram])
                for gram, count in raw[n].items()
            }
        self.discounts = {n: self.estimate(list(self.adjusted[n].values())) for n in raw}

    @staticmethod
    def count(sentences, n):
        """n-grams that predict something: <s> is never predicted."""
        counts = Counter()
        for sentence in sentences:
            for last in range(1, len(sentence)):
                if last - n + 1 >= 0:
                    counts[sentence[last - n + 1 : last + 1]] += 1
        return counts

    @staticmethod
    def estimate(counts):
        n = [sum(1 for count in counts if count == i) for i in range(5)]
        if all(n[1:]):
            y = n[1] / (n[1] + 2 * n[2])
            d = {i: i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3)}
            if all(0 < d[i] <= i for i in d):
                return d
        return {1: 0.5, 2: 1.0, 3: 1.5}

    def probability(self, token, history):
        return self.interpolate(token, tuple(history))

    def interpolate(self, token, history):
        n, d = len(history) + 1, self.discounts.get(len(history) + 1)
        shorter = self.interpolate(token, history[1:]) if history else 1 / self.vocabulary_size
        if d is None:
            return shorter
        following = {g[-1]: c for g, c in self.adjusted[n].items() if g[:-1] == history}
        total = sum(following.values())
        if total == 0:
            return shorter
        left = sum(d[min(count, 3)] for count in following.values())
        count = following.get(token, 0)
        kept = count - d[min(count, 3)] if count else 0.0
        return kept / total + left / total * shorter


def stream_of(documents):
    """Documents joined by the separator 0, which starts and ends the stream."""
    return np.array([0, *(id for document in documents for id in (*document, 0))])


def distribution(oracle, ids, t):
    """p(. | ids[:t+1]) by the definition."""
    begin = max(position for position in range(t + 1) if ids[position] == 0)
    history = ["<s>", *ids[begin + 1 : t + 1].tolist()][-(oracle.order - 1) :]
    if oracle.order == 1:
        history = []
    names = ["</s>", *range(1, oracle.vocabulary_size)]
    return np.array([oracle.probability(name, history) for name in names])


def document(vocabulary_size, max_size):
    return st.lists(st.integers(1, vocabulary_size - 1), max_size=max_size)


def corpora(vocabulary_size=6):
    return st.lists(document(vocabulary_size - 1, 9), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(documents=corpora(), held_out=st.lists(document(6, 8), max_size=3), order=st.integers(1, 4))
def test_equals_the_definition(documents, held_out, order):
    model, oracle = KneserNey(6, order), ByDefinition(documents, 6, order)
    model.fit(stream_of(documents))
    ids = stream_of(held_out)
    log_p_NV = model.log_probabilities(ids, 0, len(ids))
    expected = np.array([distribution(oracle, ids, t) for t in range(len(ids))])
    np.testing.assert_allclose(np.exp(log_p_NV), expected, rtol=1e-10, atol=0)
    np.testing.assert_allclose(expected.sum(1), 1, rtol=1e-12)


@pytest.mark.parametrize(("order", "skew"), [(1, 0.06), (2, 0.06), (3, 0.15), (4, 0.25)])
def test_equals_the_definition_where_discounts_are_estimated(order, skew):
    """Corpora large and skewed enough for counts of one to four at the highest order."""
    generator = np.random.default_rng(0)
    documents = [
        np.minimum(generator.geometric(skew, size=generator.integers(1, 8)), 119).tolist()
        for _ in range(400)
    ]
    model, oracle = KneserNey(120, order), ByDefinition(documents, 120, order)
    model.fit(stream_of(documents))
    estimated = [n for n, d in oracle.discounts.items() if d != {1: 0.5, 2: 1.0, 3: 1.5}]
    assert order in estimated
    ids = stream_of(documents[:6])
    expected = np.array([distribution(oracle, ids, t) for t in range(len(ids))])
    log_p_NV = model.log_probabilities(ids, 0, len(ids))
    np.testing.assert_allclose(np.exp(log_p_NV), expected, rtol=1e-10, atol=0)


@settings(max_examples=60, deadline=None)
@given(documents=corpora(), ids=st.lists(st.integers(0, 5), min_size=1), order=st.integers(1, 6))
def test_every_row_sums_to_one_and_nothing_is_impossible(documents, ids, order):
    model = KneserNey(6, order)
    model.fit(stream_of(documents))
    log_p_NV = model.log_probabilities(np.array(ids), 0, len(ids))
    assert log_p_NV.dtype == np.float64
    assert np.isfinite(log_p_NV).all()
    np.testing.assert_allclose(np.exp(log_p_NV).sum(1), 1, rtol=0, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(ids=st.lists(st.integers(0, 5), min_size=1, max_size=30), data=st.data())
def test_any_slice_of_a_stream_gives_the_same(ids, data):
    model, ids = KneserNey(6, data.draw(st.integers(1, 5))), np.array(ids)
    model.fit(stream_of([[1, 2, 3, 1, 2], [2, 3, 1, 2, 3], [4, 4], [1, 2, 3, 4, 4, 1]]))
    start = data.draw(st.integers(0, len(ids)))
    stop = data.draw(st.integers(start, len(ids)))
    whole = model.log_probabilities(ids, 0, len(ids))
    part = model.log_probabilities(ids, start, stop)
    assert part.shape == (stop - start, 6)
    np.testing.assert_array_equal(part, whole[start:stop])
    # The future is out of sight, and so is what lies before the separator or the order's reach.
    np.testing.assert_array_equal(model.log_probabilities(ids[:stop], start, stop), part)
    changed = ids.copy()
    changed[: max(0, start - model.order + 2)] = 5
    np.testing.assert_array_equal(model.log_probabilities(changed, start, stop), part)


def test_blocks_do_not_change_the_result(monkeypatch):
    model, ids = KneserNey(6, 3), stream_of([[1, 2, 3], [2, 3, 4, 5], [1, 1, 1]])
    model.fit(ids)
    whole = model.log_probabilities(ids, 0, len(ids))
    monkeypatch.setattr("lm_research.models.ngram.BLOCK_ELEMENTS", 12)
    np.testing.assert_array_equal(model.log_probabilities(ids, 0, len(ids)), whole)


def test_history_ends_at_the_separator():
    model = KneserNey(6, 4)
    model.fit(stream_of([[1, 2, 3], [2, 3, 4, 5], [1, 1, 1]]))
    here = model.log_probabilities(np.array([0, 1, 2, 3, 0]), 4, 5)
    there = model.log_probabilities(np.array([0, 5, 4, 0]), 3, 4)
    np.testing.assert_array_equal(here, there)


def test_a_hand_count():
    """Two documents, "1 2" and "1": bigrams s1 s1 12 1e 2e, discounts by fallback."""
    model = KneserNey(4, 2)
    model.fit(stream_of([[1, 2], [1]]))
    assert model.parameter_count() == 3 + 4  # 1, 2, end; s1, 12, 1e, 2e
    # continuation counts: 1 after s; 2 after 1; end after 1 and 2. Sum 4, discounts .5 .5 1.
    left = (0.5 + 0.5 + 1.0) / 4
    unigram = np.array([1 / 4, 0.5 / 4, 0.5 / 4, 0]) + left / 4
    after_start = np.array([0, 1 / 2, 0, 0]) + 1.0 / 2 * unigram
    after_one = np.array([0.5 / 2, 0, 0.5 / 2, 0]) + 1.0 / 2 * unigram
    log_p = model.log_probabilities(np.array([0, 1, 3]), 0, 3)
    np.testing.assert_allclose(np.exp(log_p), [after_start, after_one, unigram], rtol=1e-12)


def test_discounts_follow_the_formula_or_fall_back():
    counts = np.repeat([1, 2, 3, 4, 9], [40, 20, 10, 5, 3])
    y = 40 / 80
    expected = [0, 1 - 2 * y * 20 / 40, 2 - 3 * y * 10 / 20, 3 - 4 * y * 5 / 10]
    np.testing.assert_allclose(discounts(counts), expected)
    for missing in (1, 2, 3, 4):
        np.testing.assert_array_equal(discounts(counts[counts != missing]), [0, 0.5, 1, 1.5])
    rising = np.repeat([1, 2, 3, 4], [10, 5, 40, 5])  # D_2 would be negative
    np.testing.assert_array_equal(discounts(rising), [0, 0.5, 1, 1.5])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_ids_of_any_integer_type(dtype):
    ids = stream_of([[1, 2, 3], [3, 2, 1]])
    model, other = KneserNey(200, 3), KneserNey(200, 3)
    model.fit(ids)
    other.fit(ids.astype(dtype))
    expected = model.log_probabilities(ids, 0, len(ids))
    np.testing.assert_array_equal(other.log_probabilities(ids.astype(dtype), 0, len(ids)), expected)


def test_search_keys_survive_a_large_vocabulary_and_order():
    """V to the power of the order is far beyond 2^63; ranks are not."""
    generator = np.random.default_rng(0)
    size = 1_000_000
    documents = [generator.integers(size - 50, size, 40).tolist() for _ in range(10)]
    shifted = [[id - (size - 51) for id in document] for document in documents]
    large, small = KneserNey(size, 8), KneserNey(51, 8)
    large.fit(stream_of(documents))
    small.fit(stream_of(shifted))
    assert large.parameter_count() == small.parameter_count()
    for ours, theirs in zip(large.orders, small.orders, strict=True):
        np.testing.assert_array_equal(ours.counts, theirs.counts)
        np.testing.assert_array_equal(ours.offsets, theirs.offsets)
        np.testing.assert_allclose(ours.backoffs, theirs.backoffs)


def test_state_dict_round_trip(tmp_path):
    ids = stream_of([[1, 2, 3], [2, 3, 4, 5], [1, 1, 1]])
    model, other = KneserNey(6, 3), KneserNey(6, 3)
    model.fit(ids)
    np.savez(tmp_path / "counts.npz", **model.state_dict())
    with np.load(tmp_path / "counts.npz") as saved:
        other.load_state_dict(dict(saved))
    expected = model.log_probabilities(ids, 0, len(ids))
    np.testing.assert_array_equal(other.log_probabilities(ids, 0, len(ids)), expected)
    assert other.parameter_count() == model.parameter_count()
    with pytest.raises(ValueError, match=r"\[6, 3, 0\].*\[6, 4, 0\]"):
        KneserNey(6, 4).load_state_dict(model.state_dict())


def test_order_may_exceed_every_document():
    model = KneserNey(5, 9)
    model.fit(stream_of([[1], [2]]))
    log_p = model.log_probabilities(np.array([0, 1, 2, 3, 4, 1, 2]), 0, 7)
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1)


def test_a_vocabulary_of_one_and_empty_documents():
    model = KneserNey(1, 3)
    model.fit(np.zeros(4, dtype=np.int64))
    np.testing.assert_allclose(model.log_probabilities(np.zeros(2, dtype=int), 0, 2), 0, atol=1e-12)


def test_another_separator():
    ids = stream_of([[1, 2, 3], [2, 3, 4, 5], [1, 1, 1]])
    swapped = np.where(ids == 0, 5, np.where(ids == 5, 0, ids))
    model, other = KneserNey(6, 3), KneserNey(6, 3, separator_id=5)
    model.fit(ids)
    other.fit(swapped)
    expected = model.log_probabilities(ids, 0, len(ids))[:, [5, 1, 2, 3, 4, 0]]
    got = other.log_probabilities(swapped, 0, len(ids))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "holds 0 tokens"),
        ([0], "at least one token more"),
        ([1, 2, 0], "begin with the separator, 0"),
        ([0, 7], "id 7.*within.*0, 5"),
        ([0, -1], "id -1"),
    ],
)
def test_bad_streams_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        KneserNey(6, 3).fit(np.array(ids, dtype=np.int64))


def test_bad_use_is_refused():
    with pytest.raises(RuntimeError, match="call fit first"):
        KneserNey(6).log_probabilities(np.array([0]), 0, 1)
    with pytest.raises(ValueError, match="order is 0"):
        KneserNey(6, 0)
    with pytest.raises(ValueError, match="separator_id is 6"):
        KneserNey(6, 3, separator_id=6)
    model = KneserNey(6)
    model.fit(np.array([0, 1, 2, 0]))
    with pytest.raises(ValueError, match="id 6"):
        model.log_probabilities(np.array([0, 6]), 0, 2)
    with pytest.raises(ValueError, match=r"\[1, 3\)"):
        model.log_probabilities(np.array([0, 1]), 1, 3)


def penn_treebank(split, vocabulary):
    """One line is one document; the separator is the end of the sentence."""
    if split == "train":
        text = gzip.decompress((PENN_TREEBANK / "ptb.train.txt.gz").read_bytes()).decode("utf-8")
    else:
        text = (PENN_TREEBANK / f"ptb.{split}.txt").read_text(encoding="utf-8")
    documents = [line.split() for line in text.splitlines()]
    if not vocabulary:
        words = sorted({word for document in documents for word in document})
        vocabulary.update({word: id for id, word in enumerate(words, start=1)})
    return stream_of([[vocabulary[word] for word in document] for document in documents])


@pytest.mark.slow
@pytest.mark.skipif(
    not (PENN_TREEBANK / "ptb.train.txt.gz").exists(),
    reason="LM_RESEARCH_CACHE is no folder with ptb/ptb.train.txt.gz, ptb.valid.txt, ptb.test.txt",
)
@pytest.mark.parametrize(
    ("order", "valid", "test"), [(3, 157.77, 148.28), (5, 148.01, 141.19)], ids=["KN3", "KN5"]
)
def test_penn_treebank_perplexity(order, valid, test):
    """Mikolov 2012, table 4.1 (test: KN5 141.2, KN3 148.3), to two decimals of a replication."""
    vocabulary = {}
    train = penn_treebank("train", vocabulary)
    model = KneserNey(len(vocabulary) + 1, order)
    assert model.vocabulary_size == 10_000
    model.fit(train)
    for split, tokens, perplexity in (("valid", 73_760, valid), ("test", 82_430, test)):
        ids = penn_treebank(split, vocabulary)
        assert len(ids) - 1 == tokens
        total = 0.0
        for start in range(0, tokens, 2048):
            stop = min(start + 2048, tokens)
            log_p = model.log_probabilities(ids, start, stop)
            total += log_p[np.arange(stop - start), ids[start + 1 : stop + 1]].sum()
        assert np.exp(-total / tokens) == pytest.approx(perplexity, abs=0.05)
