import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text.byte import ByteTokenizer

TOKENIZER = ByteTokenizer()


@given(st.text())
def test_ids_are_the_bytes_plus_one(text):
    ids_N, nats = TOKENIZER.encode(text)
    assert ids_N.dtype == np.int64
    assert ids_N.tolist() == [byte + 1 for byte in text.encode("utf-8")]
    assert nats == 0.0
    assert TOKENIZER.decode(ids_N) == text


def test_the_vocabulary_is_256_bytes_and_a_separator():
    assert TOKENIZER.vocabulary_size == 257
    assert TOKENIZER.lossless
    assert TOKENIZER.unknown_id is None
    assert len({TOKENIZER.token(i) for i in range(257)}) == 257


def test_a_lone_surrogate_is_coded_as_the_replacement_character():
    assert TOKENIZER.decode(TOKENIZER.encode("a\ud83db").ids_N) == "a\ufffdb"


def test_decoding_separators_and_broken_utf8():
    euro = TOKENIZER.encode("€").ids_N.tolist()
    assert TOKENIZER.decode([0, *euro, 0]) == "\n€\n"
    assert TOKENIZER.decode([*euro[:2], 0, euro[2]]) == "\ufffd\n\ufffd"
    assert TOKENIZER.decode([]) == ""


def test_names():
    names = [TOKENIZER.token(i) for i in (0, ord("a") + 1, ord(" ") + 1, ord("\n") + 1, 0xE2 + 1)]
    assert names == ["<separator>", "a", "␣", "\\n", "<0xE2>"]


@pytest.mark.parametrize("id", [-1, 257])
def test_an_id_outside_is_named(id):
    with pytest.raises(ValueError, match=rf"id {id} is not in the vocabulary \[0, 257\)"):
        TOKENIZER.decode([5, id])
    with pytest.raises(ValueError, match=rf"id {id} "):
        TOKENIZER.token(id)


def test_nothing_to_learn_or_restore():
    tokenizer = ByteTokenizer()
    tokenizer.train([])
    tokenizer.load_state_dict(tokenizer.state_dict())
    assert tokenizer.encode("a").ids_N.tolist() == [98]
