import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

from lm_research.vectorizers.word_vectors import read_word_vectors, write_word_vectors

WORDS = ["the", "naïve", "猫", ". . .", "New York", "3.14", "'s", "X", "\N{IDEOGRAPHIC SPACE}"]


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz", ".txt.xz"])
@pytest.mark.parametrize("header", [False, True])
def test_round_trip(tmp_path: Path, suffix: str, header: bool) -> None:
    vectors_VD = np.random.default_rng(0).normal(size=(len(WORDS), 5)).astype(np.float32)
    write_word_vectors(str(tmp_path / "plain"), WORDS, vectors_VD)
    text = (tmp_path / "plain").read_bytes()
    if header:
        text = f"{len(WORDS)} 5\n".encode() + text
    path = tmp_path / f"vectors{suffix}"
    path.write_bytes({".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)(text))
    found = read_word_vectors(str(path), set(WORDS) | {"absent"}, 5)
    assert list(found.vectors) == WORDS
    assert np.array_equal(np.stack(list(found.vectors.values())), vectors_VD)
    assert found.broken == 0


def read(tmp_path: Path, text: bytes, dim: int = 2) -> dict[str, list[float]]:
    (tmp_path / "v.txt").write_bytes(text)
    found = read_word_vectors(str(tmp_path / "v.txt"), ["a", "b", "c"], dim)
    return {word: vector.tolist() for word, vector in found.vectors.items()}


def test_reads_what_other_tools_write(tmp_path: Path) -> None:
    assert read(tmp_path, b"a 1 -2.5e-1 \r\nb .5 0") == {"a": [1, -0.25], "b": [0.5, 0]}
    assert read(tmp_path, b"2 1\na 1\nb 3\n", dim=1) == {"a": [1], "b": [3]}
    assert read(tmp_path, b"a 1 2\na 3 4\nx 9 9\n") == {"a": [1, 2]}
    assert read(tmp_path, b" 9 9\na 1 2\n") == {"a": [1, 2]}  # an empty word is nobody's


def test_a_word_of_digits_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(b"7 1 2\na 3 4\n")
    found = read_word_vectors(str(tmp_path / "v.txt"), ["7", "a"], 2)
    assert {word: list(v) for word, v in found.vectors.items()} == {"7": [1, 2], "a": [3, 4]}


@pytest.mark.filterwarnings("error")
def test_a_number_beyond_float32_is_an_error_and_no_warning_besides(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not finite"):
        read(tmp_path, b"a 1 1e99\n")


def test_a_line_without_end_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "v.gz"
    path.write_bytes(gzip.compress(b"a 1 2\nb" + b" 1" * 2**20, 1))
    with pytest.raises(ValueError, match=r"v\.gz, line 2: more than 1,048,576 bytes"):
        read_word_vectors(str(path), ["a"], 2)


def test_a_word_that_is_not_utf8_is_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(b"a 1 2\n\xff\xfe 3 4\nb 5 6\n\xff 7 8\n")
    found = read_word_vectors(str(tmp_path / "v.txt"), ["a", "b"], 2)
    assert (list(found.vectors), found.broken) == (["a", "b"], 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a 1 2\nb 1\n", r"v\.txt, line 2: 2 fields, but a word and 2 numbers were expected"),
        (b"a 1 2\nb 1 2 3\n", r"v\.txt, line 2: 4 fields"),
        (b"a 1 2\n\nb 1 2\n", r"v\.txt, line 2: 1 fields"),
        (b"2 2\na 1 2\nb 1 x\n", r"v\.txt, line 3 \('b'\): could not convert"),
        (b"a 1 nan\n", r"v\.txt, line 1 \('a'\): a number is not finite"),
        (b"a 1 1e99\n", r"v\.txt, line 1 \('a'\): a number is not finite"),
        (b"a 1 2 3\n", r"v\.txt has vectors of 3 numbers, but dim is 2: set dim=3"),
        (b"1 2.5\n", r"v\.txt has vectors of 1 numbers, but dim is 2: set dim=1"),
        (b"a 1 2\nb 1 2X\n", r"v\.txt, line 2 \('b'\): could not convert"),
        (b"a 1 2X\n", r"is not a text file of word vectors"),
        (b"9 3\na 1 2 3\n", r"v\.txt has vectors of 3 numbers, but dim is 2"),
        (b"once upon a time\n", r"is not a text file of word vectors: its first line is b'once"),
        (b"PK\x03\x04\x00\xff", r"is not a text file of word vectors"),
        (b"", r"v\.txt holds no word vectors: it is empty"),
        (b"400000 50\n", r"v\.txt holds no word vectors"),
    ],
)
def test_broken_files_are_named_with_the_line(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_a_file_cut_short_is_told(tmp_path: Path, suffix: str, compress) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / f"v{suffix}"
    path.write_bytes(compress(b"a 1 2\n" * 1000)[:-9])
    with pytest.raises(ValueError, match=r"is damaged or cut short"):
        read_word_vectors(str(path), ["a"], 2)
    path.write_bytes(b"a 1 2\n")
    with pytest.raises(ValueError, match=r"is damaged or cut short"):
        read_word_vectors(str(path), ["a"], 2)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"path is '/no/such': no such file"):
        read_word_vectors("/no/such", ["a"], 2)


@pytest.mark.parametrize("word", ["", " a", "a\nb"])
def test_a_word_that_would_not_come_back_is_not_written(tmp_path: Path, word: str) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        write_word_vectors(str(tmp_path / "v"), [word], np.zeros((1, 2)))


def test_words_and_vectors_of_different_number_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 words, but 1 vectors"):
        write_word_vectors(str(tmp_path / "v"), ["a", "b"], np.zeros((1, 2)))
