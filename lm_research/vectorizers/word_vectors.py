"""The text format of word vectors: one ``word v1 ... vD`` a line.

As GloVe's and word2vec's tools write it: UTF-8, single spaces; word2vec puts a line with the number
of words and D before the others. Files may be compressed (.gz, .xz).
"""

import gzip
import lzma
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

_OPENERS: dict[str, Callable[..., BinaryIO]] = {".gz": gzip.open, ".xz": lzma.open}  # type: ignore[dict-item]

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

    The file is streamed. The width of every line is checked, the numbers of the words asked for.
    A word may hold spaces, as some of GloVe 840B's do: the last D fields are its numbers.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, empty, or of another width than ``dim``; or a line has
            the wrong number of fields, or something that is no finite number. It names the line.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"path is {path!r}: no such file of word vectors")
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


def write_word_vectors(path: str, words: Iterable[str], vectors_VD: np.ndarray) -> None:
    """Write the format that :func:`read_word_vectors` reads, to the last bit of float32."""
    with open(path, "w", encoding="utf-8") as file:
        for word, vector_D in zip(words, vectors_VD, strict=True):
            if not word or "\n" in word or word != word.strip(" "):
                raise ValueError(f"the word {word!r} cannot be written: empty, or space around it")
            file.write(f"{word} {' '.join(str(float(v)) for v in vector_D.astype(np.float32))}\n")


def _lines(path: str, dim: int) -> Iterator[tuple[int, bytes]]:
    """Line numbers and lines, without the header; the first line must have the right width."""
    first = True
    try:
        with _OPENERS.get(Path(path).suffix, open)(path, "rb") as file:
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
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path} is damaged or cut short: {error}; fetch it again") from error
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
