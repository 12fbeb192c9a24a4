"""Targets of documents beside a token store: what translation and summarization learn to write.

A store of pairs (``Selection.pairs``) holds, beside what every store holds of the source texts::

    {split}.targets.bin          ids of the targets, one after the other, without separators
    {split}.target_lengths.bin   int64, how many of them each document has
    target_tokenizer.json        where the targets have a vocabulary of their own
    pairs.json                   of the held-out splits: the documents' ids, texts and targets

and in its ``meta.json`` under ``pairs`` the vocabulary, the targets' counts and digests. The rules
of ``text.cleaning`` read the source texts; targets stay as they are, but for the white space around
them.

Shapes: D documents of a split, N tokens.
"""

import zlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal

import numpy as np

from lm_research.data.document import DataError, Document
from lm_research.data.splits import SPLITS, Split
from lm_research.data.stages.encoded import id_dtype
from lm_research.data.token_store import StoreWriter, TokenStore
from lm_research.text.tokenizer import Tokenizer
from lm_research.text.unicode import utf8_length, valid_unicode

Vocabulary = Literal["shared", "separate"]
"""One vocabulary for sources and targets, or one for each."""


class TargetColumn:
    """Encodes the targets of documents on their way into a store.

    Args:
        writer: of the store.
        tokenizer: of the targets, trained.
        vocabulary: which one that is.
    """

    def __init__(self, writer: StoreWriter, tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
        self.writer, self.tokenizer, self.vocabulary = writer, tokenizer, vocabulary
        self.dtype = id_dtype(tokenizer.vocabulary_size)
        self.files = {s: (writer.folder / f"{s}.targets.bin").open("wb") for s in SPLITS}
        self.lengths: dict[Split, list[int]] = {split: [] for split in SPLITS}
        self.bytes = dict.fromkeys(SPLITS, 0)
        self.crc = {f"{split}.targets.bin": 0 for split in SPLITS}
        self.digest = sha256()
        names = ("ids", "sources", "targets")
        self.held = {split: {name: list[str]() for name in names} for split in SPLITS[1:]}

    def noting(
        self, selected: Iterable[tuple[Split, Document]]
    ) -> Iterator[tuple[Split, Document]]:
        """The same documents; each has a target."""
        for split, document in selected:
            target = target_of(document)
            data = self.tokenizer.encode(target).ids_N.astype(self.dtype)
            self.files[split].write(data.tobytes())
            name = f"{split}.targets.bin"
            self.crc[name] = zlib.crc32(data.tobytes(), self.crc[name])
            self.lengths[split].append(len(data))
            self.bytes[split] += utf8_length(target)
            self.digest.update(target.encode() + b"\xff")
            if split in self.held:
                one = {"ids": document.id, "sources": document.text, "targets": target}
                for key, value in one.items():
                    self.held[split][key].append(value)
            yield split, document

    def write(self) -> dict[str, Any]:
        """Put the rest into the store; returns what ``meta.json`` says of the targets."""
        for split, file in self.files.items():
            file.close()
            data = np.array(self.lengths[split], np.int64).tobytes()
            name = f"{split}.target_lengths.bin"
            (self.writer.folder / name).write_bytes(data)
            self.crc[name] = zlib.crc32(data)
        self.writer.write_json("pairs", self.held)
        if self.vocabulary == "separate":
            self.writer.write_json("target_tokenizer", self.tokenizer.state_dict())
        return {
            "vocabulary": self.vocabulary,
            "vocabulary_size": self.tokenizer.vocabulary_size,
            "tokens": {split: sum(self.lengths[split]) for split in SPLITS},
            "bytes": self.bytes,
            "sha256": self.digest.hexdigest(),
            "crc32": self.crc,
        }


def target_of(document: Document) -> str:
    """The target as it is learned and scored: valid Unicode, no white space around it."""
    return valid_unicode(document.target or "").strip()


class PairedSplit:
    """Documents of a split with their targets.

    Attributes:
        split: the token split of the sources.
        source_lengths_D, target_lengths_D: int64, tokens.

    Raises:
        DataError: the store knows no targets, or is damaged.
    """

    def __init__(self, store: TokenStore, name: Split) -> None:
        known = pairs_of(store)
        self.store, self.split = store, store.split(name)
        file = store.folder / f"{name}.target_lengths.bin"
        self.target_lengths_D = np.frombuffer(file.read_bytes(), np.int64)
        self.source_lengths_D = np.asarray(self.split.documents["tokens"])
        if len(self.target_lengths_D) != len(self.source_lengths_D):
            raise DataError(f"{file}: damaged; remove {store.folder}, and it is made again")
        self.ends_D = np.cumsum(self.target_lengths_D)
        self.dtype = id_dtype(known["vocabulary_size"])

    @cached_property
    def target_ids_N(self) -> np.ndarray:  # noqa: N802 - the name carries the shape
        """Ids of all targets, one after the other, as a read-only memory map."""
        file = self.store.folder / f"{self.split.name}.targets.bin"
        if not file.stat().st_size:
            return np.empty(0, self.dtype)
        return np.memmap(file, dtype=self.dtype, mode="r")

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """``ids``, ``sources`` and ``targets`` of a held-out split, as the source has them."""
        held: dict[str, list[str]] = self.store.read_json("pairs")[self.split.name]
        return held

    def __len__(self) -> int:
        return len(self.target_lengths_D)

    def source(self, index: int) -> np.ndarray:
        """Ids of one source text, int64."""
        return self.split.document(index)

    def target(self, index: int) -> np.ndarray:
        """Ids of one target, int64, without separators."""
        end = int(self.ends_D[index])
        start = end - int(self.target_lengths_D[index])
        return np.asarray(self.target_ids_N[start:end], dtype=np.int64)


def pairs_of(store: TokenStore) -> dict[str, Any]:
    """What a store says of its targets.

    Raises:
        DataError: it knows none.
    """
    known: dict[str, Any] | None = store.meta.get("pairs")
    if not known:
        raise DataError(f"{store.meta['source']}: prepared without targets")
    return known


def require_pairs(source: str, selected: Iterable[tuple[Split, Document]]) -> None:
    """Refuse a source none of whose documents has a target, before anything is learned of it.

    Raises:
        DataError: with sources that have some.
    """
    if next(iter(selected), None) is None:
        raise DataError(
            f"data={source}: no document has a target, a text to learn to write\n"
            "  fix: a source of pairs (translation: interface_en, multi30k_en_de; summarization: "
            "bbc_headlines, scitldr;\n    for files: data.target_field=NAME)"
        )
