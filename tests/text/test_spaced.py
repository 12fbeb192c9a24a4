"""Words parted by spaces: the published tokens, the corpus' own unknown word, what is undefined."""

import json
import math

import numpy as np
import pytest

from lm_research.text.spaced import SpacedTokenizer

LINES = ["the cat <unk> on the mat", "the N dogs 's bark", "<unk> cat 's"]


@pytest.fixture
def tokenizer():
    tokenizer = SpacedTokenizer(100)
    tokenizer.train(LINES)
    return tokenizer


def test_as_many_ids_as_words_and_the_separator(tokenizer):
    words = {word for line in LINES for word in line.split()}
    assert tokenizer.vocabulary_size == len(words) + 1  # <unk> is one of them
    assert tokenizer.token(1) == "<unk>"
    ids_N, nats = tokenizer.encode(LINES[0])
    assert len(ids_N) == 6
    assert ids_N[2] == 1
    assert nats == 0.0  # the text says so itself
    assert {int(i) for line in LINES for i in tokenizer.encode(line).ids_N} == set(range(1, 10))


def test_the_text_comes_back(tokenizer):
    for line in LINES:
        assert tokenizer.decode(tokenizer.encode(line).ids_N) == line
    assert tokenizer.decode([2, 0, 1]) == f"{tokenizer.token(2)}\n<unk>"
    assert tokenizer.decode([]) == ""


def test_other_unknown_words_are_spelled(tokenizer):
    both, alone = tokenizer.encode("<unk> zebra"), tokenizer.encode("zebra")
    assert both.ids_N.tolist() == [1, 1]
    assert both.spelling_nats == alone.spelling_nats > 0
    without = SpacedTokenizer(100, unknown=None)
    without.train(LINES)
    assert without.vocabulary_size == tokenizer.vocabulary_size + 1
    assert 1 not in without.encode(LINES[0]).ids_N


@pytest.mark.parametrize("text", ["two  spaces", " before", "after ", "a\ttab", "a\nline"])
def test_bits_per_byte_are_undefined_where_white_space_is_lost(tokenizer, text):
    ids_N, nats = tokenizer.encode(text)
    assert math.isnan(nats)
    assert len(ids_N) == len(text.split())
    assert tokenizer.encode("").spelling_nats == 0.0


def test_the_state_is_json(tokenizer):
    other = SpacedTokenizer(100)
    state = json.loads(json.dumps(tokenizer.state_dict()))
    other.load_state_dict(state)
    assert np.array_equal(other.encode(LINES[1]).ids_N, tokenizer.encode(LINES[1]).ids_N)
    with pytest.raises(ValueError, match="unknown word"):
        other.load_state_dict({**state, "pieces": ["<unk>"]})
    with pytest.raises(ValueError, match="empty"):
        SpacedTokenizer(100).train([""])
