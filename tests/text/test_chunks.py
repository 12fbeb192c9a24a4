"""Encoding by remembered chunks gives what encoding the whole text gives."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text import chunks
from lm_research.text.bpe import BPETokenizer
from lm_research.text.character import CharacterTokenizer
from lm_research.text.word import WordTokenizer
from lm_research.text.word_pieces import segment_words

SPACES = " \n\t\r\x0b\x1c\x1f\x85\xa0\u2003\u2028\u3000"
TEXT = st.text(
    st.one_of(
        st.sampled_from("    " + SPACES + "abcdé字。'’.-=*12_\u0301\u200d"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)
TRAINING = ["the cat's cat  saw 12 cats.\n\n  The end...", "l'eau, 字字 the\tcat", "a rare word"]


@pytest.fixture(scope="module")
def bpe() -> BPETokenizer:
    tokenizer = BPETokenizer(400)
    tokenizer.train(TRAINING * 3)
    return tokenizer


def words(**options) -> WordTokenizer:
    tokenizer = WordTokenizer(30, **options)
    tokenizer.train(TRAINING)
    return tokenizer


@given(TEXT)
def test_chunks_are_the_text(text):
    assert "".join(chunks.split(text)) == text


@given(TEXT)
def test_no_word_reaches_across(text):
    pieces = [piece for chunk in chunks.split(text) for piece in segment_words(chunk)]
    assert pieces == segment_words(text)


@given(text=TEXT)
def test_byte_pairs_are_those_of_the_library(bpe, text):
    whole = np.array(bpe.backend.encode(text, add_special_tokens=False).ids, np.int64) + 1
    np.testing.assert_array_equal(bpe.encode(text).ids_N, whole)


@given(TEXT)
def test_words_and_what_their_unknown_ones_cost(text):
    tokenizer = words()
    pieces = segment_words(text)
    ids_N, unknown = tokenizer._look_up(pieces)
    for _ in range(2):  # worked out, and remembered
        encoding = tokenizer.encode(text)
        np.testing.assert_array_equal(encoding.ids_N, ids_N)
        assert encoding.spelling_nats == sum(map(tokenizer.spelling.nats, unknown), 0.0)


@given(st.lists(TEXT, max_size=5))
def test_pieces_are_counted_as_one_by_one(texts):
    plain = Counter(piece for text in texts for piece in segment_words(text))
    assert chunks.count_pieces(texts, segment_words) == plain
    points = Counter("".join(texts))
    assert CharacterTokenizer(1000)._count(texts) == points


def test_a_full_memory_forgets_and_goes_on(monkeypatch, bpe):
    text = " ".join(f"word{i}" for i in range(100))
    expected, counted = bpe.encode(text).ids_N.tolist(), chunks.count_pieces([text], segment_words)
    monkeypatch.setattr(chunks, "MOST_REMEMBERED", 10)
    for _ in range(3):
        assert bpe.encode(text).ids_N.tolist() == expected
        assert len(bpe._memory._known) <= 100
    assert chunks.count_pieces([text] * 2, segment_words) == counted + counted


def test_text_without_spaces_is_not_remembered(bpe):
    before = len(bpe._memory._known)
    for i in range(5):
        bpe.encode(f"{i}" + "字" * chunks.LONGEST_REMEMBERED)
    assert len(bpe._memory._known) <= before


def test_another_vocabulary_is_not_answered_from_the_old_one(bpe):
    tokenizer = words()
    before = tokenizer.encode("the cat").ids_N.tolist()
    tokenizer.train(["cat the", "cat cat"])
    assert tokenizer.encode("the cat").ids_N.tolist() != before
    other = BPETokenizer(300)
    other.load_state_dict(bpe.state_dict())
    other.encode("the cat")
    other.train(["zzz " * 9])
    assert other.encode("the cat").ids_N.tolist() != bpe.encode("the cat").ids_N.tolist()
