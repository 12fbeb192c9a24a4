"""Where words are in a text, with any tokenizer, and how a text without marks is cut."""

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lm_research.config.build import build
from lm_research.config.paths import shipped
from lm_research.text.cleaning import LowerCase, MaskUrls, NormalizeUnicode
from lm_research.text.tagged_words import (
    LONGEST,
    aligned,
    cleaning_of,
    encoded,
    sentences,
    words_of,
)

ENGLISH = "I don't know, Mr. Smith: 1,234 cafés  (n't)\nI can not."
ENGLISH_WORDS = "I do n't know , Mr. Smith : 1,234 cafés ( n't ) I can not ."
CHINESE = "看似简单,只是二选一做决择，但其实他们代表的是你周遭亲朋好友。"
CHINESE_WORDS = "看似 简单 , 只 是 二 选 一 做 决择 ， 但 其实 他们 代表 的 是 你 周遭 亲朋 好友 。"


def tokenizers():
    """What the options of conf/text make tokenizers of, each once."""
    files = sorted((shipped("conf") / "text").glob("*.yaml"))
    nodes = [yaml.safe_load(file.read_text(encoding="utf-8")).get("tokenizer") for file in files]
    return {node["_target_"]: node for node in nodes if node}


def trained(node, texts):
    tokenizer = build(node)
    tokenizer.train(texts)
    return tokenizer


@pytest.mark.parametrize(
    ("text", "words"), [(ENGLISH, ENGLISH_WORDS), (CHINESE, CHINESE_WORDS)], ids=["en", "zh"]
)
def test_every_word_has_exactly_one_place_with_every_tokenizer(text, words):
    pieces = aligned(text, words.split())
    assert "".join(pieces) == text
    lines = sentences(pieces)
    assert ["".join(line) for line in lines] == text.split("\n")
    for node in tokenizers().values():
        tokenizer = trained(node, (piece for _ in range(2) for line in lines for piece in line))
        for line in lines:
            ids_N, ends_W, _ = encoded(tokenizer, line)
            assert len(ends_W) == len(line)
            assert ends_W[-1] == len(ids_N)
            starts_W = [0, *ends_W[:-1]]
            for piece, a, b in zip(line, starts_W, ends_W, strict=True):
                assert b > a
                np.testing.assert_array_equal(ids_N[a:b], tokenizer.encode(piece).ids_N)
            if tokenizer.lossless:
                assert tokenizer.decode(ids_N) == "".join(line)


def test_running_text_has_the_tokens_of_words_encoded_one_by_one():
    """No white space is changed: where no token is of two words, the ids are those of the text."""
    text = "the cat sat on the mat"
    for name, node in tokenizers().items():
        if name.endswith("ChineseWordTokenizer"):
            continue  # white space is a word to it
        tokenizer = trained(node, [text, text])
        assert encoded(tokenizer, aligned(text, text.split())).ids_N.tolist() == (
            tokenizer.encode(text).ids_N.tolist()
        )


def test_words_that_are_not_those_of_the_text_have_no_place():
    assert aligned("a b", ["a", "c"]) is None
    assert aligned("a b", ["a"]) is None
    assert aligned("a b", ["b"]) is None
    assert aligned("du", ["de", "le"]) is None
    assert aligned("a bc", ["a", "bcd", "e"]) == ["a"]  # the text was cut
    assert aligned("  a\u00a0b ", ["a", "b"]) == ["  a", "\u00a0b"]


def test_words_are_found_in_a_text_that_rules_have_changed():
    rules = [NormalizeUnicode("NFC"), MaskUrls("<url>"), LowerCase()]
    words = ["Cafe\u0301", "at", "http://a.test/x", "!"]
    text = "café at <url>!"
    assert aligned(text, words) is None
    assert aligned(text, words, cleaning_of(rules)) == ["café", " at", " <url>", "!"]


def test_a_long_sentence_is_read_in_parts():
    pieces = aligned("a " * 600, ["a"] * 600)
    assert [len(part) for part in sentences(pieces)] == [LONGEST, LONGEST, 600 - 2 * LONGEST]
    assert all(part[0] == "a" for part in sentences(pieces))


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", "I don't, can't and cannot: it's 1,234.5!", "I do n't , ca n't and can not : it 's"),
        ("en", "The U.S. (e.g. J. Smith)...", "The U.S. ( e.g. J . Smith ) ..."),
        ("fr", "l’eau d'ici", "l’eau d'ici"),
        ("zh", "我们去公园。 OK", "我们 去 公园 。 OK"),
    ],
)
def test_running_text_is_cut_into_words(language, text, words):
    found = words_of(text, language)
    assert found[: len(words.split())] == words.split()
    assert aligned(text, found) is not None


def test_a_text_that_was_cut_before_keeps_its_words():
    assert words_of("do n't U.K. .", "en", "spaces") == ["do", "n't", "U.K.", "."]


@given(st.text(), st.sampled_from(["en", "de"]), st.sampled_from(["auto", "spaces"]))
def test_the_words_of_any_text_are_all_of_it_but_white_space(text, language, cut):
    pieces = aligned(text, words_of(text, language, cut))
    assert pieces is not None
    assert "".join(pieces).split() == text.split()
