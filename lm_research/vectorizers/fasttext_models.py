"""Models of fastText (``.bin``): a vector for every word, spelled by n-grams where it is unknown.

P. Bojanowski, E. Grave, A. Joulin and T. Mikolov, Enriching Word Vectors with Subword Information
(2017): a word's vector is the mean of its own row and of the rows of its character n-grams, from
``<`` to ``>``, which share ``bucket`` rows by their FNV-1a hash. A word that the model has not met
has those of its n-grams alone. Versions 11 and 12 of the format; not the quantized ``.ftz``.

Shapes: R rows, D vector size.
"""

import mmap
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

MAGIC = 793712314
VERSION = 12
_HEADER = struct.Struct("<2i12id")
_SIZES = struct.Struct("<3i2q")
_SHAPE = struct.Struct("<?2q")
_END_OF_LINE = "</s>"
_SKIPGRAM, _NEGATIVE_SAMPLING = 2, 2


@dataclass(frozen=True)
class FastTextModel:
    """What gives words their vectors.

    Attributes:
        row_of: the words that the model has met, and their rows.
        rows_RD: float32, of words and then of n-grams; mapped from the file.
        shortest, longest: characters of an n-gram; longest 0: there are none.
        buckets: rows of n-grams before any were pruned.
        kept: bucket to row after the words, where a model was pruned; otherwise None.
    """

    row_of: dict[str, int]
    rows_RD: np.ndarray
    shortest: int
    longest: int
    buckets: int
    kept: dict[int, int] | None

    @classmethod
    def open(cls, path: str, dim: int) -> Self:
        """Map a model.

        Raises:
            ValueError: another version or width, quantized, or cut short.
        """
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            return cls._of(path, data, dim)
        except (struct.error, IndexError) as error:
            raise ValueError(f"{path} is cut short or damaged: {error}; fetch it again") from None

    @classmethod
    def _of(cls, path: str, data: mmap.mmap, dim: int) -> Self:
        _, version, width, *_, model, buckets, shortest, longest, _, _ = _HEADER.unpack_from(data)
        if version not in (VERSION - 1, VERSION):
            raise ValueError(f"{path}: version {version} of fastText's format; allowed are 11, 12")
        if width != dim:
            raise ValueError(
                f"{path} has vectors of {width} numbers, but dim is {dim}: set dim={width}"
            )
        if version == VERSION - 1 and model == 3:  # a classifier, which had none then
            longest = 0
        if longest and not buckets:
            raise ValueError(f"{path} is damaged: n-grams, and no rows for them; fetch it again")
        row_of, kept, place = _dictionary(path, data)
        return cls(row_of, _matrix(path, data, place, dim), shortest, longest, buckets, kept)

    def vector(self, word: str) -> np.ndarray | None:
        """float32 [D]; None for a word that is unknown and has no n-gram."""
        own = self.row_of.get(word)
        rows = [] if own is None else [own]
        if word != _END_OF_LINE:
            rows += self._ngram_rows(f"<{word}>")
        return self.rows_RD[rows].mean(0, dtype=np.float32) if rows else None

    def _ngram_rows(self, word: str) -> Iterator[int]:
        shortest = max(self.shortest, 1)
        for start in range(len(word)):
            for end in range(start + shortest, min(start + self.longest, len(word)) + 1):
                if end - start == 1 and (start == 0 or end == len(word)):
                    continue  # a border by itself
                bucket = fnv1a(word[start:end]) % self.buckets
                if self.kept is None:
                    yield len(self.row_of) + bucket
                elif bucket in self.kept:
                    yield len(self.row_of) + self.kept[bucket]


def fnv1a(ngram: str) -> int:
    """The 32 bits of FNV-1a as fastText has it: each byte is sign-extended first."""
    value = 2166136261
    for byte in ngram.encode():
        value = (value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619 & 0xFFFFFFFF
    return value


def read_fasttext(path: str, words: Collection[str], dim: int) -> tuple[dict[str, np.ndarray], int]:
    """The vectors of ``words``, of those that the model has not met, too, and how many of its own
    words are not UTF-8.

    Raises:
        ValueError: as :meth:`FastTextModel.open`, or a number that is not finite.
    """
    model = FastTextModel.open(path, dim)
    vectors = {}
    for word in words:
        if (vector_D := model.vector(word)) is None:
            continue
        if not np.isfinite(vector_D).all():
            raise ValueError(f"{path}, {word!r}: a number is not finite")
        vectors[word] = vector_D
    return vectors, sum("\N{REPLACEMENT CHARACTER}" in word for word in model.row_of)


def _dictionary(path: str, data: mmap.mmap) -> tuple[dict[str, int], dict[int, int] | None, int]:
    """Words and rows, what pruning has kept, and where the dictionary ends."""
    entries, words, _, _, pruned = _SIZES.unpack_from(data, _HEADER.size)
    place = _HEADER.size + _SIZES.size
    row_of: dict[str, int] = {}
    for number in range(entries):
        end = data.find(b"\0", place)
        if end < 0:
            raise ValueError(f"{path} is cut short at word {number + 1}; fetch it again")
        if number < words:  # labels follow them
            word = data[place:end].decode(errors="replace")
            row_of[word if word not in row_of else f"{word}\N{REPLACEMENT CHARACTER}{number}"] = (
                number
            )
        place = end + 10  # its end, a count of 8 bytes, its kind
    if pruned < 0:
        return row_of, None, place
    if place + 8 * pruned > len(data):
        raise ValueError(f"{path} is cut short in its dictionary; fetch it again")
    pairs = np.frombuffer(data, "<i4", 2 * pruned, place).reshape(-1, 2)
    return row_of, dict(pairs.tolist()), place + 8 * pruned


def _matrix(path: str, data: mmap.mmap, place: int, dim: int) -> np.ndarray:
    quantized, count, width = _SHAPE.unpack_from(data, place)
    if quantized:
        raise ValueError(
            f"{path} is quantized, which is not read: use the model that it was made of"
        )
    start = place + _SHAPE.size
    if width != dim or start + 4 * count * dim > len(data):
        raise ValueError(f"{path} is cut short or damaged: its matrix is not whole; fetch it again")
    return np.frombuffer(data, "<f4", count * dim, start).reshape(count, dim)


def write_fasttext(path: Path | str, words: Sequence[str], vectors_VD: np.ndarray) -> None:
    """A new model of these vectors, without n-grams, that fastText's own tools load."""
    dim = vectors_VD.shape[1]
    args = [dim, 5, 0, 1, 5, 1, _NEGATIVE_SAMPLING, _SKIPGRAM, 0, 0, 0, 100]
    shape = _SHAPE.pack(False, len(words), dim)
    with open(path, "xb") as file:
        file.write(_HEADER.pack(MAGIC, VERSION, *args, 1e-4))
        file.write(_SIZES.pack(len(words), len(words), 0, len(words), -1))
        for word in words:
            file.write(word.encode() + b"\0" + struct.pack("<qb", 1, 0))
        for rows_VD in (vectors_VD, np.zeros_like(vectors_VD)):
            file.write(shape)
            file.write(np.ascontiguousarray(rows_VD, "<f4").tobytes())
