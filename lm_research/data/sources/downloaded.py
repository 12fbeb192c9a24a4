"""What the sources of public corpora share: files by download, official splits, leaks mended."""

import hashlib
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO, ClassVar, Literal

import numpy as np

from lm_research.config.types import FoldCount, Fraction, NonNegativeInt
from lm_research.data.document import Category, DataError, Document, Source
from lm_research.data.downloads import Downloads, RemoteFile
from lm_research.data.folds import folds_by_label
from lm_research.data.sources.records import check_choice
from lm_research.data.sources.streams import record_lines
from lm_research.data.splits import SPLITS, split_of

LONGEST_RECORD = 64 << 20  # bytes of a line
LEAKED = "leaked from a held-out split"
Leaks = Literal["drop", "keep"]
SplitName = Literal["train", "validation", "test"]


class DownloadedSource(Source):
    """Documents out of files that are downloaded when they are needed first.

    A subclass says how a file becomes documents (``_documents``); it raises ``revision`` when it
    cuts the same files into other documents than before.

    Args:
        files: what there is to download, in the order in which it is read.
        downloads: the folder of all corpora's files.
        leaks: "drop" leaves out documents of the training split whose text is also in a held-out
            one (equal but for white space; of the splits that are read), and counts them in
            ``skipped``. "keep" is for published
            protocols, whose numbers are of the official text with what it leaks; what "drop" would
            leave out is counted in ``leaked``.
        only: official splits to read, of those that there are; ``None``: all. Files of the others
            are not downloaded.
        encoding: of the text.
        validation_share: of the training split's documents, by hash of the text: these become the
            validation split, where a corpus has no official one.
        folds: k of cross-validation, for a corpus without official splits: its documents are dealt
            out by label into k parts. Part number ``fold`` is the test split, the others are the
            training split, of which ``validation_share`` takes its own. ``None``: no such parts.
        fold: which part is held out, from 0.
        fold_seed: draws the parts.
    """

    revision: ClassVar[int] = 1

    def __init__(
        self,
        files: list[RemoteFile],
        downloads: str,
        leaks: Leaks = "drop",
        only: list[SplitName] | None = None,
        encoding: str = "utf-8",
        validation_share: Fraction = 0.0,
        folds: FoldCount | None = None,
        fold: NonNegativeInt = 0,
        fold_seed: NonNegativeInt = 0,
        *,
        name: str,
        language: str,
        category: Category,
        licence: str,
        citation: str,
    ) -> None:
        super().__init__(
            name=name, language=language, category=category, licence=licence, citation=citation
        )
        check_choice("leaks", leaks, ("drop", "keep"))
        for split in only or ():
            check_choice("only", split, SPLITS)
        if not files:
            raise ValueError("files: at least one")
        _check_folds(files, folds, fold)
        wanted = {None, *(only or SPLITS)}
        if validation_share and "validation" in wanted:
            wanted.add("train")
        self.files = [file for file in files if file.split in wanted]
        if not self.files:
            raise ValueError(f"only={only}: no file holds documents of these splits")
        self.downloads = Downloads(downloads)
        self.leaks = leaks
        self.leaked = 0
        self.only = only
        self.encoding = encoding
        self.validation_share = validation_share
        self.folds, self.fold, self.fold_seed = folds, fold, fold_seed

    @abstractmethod
    def _documents(self) -> Iterator[Document]:
        """Cut the files, which are here, into documents; what is left out goes into ``skipped``."""

    def fetch(self) -> None:
        """Download what is missing, and check what is here.

        Raises:
            DataError: a wrong checksum, or a file that cannot be had.
        """
        self.downloads.fetch(self.files, f"data={self.name}")

    def __iter__(self) -> Iterator[Document]:
        self.fetch()
        fold_N = self._dealt()
        held_out = self._held_out(fold_N)
        self.skipped, self.leaked = Counter(), 0
        for document in self._wanted(fold_N):
            leaked = document.split == "train" and _key(document) in held_out
            self.leaked += leaked
            if leaked and self.leaks == "drop":
                self.skipped[LEAKED] += 1
            else:
                yield document

    def signature(self) -> str:
        """How the files are cut, and their checksums; of one without, size and time of change.

        Such a file is downloaded if it is not here; for the others no file is looked at.
        """
        unverified = [file for file in self.files if file.sha256 is None]
        if unverified:
            self.downloads.fetch(unverified, f"data={self.name}")
        stats = [self.downloads.stat(file) for file in unverified]
        files = [file.content() for file in self.files]
        described = {"skipped", "leaked", "language", "category", "licence", "citation"}
        described |= {"files", "downloads"}
        if self.folds is None:
            described |= {"folds", "fold", "fold_seed"}
        if getattr(self, "label_separator", None) is None:
            described |= {"label_separator"}
        options = {key: value for key, value in vars(self).items() if key not in described}
        content = json.dumps([self.revision, options, files, stats], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        return f"{type(self).__name__}:{len(files)} files:{digest}"

    def _dealt(self) -> np.ndarray | None:
        """The fold of each document, in the order of ``_documents``; None: there are no folds."""
        if self.folds is None:
            return None
        labels = [document.label for document in self._documents()]
        return folds_by_label(labels, self.folds, self.fold_seed)

    def _held_out(self, fold_N: np.ndarray | None) -> set[bytes]:
        """Keys of the held-out documents' texts, of the splits that are read."""
        return {_key(doc) for doc in self._wanted(fold_N) if doc.split in ("validation", "test")}

    def _wanted(self, fold_N: np.ndarray | None) -> Iterator[Document]:
        for number, document in enumerate(self._documents()):
            if fold_N is not None:
                part = "test" if fold_N[number] == self.fold else "train"
                document = replace(document, split=part)
            if document.split == "train" and self.validation_share:
                unsplit = replace(document, split=None)
                document = replace(document, split=split_of(unsplit, self.validation_share, 0.0, 0))
            if self.only is None or document.split in self.only:
                yield document

    @contextmanager
    def _open(self, file: RemoteFile) -> Iterator[BinaryIO]:
        """The content of a file that is here, or of its member."""
        with self.downloads.open(file) as content:
            yield content

    def _lines(self, file: RemoteFile) -> Iterator[str]:
        """The lines of a file, without their ends: LF, or CR LF."""
        with self._open(file) as content:
            for number, line in enumerate(record_lines(content, LONGEST_RECORD), start=1):
                yield self._text(line, f"{file.name}, line {number}").rstrip("\n").rstrip("\r")

    def _text(self, content: bytes, where: str) -> str:
        try:
            return content.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise DataError(
                f"data={self.name}: {where}: not {self.encoding} ({error.reason}); fix: "
                "data.encoding=ENCODING"
            ) from error

    def _id(self, file: RemoteFile, number: int) -> str:
        """ "ptb/train/17", or by the file's name where it is of no split."""
        part = file.split or file.name.rpartition("/")[2]
        return f"{self.name}/{part}/{number}"

    def _beside(self, text: RemoteFile, role: str) -> RemoteFile | None:
        """The file that holds labels or targets, line for line, of a file of text."""
        found = [file for file in self.files if file.role == role and file.split == text.split]
        return found[0] if found else None


def _check_folds(files: Sequence[RemoteFile], folds: int | None, fold: int) -> None:
    """Raises ``ValueError``."""
    if folds is None and fold:
        raise ValueError(f"fold is {fold}, and there are no folds; fix: folds=10, or fold=0")
    if folds is not None and not 0 <= fold < folds:
        raise ValueError(f"fold is {fold}; of {folds} folds it must be 0 to {folds - 1}")
    official = [file.name for file in files if file.split is not None]
    if folds is not None and official:
        raise ValueError(
            f"folds is {folds}, and {official[0]} is of an official split; fix: folds=null"
        )


def texts(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """The files that hold text."""
    return [file for file in files if file.role == "text"]


def _key(document: Document) -> bytes:
    """The same for texts that differ in white space alone."""
    normal = " ".join(document.text.split())
    return hashlib.blake2b(normal.encode("utf-8", "surrogatepass"), digest_size=16).digest()
