import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer
from tokenizers import Tokenizer as Library

from lm_research.text.bpe import BPETokenizer

TEXTS = ["low lower lowest, newer widest. ", "The newest low tide — naïve 日本日本日本語\n"] * 5


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = BPETokenizer(290)
    tokenizer.train(TEXTS)
    return tokenizer


@pytest.fixture(scope="module")
def library():
    library = ByteLevelBPETokenizer(add_prefix_space=False)
    library.train_from_iterator(TEXTS, vocab_size=289, min_frequency=2, show_progress=False)
    return library


@given(st.text())
def test_any_text_is_restored(tokenizer, text):
    ids_N, nats = tokenizer.encode(text)
    assert tokenizer.decode(ids_N) == text
    assert nats == 0.0


@given(st.one_of(st.text(), st.text(alphabet="lowerstnidT .日本")))
def test_ids_are_those_of_the_library_plus_one(tokenizer, library, text):
    assert (tokenizer.encode(text).ids_N - 1).tolist() == library.encode(text).ids


def test_the_library_reads_the_state(tokenizer):
    restored = Library.from_str(tokenizer.state_dict()["tokenizer"])
    expected = (tokenizer.encode(TEXTS[0]).ids_N - 1).tolist()
    assert restored.encode(TEXTS[0]).ids == expected


def test_vocabulary_size_counts_the_separator(tokenizer):
    assert tokenizer.vocabulary_size == 290
    small = BPETokenizer(257)
    small.train(["aaaa"])
    assert small.vocabulary_size == 257
    few = BPETokenizer(5000)
    few.train(["ab ab"])
    assert 257 < few.vocabulary_size < 262


def test_merges_shorten_the_text(tokenizer):
    text = "lowest newest"
    assert len(tokenizer.encode(text).ids_N) < len(text) / 2


def test_too_small_a_vocabulary_is_named():
    with pytest.raises(ValueError, match=r"vocabulary_size is 256; .* ask for 257 or more"):
        BPETokenizer(256)


def test_names(tokenizer):
    names = [tokenizer.token(i) for i in range(290)]
    assert "␣low" in names
    assert "日本" in names
    assert "<0xE6>" in names
    ids = tokenizer.encode("日本").ids_N
    assert "".join(tokenizer.token(i) for i in ids) == "日本"


def test_a_separator_inside_a_character(tokenizer):
    euro_N = tokenizer.encode("€").ids_N
    assert tokenizer.decode(np.insert(euro_N, 1, 0)).count("\n") == 1
