"""The text format of word vectors: one ``word v1 ... vD`` a line.

As GloVe's and word2vec's tools write it: UTF-8, single spaces; word2vec puts a line with the number
of words and D before the others. Files may be compressed (.gz, .xz, .zst).
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lm_research.vectorizers.word_vector_files import (
    Format,
    is_binary,
    opened,
    read_binary,
    write_vectors,
)

_LONGEST_LINE = 1 << 20
"""Bytes; a few kilobytes of compressed data can unfold to gigabytes without a line's end."""


class WordVectors(NamedTuple):
    """What was found of the words asked for.

    ``vectors`` maps them to float32 arrays of D numbers; ``broken`` counts the lines left out
    since their word is not UTF-8 (and so cannot have been asked for).
    """

    vectors: dict[str, np.ndarray]
    broken: int


def read_word_vectors(path: str, words: Collection[str], dim: int) -> WordVectors:
    """The vectors of ``words``; where a file repeats a word, the first one counts.

    The file is streamed; ``word_vector_files.py`` says which kinds there are. The width of every
    line is checked, the numbers of the words asked for.
    A word may hold spaces, as some of GloVe 840B's do: the last D fields are its numbers.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, empty, or of another width than ``dim``; or a line has
            the wrong number of fields, or something that is no finite number. It names the line.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"path is {path!r}: no such file of word vectors")
    if is_binary(path):
        return WordVectors(*read_binary(path, words, dim))
    vectors: dict[str, np.ndarray] = {}
    broken = 0
    for number, line in _lines(path, dim):
        fields = line.rstrip(b" \r\n").split(b" ")
        cut = len(fields) - dim
        if cut < 1 or (cut > 1 and _is_number(fields[1])):
            raise ValueError(
                f"{path}, line {number}: {len(fields)} fields, but a word and {dim} numbers were "
                "expected: repair or remove the line"
            )
        try:
            word = b" ".join(fields[:cut]).decode()
        except UnicodeDecodeError:
            broken += 1
            continue
        if word in words and word not in vectors:
            vectors[word] = _numbers(fields[cut:], f"{path}, line {number} ({word!r})")
    return WordVectors(vectors, broken)


def write_word_vectors(
    path: str | Path, words: Sequence[str], vectors_VD: np.ndarray, format: Format = "glove"
) -> None:
    """Write a new file that :func:`read_word_vectors` reads; see ``write_vectors``."""
    write_vectors(path, words, vectors_VD, format)


def _lines(path: str, dim: int) -> Iterator[tuple[int, bytes]]:
    """Line numbers and lines, without the header; the first line must have the right width."""
    first = True
    with opened(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), start=1):
            if len(line) == _LONGEST_LINE:
                raise ValueError(
                    f"{path}, line {number}: more than {_LONGEST_LINE:,} bytes: this is no "
                    "text file of word vectors"
                )
            if number == 1 and _is_header(line):
                continue
            if first:
                _check_width(path, line, dim)
                first = False
            yield number, line
    if first:
        raise ValueError(f"{path} holds no word vectors: it is empty")


def _is_header(line: bytes) -> bool:
    fields = line.split()
    return len(fields) == 2 and all(field.isdigit() for field in fields)


def _check_width(path: str, line: bytes, dim: int) -> None:
    fields = line.rstrip(b" \r\n").split(b" ")
    width = 0
    while width < len(fields) - 1 and _is_number(fields[-1 - width]):
        width += 1
    if width == 0:
        raise ValueError(
            f"{path} is not a text file of word vectors: its first line is {line[:40]!r}, but "
            "`word v1 ... vD` was expected"
        )
    if width != dim:
        raise ValueError(
            f"{path} has vectors of {width} numbers, but dim is {dim}: set dim={width}"
        )


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _numbers(fields: list[bytes], where: str) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            vector_D = np.array([float(field) for field in fields]).astype(np.float32)
    except ValueError as error:
        raise ValueError(f"{where}: {error}: repair or remove the line") from None
    if not np.isfinite(vector_D).all():
        raise ValueError(f"{where}: a number is not finite: repair or remove the line")
    return vector_D
