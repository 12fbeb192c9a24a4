import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text.character import CharacterTokenizer


def trained(text, size=1000, **kwargs):
    tokenizer = CharacterTokenizer(size, **kwargs)
    tokenizer.train([text])
    return tokenizer


def test_most_frequent_first_and_ties_by_code_point():
    tokenizer = trained("bbbaacccd", 5)
    assert tokenizer.vocabulary_size == 5
    assert [tokenizer.token(i) for i in range(5)] == ["<separator>", "<unknown>", "b", "c", "a"]
    assert tokenizer.encode("abcd").ids_N.tolist() == [4, 2, 3, 1]
    assert tokenizer.decode([2, 1, 0]) == "b\ufffd\n"


@given(st.text(min_size=1))
def test_a_text_of_known_characters_is_restored(text):
    tokenizer = trained(text)
    ids_N, nats = tokenizer.encode(text)
    assert len(ids_N) == len(text)
    assert tokenizer.decode(ids_N) == text
    assert nats == 0.0


@given(st.text(alphabet="abé日😀\U0010ffff"))
def test_array_lookup_equals_a_dictionary(text):
    tokenizer = trained("abab日")
    id_of = {tokenizer.decode([i]): i for i in range(2, tokenizer.vocabulary_size)}
    ids_N, nats = tokenizer.encode(text)
    assert ids_N.tolist() == [id_of.get(c, 1) for c in text]
    expected = sum(tokenizer.spelling.nats(c) for c in text if c not in id_of)
    assert nats == pytest.approx(expected, rel=1e-12)


def test_minimum_count_makes_rare_characters_unknown():
    tokenizer = trained("aab", minimum_count=2)
    assert tokenizer.vocabulary_size == 3
    assert tokenizer.encode("ab").ids_N.tolist() == [2, 1]
    with pytest.raises(ValueError, match="no piece of the training text occurs 3 times"):
        trained("aab", minimum_count=3)
    with pytest.raises(ValueError, match="minimum_count is 0"):
        CharacterTokenizer(10, minimum_count=0)
