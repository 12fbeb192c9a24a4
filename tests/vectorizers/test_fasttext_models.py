"""fastText's own models: the golden one and its vectors were made by fasttext-wheel 0.9.2.

``train_unsupervised`` with skipgram, dim 4, minCount 2, bucket 60, minn 2, maxn 4, three epochs and
one thread, on twenty copies of four lines; ``get_word_vector`` of ten words, six of them known.
"""

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from lm_research.vectorizers.fasttext_models import FastTextModel, fnv1a
from lm_research.vectorizers.glove import GloVe
from lm_research.vectorizers.word_vectors import read_word_vectors, write_word_vectors

MODEL = Path(__file__).parent / "fasttext_model.bin"
EXPECTED = json.loads(MODEL.with_suffix(".json").read_text(encoding="utf-8"))
DIM, DICTIONARY = 4, 64
"""Bytes before the dictionary's sizes."""


def test_known_and_unknown_words_have_the_vectors_that_fasttext_gives_them():
    found = read_word_vectors(str(MODEL), EXPECTED.keys(), DIM)
    assert found.vectors.keys() == EXPECTED.keys()
    assert found.broken == 0
    for word, vector in EXPECTED.items():
        np.testing.assert_allclose(found.vectors[word], vector, rtol=1e-6, atol=1e-9)


def test_bytes_beyond_ascii_are_sign_extended_in_the_hash():
    """FNV-1a of "a" is a published test value; for others fastText differs from it."""
    assert fnv1a("a") == 0xE40C292C
    value = 2166136261
    for byte in "é".encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    assert fnv1a("é") != value


def test_a_model_that_is_written_comes_back_and_knows_no_other_word(tmp_path):
    path, words = str(tmp_path / "made.bin"), ["the", "naïve", "猫"]
    vectors_VD = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    write_word_vectors(path, words, vectors_VD, "fasttext")
    found = read_word_vectors(path, [*words, "other"], 5)
    assert list(found.vectors) == words
    assert np.array_equal(np.stack(list(found.vectors.values())), vectors_VD)
    with pytest.raises(FileExistsError):
        write_word_vectors(path, words, vectors_VD, "fasttext")
    with pytest.raises(ValueError, match=r"not compressed; end it in \.bin"):
        write_word_vectors(f"{path}.gz", words, vectors_VD, "fasttext")


def test_a_model_is_a_vectorizers_weights():
    tokens = ["<separator>", " the", " The", "\n", " unseen"]
    vectorizer = GloVe(vocabulary_size=len(tokens), dim=DIM, path=str(MODEL))
    vectorizer.load_vectors(tokens)
    weight_VD = vectorizer.output_weight().detach().numpy()
    np.testing.assert_allclose(weight_VD[1], EXPECTED["the"], rtol=1e-6)
    np.testing.assert_allclose(weight_VD[4], EXPECTED["unseen"], rtol=1e-6)


def changed(at: int, value: bytes) -> bytes:
    content = MODEL.read_bytes()
    return content[:at] + value + content[at + len(value) :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(4, struct.pack("<i", 13)), "version 13 of fastText's format; allowed are 11, 12"),
        (changed(8, struct.pack("<i", 300)), "vectors of 300 numbers, but dim is 4: set dim=300"),
        (changed(40, struct.pack("<i", 0)), "n-grams, and no rows for them"),
        (changed(DICTIONARY, struct.pack("<i", 10**6)), "cut short at word"),
        (changed(DICTIONARY + 20, struct.pack("<q", 10**9)), "cut short in its dictionary"),
        (MODEL.read_bytes()[:50], "cut short or damaged"),
        (MODEL.read_bytes()[:700], "its matrix is not whole"),
    ],
)
def test_a_damaged_model_is_told(tmp_path, content, message):
    (tmp_path / "v.bin").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_word_vectors(str(tmp_path / "v.bin"), ["the"], DIM)


def test_a_quantized_and_a_compressed_model_are_refused(tmp_path):
    content = MODEL.read_bytes()
    place = content.index(struct.pack("<2q", 17 + 60, DIM)) - 1
    (tmp_path / "v.bin").write_bytes(changed(place, b"\1"))
    with pytest.raises(ValueError, match="is quantized, which is not read"):
        read_word_vectors(str(tmp_path / "v.bin"), ["the"], DIM)
    (tmp_path / "v.bin.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match="a compressed model of fastText, which is mapped: unpack"):
        read_word_vectors(str(tmp_path / "v.bin.gz"), ["the"], DIM)


def test_a_pruned_model_leaves_out_the_n_grams_that_it_dropped():
    model = FastTextModel.open(str(MODEL), DIM)
    kept = {fnv1a("<c") % 60: fnv1a("<c") % 60}
    pruned = FastTextModel(model.row_of, model.rows_RD, 2, 4, 60, kept)
    rows = [model.row_of["cat"], len(model.row_of) + fnv1a("<c") % 60]
    shared = sum(
        fnv1a(g) % 60 in kept for g in ("<c", "ca", "at", "t>", "<ca", "cat", "at>", "<cat", "cat>")
    )
    rows += rows[1:] * (shared - 1)
    np.testing.assert_allclose(pruned.vector("cat"), model.rows_RD[rows].mean(0), rtol=1e-6)
    assert FastTextModel(model.row_of, model.rows_RD, 2, 4, 60, {}).vector("unseen") is None
