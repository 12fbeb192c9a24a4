"""The last stage: ids, a block of documents at a time, for the token store to put together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lm_research.data.splits import SPLITS, Split
from lm_research.data.stages.shards import Shards
from lm_research.data.stages.workers import in_order
from lm_research.text.tokenizer import Tokenizer
from lm_research.text.unicode import utf8_length
from lm_research.text.units import units_of

BLOCK_BYTES = 2 << 20
"""Bytes of text after which a block ends."""


class Block(NamedTuple):
    """Documents of all splits, in the order of the stream."""

    number: int
    splits: list[Split]
    texts: list[str]


@dataclass(frozen=True)
class Encoded:
    """A block's documents as ids.

    Attributes:
        splits_D: place of each document's split in ``SPLITS``, uint8.
        lengths_D: int64, how many units each document has; ``units_N`` their hashes, uint32.
        tokens_D, bytes_D, words_D: int64, of each document; the separator is no token.
        nats_D: float64, what its unknown pieces cost to spell.
        ids_N: of all documents, each followed by the separator; uint16 or uint32.
    """

    splits_D: np.ndarray
    lengths_D: np.ndarray
    units_N: np.ndarray
    tokens_D: np.ndarray
    bytes_D: np.ndarray
    words_D: np.ndarray
    nats_D: np.ndarray
    ids_N: np.ndarray


def blocks(selected: Iterable[tuple[Split, str]]) -> Iterator[Block]:
    """The texts in blocks, numbered from 0; at least one."""
    splits: list[Split] = []
    texts: list[str] = []
    number, size = 0, 0
    for split, text in selected:
        splits.append(split)
        texts.append(text)
        size += utf8_length(text)
        if size >= BLOCK_BYTES:
            yield Block(number, splits, texts)
            splits, texts, size, number = [], [], 0, number + 1
    yield Block(number, splits, texts)


class EncodedStage:
    """Blocks and what they are in ids, several at once.

    Args:
        shards: where what is done is kept until the store is whole.
        tokenizer: trained.
        workers: processes.
    """

    def __init__(self, shards: Shards, tokenizer: Tokenizer, workers: int = 1) -> None:
        self.shards, self.tokenizer, self.workers = shards, tokenizer, workers
        self.dtype = id_dtype(tokenizer.vocabulary_size)

    def __call__(self, given: Iterable[Block]) -> Iterator[tuple[Block, Encoded]]:
        """The blocks in order, each with its ids."""
        self.shards.clear_leftovers()
        under_way: list[Block] = []

        def noted() -> Iterator[Block]:
            for block in given:
                under_way.append(block)
                yield block

        work = self._made if self.workers == 1 else self._kept
        for parts in in_order(work, noted(), self.workers):
            block = under_way.pop(0)
            yield block, _from_parts(parts or self._made(block), self.dtype)

    def _made(self, block: Block) -> Sequence[bytes]:
        parts: Sequence[bytes] | None = self.shards.read(block.number)
        if parts is None:
            parts = encode_block(block, self.tokenizer, self.dtype)
            self.shards.write(block.number, parts)
        return parts

    def _kept(self, block: Block) -> None:
        """In another process: what is made is read from its file, which is less than sending it."""
        self._made(block)


def id_dtype(vocabulary_size: int) -> np.dtype:
    """The smaller of two types that holds every id."""
    return np.dtype("uint16" if vocabulary_size <= 1 << 16 else "uint32")


def encode_block(block: Block, tokenizer: Tokenizer, dtype: np.dtype) -> list[bytes]:
    """The arrays of :class:`Encoded`, as bytes."""
    units = units_of(block.texts)
    encodings = tokenizer.encode_batch(block.texts, dtype)
    ids_N = encodings.ids_N
    # Few tokens have an id that a byte does not hold, where most characters are of one alphabet.
    small = ids_N.astype(np.uint8) if ids_N.max(initial=0) < 1 << 8 else ids_N
    columns = [
        np.array([SPLITS.index(split) for split in block.splits], np.uint8),
        units.lengths_D,
        units.hashes_N,
        encodings.lengths_D,
        np.fromiter(map(utf8_length, block.texts), np.int64, len(block.texts)),
        units.words_D,
        encodings.nats_D,
        small,
    ]
    return [column.tobytes() for column in columns]


def _from_parts(parts: Sequence[bytes], dtype: np.dtype) -> Encoded:
    splits, lengths, units, tokens, size, words, nats, ids = parts
    tokens_D = np.frombuffer(tokens, np.int64)
    count = int(tokens_D.sum()) + len(tokens_D)
    kept = np.dtype(np.uint8) if len(ids) == count else dtype
    return Encoded(
        np.frombuffer(splits, np.uint8),
        np.frombuffer(lengths, np.int64),
        np.frombuffer(units, np.uint32),
        tokens_D,
        np.frombuffer(size, np.int64),
        np.frombuffer(words, np.int64),
        np.frombuffer(nats, np.float64),
        np.frombuffer(ids, kept).astype(dtype, copy=False),
    )
