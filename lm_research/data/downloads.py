"""Files of public corpora: one folder of them, filled by downloads with checksums, or by hand.

A file is known by its name below the folder (``ptb/ptb.train.txt``) and by the SHA-256 of its
content. It may lie there compressed (``ptb.train.txt.gz``): the checksum is of what comes out. The
folder may be read-only, as one that a group shares is: where nothing is missing nothing is written.
"""

import fcntl
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar, Literal
from urllib.parse import urlsplit

from lm_research.data.archives import is_archive, member, told
from lm_research.data.document import DataError
from lm_research.data.sources.streams import OPENERS, READ_ERRORS
from lm_research.data.splits import Split
from lm_research.data.transfers import Bar, TransferError, transfer

Role = Literal["text", "label", "target"]
State = Literal["here", "wrong checksum", "not here"]
COMPRESSED = ("", ".gz", ".xz", ".bz2", ".zst")
_SHA256 = re.compile("[0-9a-f]{64}")
_BLOCK = 1 << 20


class RemoteFile:
    """One file of a corpus: where it comes from, and what is in it.

    Args:
        name: its path below the downloads folder.
        urls: addresses (http, https), tried in this order. ``ADDRESS#MEMBER`` takes one member out
            of the zip or tar archive at the address. Where an address ends in ``.gz`` or the like
            and ``name`` does not, the file is kept compressed.
        sha256: of the content, uncompressed where the folder holds it compressed; ``None``: nobody
            has published or computed it, and what is there is taken as it is.
        split: the official split whose documents it holds, if it holds those of one.
        role: what it holds, line for line beside the text: labels, or targets.
        label: of every document in it.
        columns: the names of a table's columns, where it has no header row.
        member: the member to read where the file itself is an archive that is kept as it is; ``*``
            and ``?`` stand for other characters.
        archive_sha256: of the archives at addresses with ``#MEMBER``, where that is known and
            ``sha256`` is not: what is downloaded is then checked, a copy of one's own is not.

    Raises:
        ValueError: a name outside the folder, an address of another kind, no SHA-256.
    """

    def __init__(
        self,
        name: str,
        urls: list[str],
        sha256: str | None,
        split: Literal["train", "validation", "test"] | None = None,
        role: Literal["text", "label", "target"] = "text",
        label: str | None = None,
        columns: list[str] | None = None,
        member: str | None = None,
        archive_sha256: str | None = None,
    ) -> None:
        _check(name, urls, sha256 or archive_sha256)
        self.name = name
        self.urls = list(urls)
        self.sha256 = sha256
        self.split: Split | None = split
        self.role: Role = role
        self.label = label
        self.columns = columns
        self.member = member
        self.archive_sha256 = archive_sha256

    def content(self) -> list[Any]:
        """What documents depend on: all but the addresses. Plain values."""
        fields = (self.sha256, self.split, self.role, self.label, self.columns, self.member)
        return [self.name, *fields]


def _check(name: str, urls: list[str], sha256: str | None) -> None:
    path = PurePosixPath(name)
    parts = path.parts
    if not parts or path.is_absolute() or any(p.startswith(".") or "\\" in p for p in parts):
        raise ValueError(f"name={name!r}: a path below the downloads folder, without '..' or '\\'")
    if "\0" in name or "//" in name or name.endswith("/"):
        raise ValueError(f"name={name!r}: a file's path below the downloads folder")
    for url in urls:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ValueError(f"urls: {url!r} is no http or https address")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise ValueError(f"sha256={sha256!r} ({name}): 64 hex digits in lower case, or null")


class Downloads:
    """The folder.

    Args:
        folder: ``~`` stands for the home folder; made when the first file is downloaded.
    """

    _verified: ClassVar[dict[tuple[str, int, int], str]] = {}
    """Digests of contents by path, size and time of change: a run reads a corpus several times."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).expanduser()

    def find(self, file: RemoteFile) -> Path | None:
        """Where the file lies, compressed or not, whatever is in it; None: it is not here."""
        candidates = (self.folder / f"{file.name}{suffix}" for suffix in COMPRESSED)
        return next((path for path in candidates if path.is_file()), None)

    def state(self, file: RemoteFile) -> State:
        """Whether it is here, and whole. Reads it once in a process."""
        path = self.find(file)
        if path is None:
            return "not here"
        whole = file.sha256 in (None, self._digest(path, file))
        return "here" if whole else "wrong checksum"

    def stat(self, file: RemoteFile) -> tuple[int, int]:
        """Size in bytes and time of change in ns, of a file that is here."""
        found = self.path(file).stat()
        return found.st_size, found.st_mtime_ns

    @contextmanager
    def open(self, file: RemoteFile) -> Iterator[BinaryIO]:
        """The content of a file that is here; of its member, if it names one."""
        path = self.path(file)
        if file.member is not None:
            with member(path, file.member) as content:
                yield content
        else:
            with told(path), _opened(path, file) as content:
                yield content

    def path(self, file: RemoteFile) -> Path:
        """Where a file lies that is here. Raises ``DataError`` if it is not."""
        path = self.find(file)
        if path is None:
            raise DataError(f"{self.folder / file.name} has gone; fix: run the same command again")
        return path

    def fetch(self, files: Sequence[RemoteFile], title: str) -> None:
        """Check the files that are here and download the others.

        Args:
            files: of one corpus.
            title: what they are, for messages: "data=ptb".

        Raises:
            DataError: a file with another checksum; or one that is neither here nor can be had.
        """
        for file in files:
            if (path := self.find(file)) is not None:
                self._require(path, file, title)
        # Of one archive several members may be read.
        missing = {file.name: file for file in files if self.find(file) is None}.values()
        for parent in dict.fromkeys(PurePosixPath(file.name).parent for file in missing):
            group = [file for file in missing if PurePosixPath(file.name).parent == parent]
            self._download(group, self.folder / parent, title)

    def _require(self, path: Path, file: RemoteFile, title: str) -> None:
        if file.sha256 is None:
            return
        found = self._digest(path, file)
        if found != file.sha256:
            unpacked = "" if path.name == Path(file.name).name else " (of its content, unpacked)"
            raise DataError(
                f"{title}: {path} has sha256 {found}{unpacked},\n  expected {file.sha256}\n"
                "  fix: move it away and run the same command again, which fetches it anew; or, if "
                "it is what you want, set this file's sha256 to null"
            )

    def _digest(self, path: Path, file: RemoteFile) -> str:
        stat = path.stat()
        key = (os.path.abspath(path), stat.st_size, stat.st_mtime_ns)
        if key not in self._verified:
            with _opened(path, file) as content:
                try:
                    self._verified[key] = hashlib.file_digest(content, "sha256").hexdigest()
                except READ_ERRORS as error:
                    raise DataError(
                        f"{path} is damaged or cut short: {error}; fix: move it away and run the "
                        "same command again"
                    ) from error
        return self._verified[key]

    def _download(self, files: list[RemoteFile], folder: Path, title: str) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(folder, title), _progress() as progress:
                fetcher = _Fetcher(self, folder, progress)
                try:
                    refused = {f: why for f in files if (why := fetcher.fetch(f))}
                finally:
                    fetcher.close()
        except OSError as error:
            refused = {file: [f"{self.folder}: {error}"] for file in files}
        if refused:
            raise self._not_here(refused, title)

    def _not_here(self, refused: dict[RemoteFile, list[str]], title: str) -> DataError:
        lines = [f"{title}: {len(refused)} of its files cannot be had"]
        for file, reasons in refused.items():
            lines += [f"  {file.name}", *(f"    {reason}" for reason in reasons)]
            lines += [f"    a copy of your own may lie at {self.folder / file.name}"]
        suffixes = ", ".join(COMPRESSED[1:])
        lines += [
            f"  fix: with a network, run the same command again, which goes on where it stopped; "
            f"without one, put copies there (also compressed: {suffixes}),",
            "    or name a folder that has them: downloads=FOLDER, or LM_RESEARCH_DOWNLOADS=FOLDER",
        ]
        return DataError("\n".join(lines))


class _Fetcher:
    """Downloads of one folder below the whole one; its lock is held by the caller."""

    def __init__(self, downloads: Downloads, folder: Path, progress: Any) -> None:
        self.downloads, self.folder, self.progress = downloads, folder, progress
        self.archives: set[Path] = set()
        self.unreachable: set[str] = set()

    def fetch(self, file: RemoteFile) -> list[str]:
        """What each address said; nothing if the file is here now."""
        if self.downloads.find(file) is not None:  # another process has brought it
            return []
        reasons = []
        for url in file.urls:
            host = urlsplit(url).netloc
            if host in self.unreachable:
                reasons.append(f"{url}: as before")
                continue
            try:
                self._from(url, file)
                return []
            except (TransferError, DataError) as error:
                if getattr(error, "unreachable", False):
                    self.unreachable.add(host)
                reasons.append(f"{url}: {error}")
        return reasons or ["it has no address"]

    def close(self) -> None:
        """Remove the archives whose members are wanted no more."""
        for path in self.archives:
            path.unlink(missing_ok=True)

    def _from(self, url: str, file: RemoteFile) -> None:
        address, _, inside = url.partition("#")
        suffix = "" if inside else _kept_suffix(address, file)
        part = self._part(address, suffix or PurePosixPath(urlsplit(address).path).suffix)
        resumed = self._bring(address, part, file)
        if inside:
            self._check_archive(part, file)
            part = self._extract(part, inside, file)
        found = _sha256(part, suffix)
        if file.sha256 not in (None, found):
            part.unlink()
            if resumed and not inside:  # the end of one edition may have come to another's start
                self._from(url, file)
                return
            raise TransferError(f"wrong checksum: sha256 {found}, expected {file.sha256}")
        _place(part, self.downloads.folder / f"{file.name}{suffix}")
        if file.sha256 is None and file.archive_sha256 is None:
            self._say(f"{file.name}: not verified; its sha256 is {found}")

    def _say(self, line: str) -> None:
        self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _part(self, address: str, suffix: str) -> Path:
        """What has come of an address so far: hidden, in the folder itself, so that it can move."""
        name = hashlib.sha256(address.encode()).hexdigest()[:12]
        return self.folder / f".{name}.part{suffix}"

    def _bring(self, address: str, part: Path, file: RemoteFile) -> bool:
        if part in self.archives:
            return False
        if file.sha256 is None and file.archive_sha256 is None:
            part.unlink(missing_ok=True)  # nothing would tell that it is another edition's
        if self.progress.disable:
            self._say(f"downloading {file.name} from {urlsplit(address).netloc}")
        bar = Bar(self.progress, PurePosixPath(file.name).name)
        return transfer(address, part, bar)

    def _check_archive(self, part: Path, file: RemoteFile) -> None:
        self.archives.add(part)
        if file.archive_sha256 is None:
            return
        found = _sha256(part, "")
        if found != file.archive_sha256:
            self._drop(part)
            raise TransferError(
                f"wrong checksum: the archive has sha256 {found}, expected {file.archive_sha256}"
            )

    def _drop(self, archive: Path) -> None:
        archive.unlink(missing_ok=True)
        self.archives.discard(archive)

    def _extract(self, archive: Path, inside: str, file: RemoteFile) -> Path:
        out = archive.with_name(f"{archive.name}.member")
        try:
            with member(archive, inside) as content, out.open("wb") as target:
                while block := content.read(_BLOCK):
                    target.write(block)
        except DataError:
            out.unlink(missing_ok=True)
            self._drop(archive)
            raise
        return out


def _kept_suffix(address: str, file: RemoteFile) -> str:
    """The compression that the file keeps in the folder."""
    suffix = PurePosixPath(urlsplit(address).path).suffix.lower()
    compressed = suffix in COMPRESSED[1:] and not file.name.lower().endswith(suffix)
    return suffix if compressed and not is_archive(address) else ""


def _opened(path: Path, file: RemoteFile) -> Any:
    """The content, decompressed if the folder has added a compression's suffix."""
    added = path.name[len(PurePosixPath(file.name).name) :]
    return OPENERS[added](path) if added else path.open("rb")


def _sha256(path: Path, suffix: str) -> str:
    try:
        with OPENERS[suffix](path) if suffix else path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except READ_ERRORS as error:
        path.unlink()
        raise TransferError(f"what came is damaged: {error}") from error


def _place(part: Path, final: Path) -> None:
    """Move a whole file to its place, once the disk has it; what lies there is not replaced."""
    descriptor = os.open(part, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    if not final.exists():  # or somebody has put one there by hand meanwhile
        os.rename(part, final)


@contextmanager
def _alone(folder: Path, title: str) -> Iterator[None]:
    """Let one process download into a folder at a time; the kernel drops the lock of a dead one."""
    with (folder / ".lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{title}: another process is downloading to {folder}; waiting", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # no locks on this file system: checksums find what two would spoil
        yield


def _progress() -> Any:
    """Bars on a terminal; a line a file elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
