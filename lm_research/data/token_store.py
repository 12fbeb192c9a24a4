"""Token ids on disk, read through a memory map: the corpus may be larger than the memory.

A store is a folder::

    meta.json              counts, cleaning report, digests
    tokenizer.json         what the tokenizer learned from the training split
    tags.json              the tag lexicon, where the text has one
    {split}.bin            ids, uint16 or uint32: separator, document, separator, document, ...
    {split}.documents.bin  one DOCUMENT record a document
    {split}.units.bin      uint32 hashes of the documents' units (text.units), to find overlap by
    {split}.lengths.bin    int64, how many units each document has; -1: not known

It is written beside its final place, forced to disk, and renamed when whole; its name is the hash
of everything that went into it, so the same text prepared in the same way is prepared once.

Of each split ``meta.json`` has two digests. ``sha256`` is of the ids, and tells tokenizers apart.
``text_sha256`` is of the text that they stand for, as it was handed to the tokenizer: scores per
byte compare where it is the same. It is the SHA-256 of the documents' UTF-8 bytes in the order of
the stream, each followed by the byte 0xFF, which UTF-8 does not have.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lm_research.data.construction import begin, force_names_to_disk, force_to_disk
from lm_research.data.splits import SPLITS, Split

FORMAT = 4
DOCUMENT = np.dtype(
    [
        ("start", np.int64),  # position of the document's first token
        ("tokens", np.int64),  # without the separator that ends it
        ("bytes", np.int64),  # UTF-8 bytes of the text that was encoded
        ("words", np.int64),  # runs between white space
        ("spelling_nats", np.float64),  # cost of spelling unknown pieces; NaN: undefined
    ]
)
DOCUMENT_END = b"\xff"
"""What parts the documents in the digest of a text."""


class TokenSplit:
    """One split: ``ids_N`` as a read-only memory map, and its ``documents`` (DOCUMENT records)."""

    def __init__(self, folder: Path, name: Split, dtype: str) -> None:
        self.folder, self.name, self.dtype = folder, name, dtype

    @cached_property
    def ids_N(self) -> np.ndarray:  # noqa: N802 - the name carries the shape
        """The stream of ids; position 0 is a separator."""
        return _map(self.folder / f"{self.name}.bin", np.dtype(self.dtype))

    @cached_property
    def documents(self) -> np.ndarray:
        """DOCUMENT records, in the order of the stream, as a read-only memory map, too."""
        return _map(self.folder / f"{self.name}.documents.bin", DOCUMENT)

    @cached_property
    def units_N(self) -> np.ndarray:  # noqa: N802 - the name carries the shape
        """uint32 hashes of the units of all documents, one after the other; a memory map, too."""
        return _map(self.folder / f"{self.name}.units.bin", np.dtype(np.uint32))

    @cached_property
    def lengths_D(self) -> np.ndarray:  # noqa: N802 - the name carries the shape
        """int64, how many of ``units_N`` each document has; -1 where they are not known."""
        return _map(self.folder / f"{self.name}.lengths.bin", np.dtype(np.int64))

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "name": self.name, "dtype": self.dtype}

    def document(self, index: int) -> np.ndarray:
        """Ids of one document, int64, without separators."""
        record = self.documents[index]
        start = int(record["start"])
        return np.asarray(self.ids_N[start : start + int(record["tokens"])], dtype=np.int64)


def _map(file: Path, dtype: np.dtype) -> np.ndarray:
    if not file.stat().st_size:  # nothing cannot be mapped
        return np.empty(0, dtype)
    return np.memmap(file, dtype=dtype, mode="r")


@dataclass(frozen=True)
class TokenStore:
    """A finished store."""

    folder: Path
    meta: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "TokenStore":
        """Open a finished store."""
        return cls(folder, json.loads((folder / "meta.json").read_text(encoding="utf-8")))

    def split(self, name: Split) -> TokenSplit:
        """One of "train", "validation", "test"."""
        return TokenSplit(self.folder, name, self.meta["dtype"])

    def read_json(self, name: str) -> Any:
        """Content of ``name``.json, or None."""
        file = self.folder / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


class StoreWriter:
    """Writes a store document by document; nothing but sums is kept in memory."""

    def __init__(self, folder: Path, vocabulary_size: int, separator_id: int) -> None:
        self.final = folder
        self.folder, first = begin(folder, f"{SPLITS[0]}.bin")
        self.dtype = "uint16" if vocabulary_size <= 1 << 16 else "uint32"
        self.separator = np.array([separator_id], self.dtype).tobytes()
        self.files = {SPLITS[0]: first}
        self.files |= {name: (self.folder / f"{name}.bin").open("wb") for name in SPLITS[1:]}
        self.records = {name: (self.folder / f"{name}.documents.bin").open("wb") for name in SPLITS}
        self.units = {name: (self.folder / f"{name}.units.bin").open("wb") for name in SPLITS}
        self.lengths = {name: (self.folder / f"{name}.lengths.bin").open("wb") for name in SPLITS}
        self.hashes = {name: sha256() for name in SPLITS}
        self.text_hashes: dict[Split, Any] = {name: sha256() for name in SPLITS}
        self.counts = {name: {"documents": 0, "tokens": 0, "bytes": 0} for name in SPLITS}
        self.position = dict.fromkeys(SPLITS, 0)
        for name in SPLITS:
            self._write(name, self.separator)

    def _write(self, split: Split, data: bytes) -> None:
        self.files[split].write(data)
        self.hashes[split].update(data)
        self.position[split] += len(data) // np.dtype(self.dtype).itemsize

    def add(
        self,
        split: Split,
        ids_N: np.ndarray,
        text_bytes: int,
        words: int,
        spelling_nats: float,
        text: bytes | None = None,
        units_N: np.ndarray | None = None,
    ) -> None:
        """Append one document and the separator that ends it.

        Args:
            text: the UTF-8 bytes that were encoded, for the digest; a split with a document whose
                text is not given has none.
            units_N: uint32 hashes of the text's units; of a split with a document whose units are
                not given, nobody can tell what it shares with others.
        """
        record = (self.position[split], len(ids_N), text_bytes, words, spelling_nats)
        self.records[split].write(np.array(record, DOCUMENT).tobytes())
        counts = self.counts[split]
        counts["documents"] += 1
        counts["tokens"] += len(ids_N)
        counts["bytes"] += text_bytes
        self._write(split, ids_N.astype(self.dtype).tobytes())
        self._write(split, self.separator)
        self._hash_text(split, text)
        length = -1 if units_N is None else len(units_N)
        self.lengths[split].write(np.int64(length).tobytes())
        if units_N is not None:
            self.units[split].write(units_N.astype(np.uint32).tobytes())

    def _hash_text(self, split: Split, text: bytes | None) -> None:
        if text is None:
            self.text_hashes[split] = None
        elif self.text_hashes[split] is not None:
            self.text_hashes[split].update(text)
            self.text_hashes[split].update(DOCUMENT_END)

    def write_json(self, name: str, value: Any) -> None:
        """Put ``name``.json into the store."""
        (self.folder / f"{name}.json").write_text(
            json.dumps(value, ensure_ascii=False), encoding="utf-8"
        )

    def finish(self, meta: dict[str, Any]) -> TokenStore:
        """Write out, rename into place, and open. Another builder of the store may have won."""
        self.write_json("meta", {**self._whole(), **meta})
        for file in self._open_files():
            file.flush()
        force_to_disk(self.folder)
        try:
            os.rename(self.folder, self.final)
        except OSError:
            if not (self.final / "meta.json").exists():
                raise
            self.discard()
        force_names_to_disk(self.final.parent)
        self._close()  # not before: an open file says that somebody is building
        return TokenStore.open(self.final)

    def _whole(self) -> dict[str, Any]:
        """Counts and digests of what was written."""
        ids = {name: self.hashes[name].hexdigest() for name in SPLITS}
        texts = {name: h.hexdigest() if h else None for name, h in self.text_hashes.items()}
        return {
            "format": FORMAT,
            "dtype": self.dtype,
            "splits": {
                name: {**self.counts[name], "sha256": ids[name], "text_sha256": texts[name]}
                for name in SPLITS
            },
            "fingerprint": sha256("".join(ids.values()).encode()).hexdigest(),
        }

    def discard(self) -> None:
        """Remove what was written, after an error."""
        self._close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open_files(self) -> Iterator[BinaryIO]:
        for kind in (self.files, self.records, self.units, self.lengths):
            yield from kind.values()

    def _close(self) -> None:
        for file in self._open_files():
            file.close()
