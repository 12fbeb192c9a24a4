from pathlib import Path

import numpy as np
import pytest

from lm_research.vectorizers.word_vector_files import Format
from lm_research.vectorizers.word_vectors import read_word_vectors, write_word_vectors

WORDS = ["the", "naïve", "猫", "3.14", "'s"]
VECTORS = np.random.default_rng(0).normal(size=(len(WORDS), 5)).astype(np.float32)


@pytest.mark.parametrize("compression", ["", ".gz", ".xz", ".zst"])
@pytest.mark.parametrize(
    ("format", "ending"), [("glove", ".txt"), ("word2vec", ".vec"), ("word2vec_binary", ".bin")]
)
def test_round_trip_to_the_bit(
    tmp_path: Path, format: Format, ending: str, compression: str
) -> None:
    path = str(tmp_path / f"v{ending}{compression}")
    write_word_vectors(path, WORDS, VECTORS, format)
    found = read_word_vectors(path, {*WORDS[1:], "absent"}, 5)
    assert list(found.vectors) == WORDS[1:]
    assert np.array_equal(np.stack(list(found.vectors.values())), VECTORS[1:])
    with pytest.raises(FileExistsError):
        write_word_vectors(path, WORDS, VECTORS, format)


def test_a_word2vec_file_has_the_numbers_of_words_and_dimensions_first(tmp_path: Path) -> None:
    write_word_vectors(tmp_path / "v.vec", ["a", "b"], np.array([[1, 2.5], [3, 4]]), "word2vec")
    assert (tmp_path / "v.vec").read_text() == "2 2\na 1.0 2.5\nb 3.0 4.0\n"


@pytest.mark.parametrize("end", [b"\n", b""])
def test_binary_files_with_and_without_line_ends(tmp_path: Path, end: bytes) -> None:
    rows = [
        w + b" " + np.array(v, "<f4").tobytes() + end
        for w, v in ((b"a", [1, 2]), (b"\xff", [3, 4]))
    ]
    (tmp_path / "v.bin").write_bytes(b"2 2\n" + b"".join(rows))
    found = read_word_vectors(str(tmp_path / "v.bin"), ["a"], 2)
    assert found.vectors["a"].tolist() == [1, 2]
    assert found.broken == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"2 2\na \x00\x00\x00\x00\x00\x00\x00\x00\n", r"cut short at word 2"),
        (b"1 2\na \x00\x00\x00\x00", r"cut short: word 1 has no vector"),
        (b"1 2\na \x00\x00\x80\x7f\x00\x00\x00\x00", r"word 1 \('a'\): a number is not finite"),
        (b"1 3\na ", r"has vectors of 3 numbers, but dim is 2: set dim=3"),
        (b"a 1 2\n", r"is no binary file of word vectors: its first line is b'a 1 2"),
        (b"\xba\x16\x4f\x2f\x0c\x00", r"is cut short or damaged: unpack_from requires"),
        (b"9 2\n" + b"x" * 100_000, r"cut short at word 1"),
    ],
)
def test_broken_binary_files_are_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "v.bin").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_word_vectors(str(tmp_path / "v.bin"), ["a"], 2)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.bin where, and only where"):
        write_word_vectors(tmp_path / "v.bin", WORDS, VECTORS, "glove")
    with pytest.raises(ValueError, match="'New York' cannot be written"):
        write_word_vectors(tmp_path / "v.vec", ["New York"], VECTORS[:1], "word2vec")
    with pytest.raises(ValueError, match="format is 'csv'; it must be one of glove, word2vec"):
        write_word_vectors(tmp_path / "v.csv", WORDS, VECTORS, "csv")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
