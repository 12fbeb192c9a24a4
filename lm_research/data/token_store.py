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

Of each split ``meta.json`` has the CRC-32 of its files, by which a damaged one is found when the
store is opened (3 GB a second), and two digests. ``sha256`` is of the ids, and tells tokenizers
apart. ``text_sha256`` is of the text that they stand for, as it was handed to the tokenizer: scores
per byte compare where it is the same. It is the SHA-256 of the documents' UTF-8 bytes in the order
of the stream, each followed by the byte 0xFF, which UTF-8 does not have.
"""

import json
import os
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lm_research.data.construction import begin, force_names_to_disk, force_to_disk
from lm_research.data.splits import SPLITS, Split
from lm_research.data.stages.encoded import Encoded, id_dtype

FORMAT = 6
DOCUMENT = np.dtype(
    [
        ("start", np.int64),  # position of the document's first token
        ("tokens", np.int64),  # without the separator that ends it
        ("bytes", np.int64),  # UTF-8 bytes of the text that was encoded
        ("words", np.int64),  # runs between white space
        ("spelling_nats", np.float64),  # cost of spelling unknown pieces; NaN: undefined
    ]
)
_BLOCK = 1 << 24
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

    def counts(self, vocabulary_size: int) -> np.ndarray:
        """counts_V: int64, how often each id occurs in the stream."""
        counts_V = np.zeros(vocabulary_size, np.int64)
        for first in range(0, len(self.ids_N), _BLOCK):
            counts_V += np.bincount(self.ids_N[first : first + _BLOCK], minlength=vocabulary_size)
        return counts_V

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

    def damaged(self) -> list[str]:
        """Names of the files whose content is not what was written."""
        wanted: dict[str, int] = {}
        beside = (self.meta.get(name) or {"crc32": {}} for name in ("pairs", "tagging"))
        for part in (*self.meta["splits"].values(), *beside):
            wanted |= part["crc32"]
        return [name for name, crc in wanted.items() if _crc32(self.folder / name) != crc]

    def read_json(self, name: str) -> Any:
        """Content of ``name``.json, or None."""
        file = self.folder / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _crc32(file: Path) -> int | None:
    """CRC-32 of a file's content; None if it cannot be read."""
    crc = 0
    try:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                crc = zlib.crc32(block, crc)
    except OSError:
        return None
    return crc


class _Column:
    """A file that grows by arrays, and the CRC-32 of what it holds."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.crc = file, 0

    def add(self, values_N: np.ndarray) -> memoryview:
        """Append an array; returns its bytes."""
        data = np.ascontiguousarray(values_N).view(np.uint8).data
        self.file.write(data)
        self.crc = zlib.crc32(data, self.crc)
        return data


def _chosen(values_N: np.ndarray, lengths_D: np.ndarray, chosen_D: np.ndarray) -> np.ndarray:
    """The values of the documents that are chosen, copied run by run of neighbours."""
    ends_D = np.cumsum(lengths_D)
    changes = np.flatnonzero(np.diff(chosen_D, prepend=False, append=False))
    borders = np.concatenate([[0], ends_D])[changes].tolist()
    runs = [values_N[a:b] for a, b in zip(borders[::2], borders[1::2], strict=True)]
    return runs[0] if len(runs) == 1 else np.concatenate(runs)


KINDS = ("bin", "documents.bin", "units.bin", "lengths.bin")


class StoreWriter:
    """Writes a store by documents or blocks of them; nothing but sums is kept in memory."""

    def __init__(self, folder: Path, vocabulary_size: int, separator_id: int) -> None:
        self.final = folder
        self.folder, first = begin(folder, f"{SPLITS[0]}.{KINDS[0]}")
        self.dtype, self.separator_id = id_dtype(vocabulary_size), separator_id
        self.columns = {(SPLITS[0], KINDS[0]): _Column(first)}
        for name, kind in product(SPLITS, KINDS):
            if (name, kind) not in self.columns:
                file = (self.folder / f"{name}.{kind}").open("wb")
                self.columns[name, kind] = _Column(file)
        self.hashes = {name: sha256() for name in SPLITS}
        self.text_hashes: dict[Split, Any] = {name: sha256() for name in SPLITS}
        self.counts = {name: {"documents": 0, "tokens": 0, "bytes": 0} for name in SPLITS}
        self.position = dict.fromkeys(SPLITS, 0)
        for name in SPLITS:
            self._write(name, np.array([separator_id], self.dtype))

    def _write(self, split: Split, ids_N: np.ndarray) -> None:
        self.hashes[split].update(self.columns[split, "bin"].add(ids_N))
        self.position[split] += len(ids_N)

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
        one = (np.array([value]) for value in (len(ids_N), text_bytes, words, spelling_nats))
        stream = np.full(len(ids_N) + 1, self.separator_id, self.dtype)
        stream[:-1] = ids_N
        self._add(split, stream, *one)
        self._add_units(split, np.array([-1 if units_N is None else len(units_N)]), units_N)
        self._hash_text(split, None if text is None else text + DOCUMENT_END)

    def add_block(self, encoded: Encoded, texts: Sequence[str]) -> None:
        """Append documents of all splits, each with the separator that ends it.

        Args:
            encoded: of ``texts``.
        """
        for place, split in enumerate(SPLITS):
            chosen_D = encoded.splits_D == place
            if not chosen_D.any():
                continue
            ids_N = _chosen(encoded.ids_N, encoded.tokens_D + 1, chosen_D)
            columns = (encoded.tokens_D, encoded.bytes_D, encoded.words_D, encoded.nats_D)
            self._add(split, ids_N, *(column[chosen_D] for column in columns))
            units_N = _chosen(encoded.units_N, encoded.lengths_D, chosen_D)
            self._add_units(split, encoded.lengths_D[chosen_D], units_N)
            data = [texts[i].encode() for i in np.flatnonzero(chosen_D).tolist()]
            self._hash_text(split, DOCUMENT_END.join([*data, b""]))

    def _add(
        self,
        split: Split,
        stream: np.ndarray,
        tokens_D: np.ndarray,
        bytes_D: np.ndarray,
        words_D: np.ndarray,
        nats_D: np.ndarray,
    ) -> None:
        """Documents of one split: their ids, a separator behind each, and their records."""
        ends_D = np.cumsum(tokens_D + 1)
        records = np.empty(len(tokens_D), DOCUMENT)
        records["start"] = self.position[split] + ends_D - tokens_D - 1
        records["tokens"], records["bytes"], records["words"] = tokens_D, bytes_D, words_D
        records["spelling_nats"] = nats_D
        self.columns[split, "documents.bin"].add(records)
        tokens, text_bytes = int(tokens_D.sum()), int(bytes_D.sum())
        sums = {"documents": len(tokens_D), "tokens": tokens, "bytes": text_bytes}
        self.counts[split] = {key: n + sums[key] for key, n in self.counts[split].items()}
        self._write(split, stream)

    def _add_units(self, split: Split, lengths_D: np.ndarray, units_N: np.ndarray | None) -> None:
        self.columns[split, "lengths.bin"].add(lengths_D.astype(np.int64))
        if units_N is not None:
            self.columns[split, "units.bin"].add(units_N.astype(np.uint32))

    def _hash_text(self, split: Split, data: bytes | None) -> None:
        if data is None:
            self.text_hashes[split] = None
        elif self.text_hashes[split] is not None:
            self.text_hashes[split].update(data)

    def write_json(self, name: str, value: Any) -> None:
        """Put ``name``.json into the store."""
        (self.folder / f"{name}.json").write_text(
            json.dumps(value, ensure_ascii=False), encoding="utf-8"
        )

    def finish(self, meta: dict[str, Any]) -> TokenStore:
        """Write out, rename into place, and open. Another builder of the store may have won."""
        self.write_json("meta", {**self._whole(), **meta})
        for column in self.columns.values():
            column.file.flush()
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
            "dtype": self.dtype.name,
            "splits": {
                name: {
                    **self.counts[name],
                    "crc32": {f"{name}.{kind}": self.columns[name, kind].crc for kind in KINDS},
                    "sha256": ids[name],
                    "text_sha256": texts[name],
                }
                for name in SPLITS
            },
            "fingerprint": sha256("".join(ids.values()).encode()).hexdigest(),
        }

    def discard(self) -> None:
        """Remove what was written, after an error."""
        self._close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _close(self) -> None:
        for column in self.columns.values():
            column.file.close()
