"""What holds for each tokenizer: edge cases of Unicode, state, errors, determinism."""

import hashlib
import json
import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from lm_research.text.alphabet import AlphabetTokenizer
from lm_research.text.bpe import BPETokenizer
from lm_research.text.byte import ByteTokenizer
from lm_research.text.character import CharacterTokenizer
from lm_research.text.chinese_word import ChineseWordTokenizer
from lm_research.text.word import WordTokenizer

TRAINING = [
    "The cat sat on the mat. The dog didn't.\r\nThe end.",
    "今天天气很好，我们去公园。 Café naïve, 12,500 €!",
    "def f(x):\n    return x_1 == 3.14  # ok\n",
] * 2
EDGE_CASES = {
    "empty": "",
    "space": " ",
    "line_breaks": "\r\n\r\n\n\r",
    "trailing_spaces": "a  \t \n  ",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈👍🏽🇩🇪",
    "zero_width": "a\u200bb\u200dc\ufeffd\u2060e",
    "right_to_left": "\u202eשלום עולם\u202c مرحبا بالعالم\u200f",
    "combining": "e\u0301 n\u0303o नमस्ते ใน",
    "nul": "a\x00b",
    "control": "\x1b[0m\x85\u2028\u2029\x1c\x1f",
    "astral": "𝔘𠜎\U0010ffff",
    "noncharacter": "\ufffe\uffff",
    "separator_name": "<separator><unknown>",
    "replacement": "\ufffd",
    "apostrophes": "'tis don't rock'n'roll l’eau 'a' a' ''",
    "letters": "a" * 1_000_000,
    "ideographs": "汉" * 100_000,
    "spaces": " " * 300_000,
    "marks": "e" + "\u0301" * 300_000,
    "apostrophes_long": "a'" * 100_000,
    "hashes": "#" * 300_000,
}


PREFIXED = {
    "word": lambda: WordTokenizer(40, add_prefix_space=True),
    "word_lowercase": lambda: WordTokenizer(40, lowercase=True, add_prefix_space=True),
    "bpe": lambda: BPETokenizer(280, add_prefix_space=True),
}


@pytest.mark.parametrize("name", PREFIXED)
def test_a_first_word_with_a_prefix_is_the_one_in_the_middle(name):
    tokenizer = PREFIXED[name]()
    tokenizer.train([*TRAINING, "the mat"])
    plain = new(name)
    plain.train([" " + text for text in [*TRAINING, "the mat"]])
    assert tokenizer.state_dict() == plain.state_dict()
    for text in ("the mat", "cat", "The end. The mat", "\n"):
        ids_N, nats = plain.encode(" " + text)
        found = tokenizer.encode(text)
        assert found.ids_N.tolist() == ids_N.tolist()
        assert found.spelling_nats == nats or math.isnan(nats)
        assert tokenizer.encode(" " + text).ids_N.tolist() == ids_N.tolist()
    assert tokenizer.encode("").ids_N.tolist() == []
    texts = ["the mat", "", " a b", "Ünder", "the"]
    batch = tokenizer.encode_batch(texts, np.dtype(np.int64))
    alone = [tokenizer.encode(text) for text in texts]
    assert batch.ids_N.tolist() == [i for one in alone for i in [*one.ids_N.tolist(), 0]]
    np.testing.assert_array_equal(batch.nats_D, [one.spelling_nats for one in alone])


def new(name):
    return {
        "byte": ByteTokenizer,
        "character": lambda: CharacterTokenizer(60),
        "alphabet": lambda: AlphabetTokenizer("abcdefgh ,'"),
        "word": lambda: WordTokenizer(40),
        "word_lowercase": lambda: WordTokenizer(40, lowercase=True),
        "chinese_word": lambda: ChineseWordTokenizer(40),
        "bpe": lambda: BPETokenizer(280),
    }[name]()


def new_like(tokenizer, **options):
    """Another one of its kind, of another size, not trained."""
    if isinstance(tokenizer, ByteTokenizer):
        return ByteTokenizer()
    given = "abz" if isinstance(tokenizer, AlphabetTokenizer) else 300
    return type(tokenizer)(given, **options)


NAMES = ["byte", "character", "alphabet", "word", "word_lowercase", "chinese_word", "bpe"]
TRAINED = [name for name in NAMES if name != "byte"]


@pytest.fixture(scope="module", params=NAMES)
def tokenizer(request):
    tokenizer = new(request.param)
    tokenizer.train(iter(TRAINING))
    return tokenizer


@pytest.mark.parametrize("text", EDGE_CASES.values(), ids=EDGE_CASES)
def test_edge_cases(tokenizer, text):
    ids_N, nats = tokenizer.encode(text)
    assert ids_N.dtype == np.int64
    assert ids_N.ndim == 1
    assert not (ids_N == tokenizer.separator_id).any()
    assert ids_N.max(initial=0) < tokenizer.vocabulary_size
    decoded = tokenizer.decode(ids_N)
    if tokenizer.lossless:
        assert decoded == text
        assert nats == 0.0
    else:
        unknown = int((ids_N == tokenizer.unknown_id).sum())
        assert math.isnan(nats) or (nats > 0) == (unknown > 0)
        assert unknown or decoded == text or math.isnan(nats)


@pytest.mark.parametrize("text", ["\ud83d", "a\udfffb", "\udcff" * 3])
def test_lone_surrogates_count_as_replacement_characters(tokenizer, text):
    repaired = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    ids_N, nats = tokenizer.encode(text)
    expected = tokenizer.encode(repaired)
    assert ids_N.tolist() == expected.ids_N.tolist()
    assert nats == expected.spelling_nats


def test_lone_surrogates_in_the_training_text(tokenizer):
    fresh = new_like(tokenizer)
    fresh.train(["a\ud83db", "ab ab"])
    assert fresh.vocabulary_size > 3


def test_separators_decode_to_line_breaks(tokenizer):
    ids = tokenizer.encode("The").ids_N.tolist()
    assert tokenizer.decode([0, *ids, 0, *ids, 0]) == "\nThe\nThe\n".replace(
        "The", tokenizer.decode(ids)
    )


def test_names_are_printable_and_on_one_line(tokenizer):
    names = [tokenizer.token(i) for i in range(tokenizer.vocabulary_size)]
    assert names[0] == "<separator>"
    assert all(name and name.isprintable() and " " not in name for name in names)
    assert len(set(names)) == len(names)


def test_state_survives_json_and_pickle(tokenizer):
    restored = pickle.loads(pickle.dumps(tokenizer))
    texts = [*TRAINING, "Unseen words 未见 xyzzy"]
    kwargs = {"lowercase": True} if getattr(tokenizer, "lowercase", False) else {}
    other = new_like(tokenizer, **kwargs)
    other.load_state_dict(json.loads(json.dumps(tokenizer.state_dict())))
    for text in texts:
        expected = tokenizer.encode(text)
        for copy in (restored, other):
            ids_N, nats = copy.encode(text)
            assert ids_N.tolist() == expected.ids_N.tolist()
            assert nats == expected.spelling_nats or math.isnan(nats)


def test_ids_may_come_as_any_iterable_of_integers(tokenizer):
    ids_N = tokenizer.encode("The cat").ids_N
    for ids in (ids_N, ids_N.astype(np.uint16), tuple(ids_N), iter(ids_N.tolist())):
        assert tokenizer.decode(ids) == tokenizer.decode(ids_N.tolist())
    with pytest.raises(ValueError, match="not in the vocabulary"):
        tokenizer.decode([tokenizer.vocabulary_size])


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_an_empty_training_text_is_an_error(name, texts):
    with pytest.raises(ValueError, match="the training text is empty"):
        new(name).train(texts)


@pytest.mark.parametrize("name", TRAINED)
def test_nothing_works_before_training(name):
    for use in (
        lambda t: t.vocabulary_size,
        lambda t: t.encode("a"),
        lambda t: t.decode([1]),
        lambda t: t.token(1),
    ):
        with pytest.raises(RuntimeError, match=r"call train\(texts\)"):
            use(new(name))


@pytest.mark.parametrize("kind", [CharacterTokenizer, WordTokenizer, ChineseWordTokenizer])
@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_vocabulary_of_special_tokens_alone_is_an_error(kind, size):
    with pytest.raises(ValueError, match=f"vocabulary_size is {size}, .*at least 3"):
        kind(size)


@pytest.mark.parametrize("name", TRAINED)
def test_texts_are_iterated_once(name):
    tokenizer, expected = new(name), new(name)
    tokenizer.train(text for text in TRAINING)
    expected.train(TRAINING)
    assert tokenizer.state_dict() == expected.state_dict()


SCRIPT = """
import hashlib, json, sys
sys.path.insert(0, {folder!r})
from test_every_tokenizer import TRAINED, TRAINING, new
digest = hashlib.sha256()
for name in TRAINED:
    tokenizer = new(name)
    tokenizer.train(TRAINING)
    digest.update(json.dumps(tokenizer.state_dict()).encode())
print(digest.hexdigest())
"""


def test_training_is_the_same_in_another_process():
    digest = hashlib.sha256()
    for name in TRAINED:
        tokenizer = new(name)
        tokenizer.train(TRAINING)
        digest.update(json.dumps(tokenizer.state_dict()).encode())
    script = SCRIPT.format(folder=__file__.rpartition("/")[0])
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=False,
        )
        assert run.stderr == ""  # jieba and tokenizers neither log nor warn
        assert run.stdout.strip() == digest.hexdigest()
