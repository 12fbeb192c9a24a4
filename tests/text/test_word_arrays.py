"""Words by arrays are the words of the expression that defines them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lm_research.text.word import WordTokenizer
from lm_research.text.word_arrays import Lookup, cut
from lm_research.text.word_pieces import segment_words

ALPHABET = "ab'’_-.=*#/!?~ \t\n\r\x0b\x1c\x1f\x85\xa0\u20280123é漢字ไทあ"
ALPHABET += "²½Ⅷ\u0301\u200d\u0939\u093f\U0001f600\0٣"
TEXT = st.text(ALPHABET, max_size=40) | st.text(max_size=30)
LONG = st.builds(
    str.__mul__, st.sampled_from(["a", "1", "-", " ", "a'", "\n ", "_", "b "]), st.integers(60, 70)
)
TEXTS = st.lists(TEXT | st.builds("{}{}{}".format, TEXT, LONG, TEXT), max_size=6)

cut(["é"], ascii=False)  # makes the table of all characters outside hypothesis's deadline


def tokenizer(texts: list[str], **options: bool) -> WordTokenizer:
    made = WordTokenizer(40, **options)
    made.train(["the word don't -- 12 漢 \n\n  x", *texts[::2]])
    return made


@settings(max_examples=500)
@given(TEXTS)
@example(["a \n  b", "", " ", "  ", " x", "\n", "   \n"])
@example(["don't ’tis rock'n'roll' 'a'b' 9'a a'9 '' a''b"])
@example(["___ __a _ -- -.- ..--==", "  \n  \n    if x:\n\treturn"])
def test_a_batch_is_each_text_alone(texts):
    one = tokenizer(texts)
    batch = one.encode_batch(texts, np.dtype("uint16"))
    alone = [one.encode(text) for text in texts]
    ids = [id for found in alone for id in [*found.ids_N.tolist(), one.separator_id]]
    assert batch.ids_N.tolist() == ids
    assert batch.ids_N.dtype == np.uint16
    assert batch.lengths_D.tolist() == [len(found.ids_N) for found in alone]
    assert batch.nats_D.tolist() == [found.spelling_nats for found in alone]


@given(TEXTS)
def test_pieces_are_those_of_the_expression(texts):
    for ascii in (True, False):
        given = [text for text in texts if text.isascii() == ascii]
        if not given:
            continue
        found = cut(given, ascii)
        ends = np.append(found.starts, len(found.text))
        pieces = [found.text[a:b] for a, b in pairwise(ends)]
        first = 0
        for text, border, whole in zip(given, found.borders, found.whole_D, strict=True):
            assert not whole or pieces[first:border] == segment_words(text)
            first = border + 1


def test_only_texts_with_marks_are_left_to_the_expression():
    texts = ["plain words", "don't", "x" * 64, " " * 200 + "\n", "x" * 65, "-" * 65]
    assert cut(texts, ascii=True).whole_D.all()
    texts = ["漢字と仮名", "naïve café", "cafe\u0301", "हिन्दी"]
    assert cut(texts, ascii=False).whole_D.tolist() == [True] * 2 + [False] * 2


def test_capitals_that_are_lost_leave_bits_per_byte_undefined():
    one = tokenizer([], lowercase=True)
    texts = ["The Word", "the word", "İ", "STRASSE straße"]
    batch = one.encode_batch(texts, np.dtype("uint32"))
    assert np.isnan(batch.nats_D).tolist() == [True, False, True, True]
    start = 0
    for text, length in zip(texts, batch.lengths_D, strict=True):
        assert batch.ids_N[start : start + length].tolist() == one.encode(text).ids_N.tolist()
        start += length + 1


@pytest.mark.parametrize("count", [0, 1, 3, 5000])
def test_a_lookup_finds_its_pieces_and_nothing_else(count):
    pieces = [f"piece {n}" for n in range(count)]
    lookup = Lookup(pieces, first=2, unknown=1)
    assert len(lookup._ids) >= 2 * count

    def hashes(words: list[str]) -> np.ndarray:
        text = "".join(words)
        lengths = np.array([len(word) for word in words], np.int64)
        made = cut([text], ascii=True)
        return made._replace(values=made.values[:-1], starts=np.cumsum(lengths) - lengths).hashes()

    if count:
        assert lookup(hashes(pieces)).tolist() == list(range(2, count + 2))
    assert set(lookup(hashes([f"other {n}" for n in range(3000)])).tolist()) == {1}


def test_pieces_that_want_one_slot_are_told_apart():
    lookup = Lookup(["a"], first=2, unknown=1)
    top = np.uint64(1) << np.uint64(60)
    lookup._hashes, lookup._ids, lookup._bits = np.zeros(8, np.uint64), np.ones(8, np.int64), 3
    wanted = np.array([7 * top * 2 + n for n in range(1, 5)], np.uint64)
    lookup._put(wanted, np.arange(10, 14))
    assert lookup(wanted).tolist() == [10, 11, 12, 13]
    assert lookup(np.array([7 * top * 2 + 9, 1], np.uint64)).tolist() == [1, 1]
