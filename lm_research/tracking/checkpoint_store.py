"""The checkpoints of a run: whole, verified, the newest ones and the best ones.

    checkpoints/step-00000120.ckpt    the state of training after 120 steps
    checkpoints/index.json            which there are: step, bytes, sha256, score

A checkpoint is written beside its place, forced to the disk, renamed, and only then named in the
index; what the index no longer names is deleted last. A crash or a full disk at any moment leaves
every checkpoint of the index whole. A file that is not what the index says is never loaded.
"""

import contextlib
import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_research.config.checks import describe, fits, hints
from lm_research.config.untrusted import open_plain
from lm_research.tracking.errors import write_error
from lm_research.tracking.json_files import read_json, sync_folder, write_json

FORMAT = 1
"""Version of the index and of what our callbacks keep in a checkpoint; later ones are refused."""

_OURS = re.compile(r"step-\d{8,}\.ckpt")


class CheckpointError(Exception):
    """A checkpoint that cannot be used: says which file, what is wrong, and the fix."""


@dataclass(frozen=True)
class Entry:
    """What the index says of a checkpoint.

    Attributes:
        file: its name in the folder.
        step: optimizer steps done.
        bytes, sha256: of the whole file.
        score: what ``best`` goes by, lower is better; None where undefined.
        interim: not due, but asked for by a signal; it goes when the next one has come, so that a
            run that was stopped keeps what an undisturbed one keeps.
    """

    file: str
    step: int
    bytes: int
    sha256: str
    score: float | None = None
    interim: bool = False


class CheckpointStore:
    """The folder ``checkpoints/`` of a run.

    Args:
        folder: the folder; it need not exist for reading.
        keep_last: how many of the newest checkpoints stay.
        keep_best: how many of those with the lowest score stay.
    """

    def __init__(self, folder: Path, keep_last: int = 2, keep_best: int = 1) -> None:
        self.folder = folder
        self.keep_last, self.keep_best = keep_last, keep_best

    def entries(self) -> list[Entry]:
        """All checkpoints of the index, the oldest first.

        Raises:
            CheckpointError: the index is damaged, or of a later version.
            RunFolderError: it is not JSON.
        """
        path = self.folder / "index.json"
        if not path.exists():
            return []
        index = read_json(path)
        written = index.get("format")
        if not isinstance(written, int) or written > FORMAT:
            raise CheckpointError(
                f"{path}: written in format {written!r}, this version reads up to {FORMAT}. "
                "Update lm-research."
            )
        try:
            found = [_entry(values) for values in index["checkpoints"]]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: damaged ({error}). Move the file away.") from error
        return sorted(found, key=lambda entry: entry.step)

    def part(self, step: int) -> Path:
        """Where to write the checkpoint of ``step`` before :meth:`commit`."""
        return self.folder / f"{_name(step)}.part"

    def commit(self, step: int, score: float | None = None, interim: bool = False) -> Entry:
        """Make the written :meth:`part` of ``step`` a checkpoint, and let go of what is not kept.

        Raises:
            RunFolderError: the disk refused; every older checkpoint is whole.
        """
        part = self.part(step)
        path = self.folder / _name(step)
        try:
            with part.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            entry = Entry(path.name, step, part.stat().st_size, digest, score, interim)
            os.replace(part, path)
            sync_folder(self.folder)
        except OSError as error:
            raise write_error(path, error) from error
        others = [other for other in self.entries() if other.step < step]
        self._write_index(self._kept([*others, entry]))
        return entry

    def discard(self, step: int) -> None:
        """Delete a :meth:`part` that could not be written whole."""
        _delete(self.part(step))

    def whole(self) -> Iterator[tuple[Entry, str | None]]:
        """Checkpoints from the newest to the oldest, each with what is wrong with it, or None."""
        for entry in reversed(self.entries()):
            yield entry, self._fault(entry)

    def path(self, name: str) -> Path:
        """The file of the ``last`` or the ``best`` checkpoint, verified.

        Raises:
            CheckpointError: there is none, or it is damaged; says what else there is.
        """
        chosen = self.entry(name)
        if fault := self._fault(chosen):
            sound = [e.file for e, wrong in self.whole() if wrong is None]
            fix = (
                "try checkpoint=" + ("last" if name == "best" else "best")
                if sound
                else ("train again with another output=FOLDER")
            )
            raise CheckpointError(f"{self.folder / chosen.file}: damaged ({fault}); {fix}")
        return self.folder / chosen.file

    def entry(self, name: str) -> Entry:
        """What the index says of the ``last`` or the ``best`` checkpoint; the file is not read.

        Raises:
            CheckpointError: there is none.
        """
        entries = self.entries()
        if not entries:
            raise CheckpointError(f"{self.folder}: no checkpoint there; has the run been trained?")
        scored = [entry for entry in entries if entry.score is not None]
        best = min(scored, key=lambda entry: entry.score or 0.0) if scored else entries[-1]
        return best if name == "best" else entries[-1]

    def clean(self) -> None:
        """Delete the parts that a killed process left. A checkpoint of unknown origin stays."""
        for file in self.folder.glob("step-*.ckpt.part"):
            _delete(file)

    def forget(self, entry: Entry) -> None:
        """Take a checkpoint off the index; a damaged file is kept beside it, for a look."""
        path = self.folder / entry.file
        if path.exists():
            os.replace(path, path.with_suffix(".damaged"))
        self._write_index([other for other in self.entries() if other != entry])

    def _kept(self, entries: list[Entry]) -> list[Entry]:
        lasting = [entry for entry in entries[:-1] if not entry.interim]
        newest = [*lasting, entries[-1]][-(self.keep_last + entries[-1].interim) :]
        scored = sorted((e for e in entries if e.score is not None), key=lambda e: e.score or 0.0)
        best = scored[: self.keep_best]
        return [entry for entry in entries if entry in newest or entry in best]

    def _write_index(self, entries: list[Entry]) -> None:
        """Replace the index, then delete what it no longer names."""
        dropped = {entry.file for entry in self.entries()} - {entry.file for entry in entries}
        rows = [dataclasses.asdict(entry) for entry in entries]
        write_json(self.folder / "index.json", {"format": FORMAT, "checkpoints": rows})
        for name in dropped:
            _delete(self.folder / name)

    def _fault(self, entry: Entry) -> str | None:
        path = self.folder / entry.file
        try:
            with open(open_plain(path), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != entry.bytes:
                    return f"{size:,} bytes, {entry.bytes:,} were written"
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return error.strerror or str(error)
        return None if digest == entry.sha256 else "its bytes are not those that were written"


def require_format(saved: Any, path: Path) -> None:
    """Refuse a checkpoint that our callbacks have not written in this version's format.

    An earlier format will be converted here, one version at a time; there is none yet
    (tests/callbacks/golden holds a run of each).

    Raises:
        CheckpointError: with both formats.
    """
    said = saved.get("lm_research") if isinstance(saved, dict) else None
    written = said.get("format") if isinstance(said, dict) else None
    if written != FORMAT:
        raise CheckpointError(
            f"{path}: of format {written!r}, this version reads {FORMAT}. Update lm-research, or "
            "give another output=FOLDER."
        )


def _delete(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()


def _name(step: int) -> str:
    return f"step-{step:08}.ckpt"


def _entry(values: dict[str, Any]) -> Entry:
    entry = Entry(**values)
    if not (isinstance(entry.file, str) and _OURS.fullmatch(entry.file)):
        raise ValueError(f"{entry.file!r} is no name of a checkpoint")
    if entry.score is not None and entry.score != entry.score:
        entry = dataclasses.replace(entry, score=None)  # NaN orders nothing
    for name, annotation in hints(Entry).items():
        if not fits(value := getattr(entry, name), annotation):
            raise ValueError(f"{name}: {value!r}, expected {describe(annotation)}")
    return entry
