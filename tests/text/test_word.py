import math
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_research.text.word import WordTokenizer
from lm_research.text.word_pieces import segment_words

MIXED = st.text(
    alphabet=" \n\t\r\u00a0\u2003ab'’Zé\u0301_0१9.,-=#!?/~*😀日本カ\u200dनम\u093e\x00\x1c"
)


def trained(texts, size=1000, **kwargs):
    tokenizer = WordTokenizer(size, **kwargs)
    tokenizer.train(texts)
    return tokenizer


@settings(max_examples=500)
@given(st.one_of(st.text(), MIXED))
def test_the_pieces_are_the_text(text):
    pieces = segment_words(text)
    assert "".join(pieces) == text
    assert all(pieces)


@given(MIXED)
def test_a_piece_cut_alone_stays_whole(text):
    assert all(segment_words(piece) == [piece] for piece in segment_words(text))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello, world.", ["Hello", ",", " world", "."]),
        ("don't 'tis l’eau", ["don't", " '", "tis", " l’eau"]),
        ("a  b   ", ["a", " ", " b", "   "]),
        ("x\n\n    return", ["x", "\n\n", "   ", " return"]),
        ("x \t\r\ny", ["x", " \t\r\n", "y"]),
        ("x_1==3.14...", ["x", "_", "1", "==", "3", ".", "14", "..."]),
        ("h264", ["h", "264"]),
        ("e\u0301te\u0301 नमस्ते", ["e\u0301te\u0301", " नमस्ते"]),
        ("我们 去 Beijing吧", ["我", "们", " 去", " Beijing", "吧"]),
        ("👍🏽", ["👍", "🏽"]),
        ("a" * 130, ["a" * 64, "a" * 64, "aa"]),
        ("", []),
    ],
)
def test_segmentation(text, pieces):
    assert segment_words(text) == pieces


def test_vocabulary_by_hand():
    tokenizer = trained(["a b b\nb a c", " c a"], 6)
    # " a" 2, " b" 2, " c" 2, "\n" 1, "a" 1, "b" 1
    assert [tokenizer.token(i) for i in range(2, 6)] == ["␣a", "␣b", "␣c", "\\n"]
    ids_N, nats = tokenizer.encode(" b z\n")
    assert ids_N.tolist() == [3, 1, 5]
    assert nats == tokenizer.spelling.nats(" z") > 0
    assert tokenizer.decode(ids_N) == " b\ufffd\n"


@given(st.lists(MIXED, min_size=1, max_size=4).filter(any))
def test_the_vocabulary_is_the_most_frequent_pieces(texts):
    counts = Counter(piece for text in texts for piece in segment_words(text))
    expected = sorted(counts, key=lambda piece: (-counts[piece], piece))[:3]
    tokenizer = trained(texts, 5)
    assert [tokenizer.decode([i]) for i in range(2, tokenizer.vocabulary_size)] == expected


def test_the_cost_of_unknown_pieces_is_a_sum():
    tokenizer = trained(["the cat the cat the dog"], 4)
    spell = tokenizer.spelling.nats
    assert tokenizer.encode(" the zebra zebra").spelling_nats == pytest.approx(2 * spell(" zebra"))


def test_lower_case_leaves_the_cost_of_capitals_undefined():
    tokenizer = trained(["The cat", "the cat"], lowercase=True)
    assert tokenizer.encode("the cat").spelling_nats == 0.0
    ids_N, nats = tokenizer.encode("The cat")
    assert math.isnan(nats)
    assert tokenizer.decode(ids_N) == "the cat"


@pytest.mark.parametrize("text", [" " * 500_000 + "a", ("a" + " " * 999) * 500, " \n" * 250_000])
def test_white_space_takes_linear_time(text):
    start = time.process_time()
    assert "".join(segment_words(text)) == text
    assert time.process_time() - start < 5
