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
from lm_research.text.units import unit_hashes

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
        tokens_D, bytes_D, words_D: int64, of each document.
        nats_D: float64, what its unknown pieces cost to spell.
        ids_N: of all documents one after the other, without separators; uint16 or uint32.
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

        for parts in in_order(self._made, noted(), self.workers):
            yield under_way.pop(0), _from_parts(parts, self.dtype)

    def _made(self, block: Block) -> list[bytes]:
        parts = self.shards.read(block.number)
        if parts is None:
            parts = encode_block(block, self.tokenizer, self.dtype)
            self.shards.write(block.number, parts)
        return parts


def id_dtype(vocabulary_size: int) -> np.dtype:
    """The smaller of two types that holds every id."""
    return np.dtype("uint16" if vocabulary_size <= 1 << 16 else "uint32")


def encode_block(block: Block, tokenizer: Tokenizer, dtype: np.dtype) -> list[bytes]:
    """The arrays of :class:`Encoded`, as bytes."""
    ids, nats = [], []
    units = [unit_hashes(text) for text in block.texts]
    for text in block.texts:
        ids_N, spelled = tokenizer.encode(text)
        ids.append(ids_N.astype(dtype))  # at once: what is encoded takes 8 bytes an id
        nats.append(spelled)
    return [
        np.array([SPLITS.index(split) for split in block.splits], np.uint8).tobytes(),
        np.array([len(units_N) for units_N in units], np.int64).tobytes(),
        b"".join(units_N.tobytes() for units_N in units),
        np.array([len(ids_N) for ids_N in ids], np.int64).tobytes(),
        np.array([utf8_length(text) for text in block.texts], np.int64).tobytes(),
        np.array([len(text.split()) for text in block.texts], np.int64).tobytes(),
        np.array(nats, np.float64).tobytes(),
        b"".join(ids_N.tobytes() for ids_N in ids),
    ]


def _from_parts(parts: Sequence[bytes], dtype: np.dtype) -> Encoded:
    splits, lengths, units, tokens, size, words, nats, ids = parts
    return Encoded(
        np.frombuffer(splits, np.uint8),
        np.frombuffer(lengths, np.int64),
        np.frombuffer(units, np.uint32),
        np.frombuffer(tokens, np.int64),
        np.frombuffer(size, np.int64),
        np.frombuffer(words, np.int64),
        np.frombuffer(nats, np.float64),
        np.frombuffer(ids, dtype),
    )
