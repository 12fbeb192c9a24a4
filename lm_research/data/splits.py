"""Held-out documents: chosen by the hash of their text, so that equal texts share a split."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Literal

import numpy as np

from lm_research.data.document import DataError, Document
from lm_research.text.unicode import utf8_length

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
DOCUMENT_BYTES = 256
"""What a document takes in memory beside its text: objects and names, roughly."""


def split_of(document: Document, validation: float, test: float, seed: int) -> Split:
    """The split of one document: the official one if it has one, else by hash.

    The hash of (seed, text) is uniform on [0, 1); the lowest ``validation`` go to validation, the
    next ``test`` to test. It needs no pass over the corpus, does not depend on the order of
    documents or on what else is in the corpus, and never parts two copies of a text: a source
    keeps its held-out documents when it enters a mixture.

    Raises:
        DataError: an official split of another name.
    """
    if document.split is not None:
        return _official(document)
    key = blake2b(f"{seed}\0".encode(), digest_size=8)
    key.update(document.text.encode("utf-8", "surrogatepass"))
    uniform = int.from_bytes(key.digest(), "big") / 2**64
    if uniform < validation:
        return "validation"
    return "test" if uniform < validation + test else "train"


def _official(document: Document) -> Split:
    for split in SPLITS:
        if document.split == split:
            return split
    raise DataError(
        f"document {document.id}: split={document.split!r}; allowed are {', '.join(SPLITS)}, or "
        "none, which leaves the choice to the hash of the text (for files: data.split_field=null)"
    )


def shuffle(
    documents: Iterable[Document], seed: int, buffer_bytes: int = 1 << 25
) -> Iterator[Document]:
    """Documents in random order, through a buffer of bounded size (32 MiB by default).

    The size is that of the texts in UTF-8, with ``DOCUMENT_BYTES`` more for each, and does not
    depend on the machine; only the newest document, or one too large for it, can exceed it.

    A corpus that fits the buffer is shuffled whole; a larger one locally. Sources come sorted (by
    topic, by file name), and a budget that reads only a part must not read one topic.
    """
    rng = np.random.default_rng(seed)
    buffer: list[Document] = []
    size = 0
    for document in documents:
        buffer.append(document)
        size += _size(document)
        while size > buffer_bytes and len(buffer) > 1:
            out = _pop(buffer, int(rng.integers(len(buffer))))
            size -= _size(out)
            yield out
    while buffer:
        yield _pop(buffer, int(rng.integers(len(buffer))))


def _size(document: Document) -> int:
    return utf8_length(document.text) + DOCUMENT_BYTES


def _pop(buffer: list[Document], index: int) -> Document:
    buffer[index], buffer[-1] = buffer[-1], buffer[index]
    return buffer.pop()
