"""Files of word vectors: opened whatever compresses them, binary ones read, all kinds written.

| format | what it is | ending |
| --- | --- | --- |
| ``glove`` | ``word v1 ... vD`` a line | .txt |
| ``word2vec`` | a line with the number of words and D, then the same; .vec | .vec, .txt |
| ``word2vec_binary`` | that first line; then word, space, D little-endian float32 | .bin |
| ``fasttext`` | a model of fastText, see ``fasttext_models.py`` | .bin |

Any but the last may end in .gz, .xz or .zst besides.
"""

import gzip
import io
import lzma
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, get_args

import numpy as np
import zstandard

from lm_research.vectorizers.fasttext_models import MAGIC, read_fasttext, write_fasttext

Format = Literal["glove", "word2vec", "word2vec_binary", "fasttext"]
_BINARY = ("word2vec_binary", "fasttext")
_LONGEST_WORD = 1 << 16


@contextmanager
def opened(path: str | Path, mode: Literal["rb", "xb"] = "rb") -> Iterator[BinaryIO]:
    """The file's bytes, uncompressed. "xb" refuses a file that is there.

    Raises:
        ValueError: what is read is damaged or cut short.
    """
    suffix = Path(path).suffix
    try:
        with open(path, mode) as raw, _uncompressed(raw, suffix, mode) as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise ValueError(f"{path} is damaged or cut short: {error}; fetch it again") from error


def _uncompressed(raw: IO[bytes], suffix: str, mode: str) -> Any:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=raw, mode=mode[0] + "b" if mode == "rb" else "wb")
    if suffix == ".xz":
        return lzma.LZMAFile(raw, "r" if mode == "rb" else "w")
    if suffix == ".zst" and mode == "rb":
        # Read ahead in pieces: readline of the raw stream would take a byte at a time.
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw))
    if suffix == ".zst":
        return zstandard.ZstdCompressor().stream_writer(raw, closefd=False)
    return raw


def is_binary(path: str | Path) -> bool:
    """Whether the name says that the numbers are binary."""
    name = Path(path)
    return (
        name.with_suffix("") if name.suffix in (".gz", ".xz", ".zst") else name
    ).suffix == ".bin"


def read_binary(path: str, words: Collection[str], dim: int) -> tuple[dict[str, np.ndarray], int]:
    """The vectors of ``words`` in a binary file, and how many of its words are not UTF-8.

    Raises:
        ValueError: another format or width, a file that is cut short, or a number that is not
        finite.
    """
    with open(path, "rb") as raw:
        if raw.read(4) == MAGIC.to_bytes(4, "little"):
            return read_fasttext(path, words, dim)
    vectors: dict[str, np.ndarray] = {}
    broken = 0
    with opened(path) as file:
        for number in range(1, _header(path, file, dim) + 1):
            name, row = _word(path, number, file), file.read(4 * dim)
            if len(row) < 4 * dim:
                raise ValueError(f"{path} is damaged or cut short: word {number} has no vector")
            try:
                word = name.decode()
            except UnicodeDecodeError:
                broken += 1
                continue
            if word in words and word not in vectors:
                vectors[word] = np.frombuffer(row, "<f4").astype(np.float32)
                if not np.isfinite(vectors[word]).all():
                    raise ValueError(f"{path}, word {number} ({word!r}): a number is not finite")
    return vectors, broken


def _header(path: str, file: BinaryIO, dim: int) -> int:
    line = file.readline(100)
    fields = line.split()
    if line.startswith(MAGIC.to_bytes(4, "little")):
        raise ValueError(f"{path} is a compressed model of fastText, which is mapped: unpack it")
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        raise ValueError(
            f"{path} is no binary file of word vectors: its first line is {line[:40]!r}, but the "
            "numbers of words and dimensions were expected (a text file must not end in .bin)"
        )
    if int(fields[1]) != dim:
        width = int(fields[1])
        raise ValueError(
            f"{path} has vectors of {width} numbers, but dim is {dim}: set dim={width}"
        )
    return int(fields[0])


def _word(path: str, number: int, file: BinaryIO) -> bytes:
    """Up to the next space; word2vec's own tool ends each vector with a line's end, others do
    not."""
    word = bytearray()
    while (byte := file.read(1)) != b" ":
        if not byte or len(word) > _LONGEST_WORD:
            raise ValueError(f"{path} is damaged or cut short at word {number}")
        word += byte
    return bytes(word).lstrip(b"\n")


def write_vectors(
    path: str | Path, words: Sequence[str], vectors_VD: np.ndarray, format: Format
) -> None:
    """Write a new file, to the last bit of float32; its ending says how it is compressed.

    A fastText model is written without n-grams.

    Raises:
        FileExistsError: it is there already.
        ValueError: a word that would not come back, an unknown format, an ending of the other kind,
            or another number of words than of vectors.
    """
    binary = format in _BINARY
    if format not in get_args(Format):
        raise ValueError(f"format is {format!r}; it must be one of {', '.join(get_args(Format))}")
    if binary != is_binary(path):
        raise ValueError(f"{path}: a name ends in .bin where, and only where, the format is binary")
    if len(words) != len(vectors_VD):
        raise ValueError(f"{len(words)} words, but {len(vectors_VD)} vectors")
    for word in words:
        require_writable(word, format)
    if format == "fasttext":
        if Path(path).suffix != ".bin":
            raise ValueError(f"{path}: a model of fastText is not compressed; end it in .bin")
        write_fasttext(path, words, vectors_VD)
        return
    with opened(path, "xb") as file:
        if format != "glove":
            file.write(f"{len(words)} {vectors_VD.shape[1]}\n".encode())
        for word, vector_D in zip(words, vectors_VD, strict=True):
            row_D = vector_D.astype("<f4")
            tail = row_D.tobytes() if binary else " ".join(str(float(v)) for v in row_D).encode()
            file.write(word.encode() + b" " + tail + b"\n")


def require_writable(word: str, format: Format) -> None:
    """Raise ``ValueError`` for a word that the format cannot give back."""
    spaced = word != word.strip(" ") or (format != "glove" and " " in word)
    if not word or "\n" in word or spaced or "\N{REPLACEMENT CHARACTER}" in word:
        raise ValueError(
            f"the word {word!r} cannot be written: empty, or with space in or around it"
        )
