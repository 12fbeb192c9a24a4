import json
from collections import Counter

import numpy as np
import pytest

from lm_research.text.byte import ByteTokenizer
from lm_research.text.tags import NO_TAG, UPOS, Tagger, TagLexicon
from lm_research.text.word import WordTokenizer
from lm_research.text.word_pieces import segment_words


class AlternatingTagger(Tagger):
    """The first piece of a text is a NOUN, the second a VERB, and so on; white space has none."""

    def tag(self, text):
        tags = ["NOUN", "VERB"]
        pieces = segment_words(text)
        return [(p, tags[i % 2] if p.strip() else NO_TAG) for i, p in enumerate(pieces)]


TEXTS = ["a b a\n", " b a", "\n c"]


@pytest.fixture
def tokenizer():
    tokenizer = WordTokenizer(6)
    tokenizer.train(TEXTS)
    return tokenizer


def test_the_most_frequent_tag_by_hand(tokenizer):
    lexicon = TagLexicon(AlternatingTagger(), tokenizer)
    assert lexicon.tag_of_token.tolist() == [0] * 6
    lexicon.fit(text for text in TEXTS)
    tag_of = {tokenizer.token(i): lexicon.tags[t] for i, t in enumerate(lexicon.tag_of_token)}
    # " a" is NOUN and VERB once, " b" too: ties go to the first; the unknown piece is "a".
    assert tag_of == {
        "<separator>": NO_TAG,
        "<unknown>": "NOUN",
        "\\n": NO_TAG,
        "␣a": "NOUN",
        "␣b": "NOUN",
        "␣c": "VERB",
    }


def test_a_recount_with_counters(tokenizer):
    tagger = AlternatingTagger()
    texts = ["a b c d a b c", "b a b a", "c c c\nc", "a a"]
    lexicon = TagLexicon(tagger, tokenizer)
    lexicon.fit(texts)
    counts = {i: Counter() for i in range(tokenizer.vocabulary_size)}
    for text in texts:
        for (_, tag), id in zip(tagger.tag(text), tokenizer.encode(text).ids_N, strict=True):
            counts[id][lexicon.tags.index(tag)] += 1
    expected = [
        min(counter, key=lambda tag: (-counter[tag], tag), default=0) for counter in counts.values()
    ]
    assert lexicon.tag_of_token.tolist() == expected


def test_the_tag_of_a_token_does_not_depend_on_what_follows(tokenizer):
    lexicon = TagLexicon(AlternatingTagger(), tokenizer)
    lexicon.fit(TEXTS)
    long_N = lexicon.tag_of_token[tokenizer.encode("a b a\n b").ids_N]
    short_N = lexicon.tag_of_token[tokenizer.encode("a b").ids_N]
    np.testing.assert_array_equal(long_N[:2], short_N)


def test_tokens_smaller_than_pieces_count_for_each_piece():
    lexicon = TagLexicon(AlternatingTagger(), ByteTokenizer())
    lexicon.fit(["xy z", "xy"])
    noun, verb = lexicon.tags.index("NOUN"), lexicon.tags.index("VERB")
    tags = lexicon.tag_of_token[ByteTokenizer().encode("xyz ").ids_N].tolist()
    assert tags == [noun, noun, verb, verb]


def test_the_tags_are_fixed_and_state_survives_json(tokenizer):
    lexicon = TagLexicon(AlternatingTagger(), tokenizer)
    assert lexicon.tags == (NO_TAG, *UPOS)
    assert len(set(lexicon.tags)) == 18
    lexicon.fit(TEXTS)
    other = TagLexicon(AlternatingTagger(), tokenizer)
    other.load_state_dict(json.loads(json.dumps(lexicon.state_dict())))
    np.testing.assert_array_equal(other.tag_of_token, lexicon.tag_of_token)
    assert other.tag_of_token.dtype == np.int64


def test_a_state_of_another_vocabulary_is_refused(tokenizer):
    lexicon = TagLexicon(AlternatingTagger(), tokenizer)
    state = lexicon.state_dict()
    with pytest.raises(ValueError, match="the lexicon has 5 tokens and the tokenizer 6"):
        lexicon.load_state_dict({**state, "tag_of_token": [0] * 5})
    with pytest.raises(ValueError, match="the lexicon has the tags"):
        lexicon.load_state_dict({**state, "tags": ["none", "N"]})
