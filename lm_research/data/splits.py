"""Held-out documents: chosen by the hash of their text, so that equal texts share a split."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Literal

import numpy as np

from lm_research.data.document import Document

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def split_of(document: Document, validation: float, test: float, seed: int) -> Split:
    """The split of one document: the official one if it has one, else by hash.

    The hash of (seed, text) is uniform on [0, 1); the lowest ``validation`` go to validation, the
    next ``test`` to test. It needs no pass over the corpus, does not depend on the order of
    documents or on what else is in the corpus, and never parts two copies of a text: a source
    keeps its held-out documents when it enters a mixture.
    """
    if document.split is not None:
        return document.split  # type: ignore[return-value]
    key = f"{seed}\0{document.text}".encode("utf-8", "surrogatepass")
    uniform = int.from_bytes(blake2b(key, digest_size=8).digest(), "big") / 2**64
    if uniform < validation:
        return "validation"
    return "test" if uniform < validation + test else "train"


def shuffle(
    documents: Iterable[Document], seed: int, buffer_bytes: int = 1 << 25
) -> Iterator[Document]:
    """Documents in random order, through a buffer of bounded size (32 MiB of text by default).

    A corpus that fits the buffer is shuffled whole; a larger one locally. Sources come sorted (by
    topic, by file name), and a budget that reads only a part must not read one topic.
    """
    rng = np.random.default_rng(seed)
    buffer: list[Document] = []
    size = 0
    for document in documents:
        buffer.append(document)
        size += len(document.text)
        while size > buffer_bytes and len(buffer) > 1:
            out = _pop(buffer, int(rng.integers(len(buffer))))
            size -= len(out.text)
            yield out
    while buffer:
        yield _pop(buffer, int(rng.integers(len(buffer))))


def _pop(buffer: list[Document], index: int) -> Document:
    buffer[index], buffer[-1] = buffer[-1], buffer[index]
    return buffer.pop()
