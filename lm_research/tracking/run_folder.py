"""The folder of a run, which alone is enough to read, rebuild and continue it.

    config.yaml        the resolved configuration, which rebuilds the run
    status.json        id, state, step, times, error (``status.Status``)
    metrics.jsonl      one row a logged step: step, tokens, seconds and the numbers; the truth
    samples.jsonl      generated text: step, prompt, text
    histograms.jsonl   distributions of weights and gradients, where asked for: step, values
    summary.json       the numbers that tables use
    data.json          what the data was: sources, sizes, fingerprint
    environment.json   machine, versions, command and git state; the uncommitted changes are in
                       git.diff; what a later attempt found different is in environment-2.json
    tokenizer.json     the vocabulary
    checkpoints/       weights and the state of training
    error.txt          tracebacks of the attempts that failed
    wandb/             W&B's own copy

One process writes a folder at a time, by a lock that a killed process cannot leave behind. Files
are replaced whole or appended row by row, so that a crash at any moment leaves a folder that can
be read and continued. Nothing found in a folder is overwritten by another run.
"""

import contextlib
import dataclasses
import enum
import errno
import logging
import re
import secrets
import time
import traceback
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from lm_research.tracking.config_file import read_config, write_config
from lm_research.tracking.errors import RunFolderError, RunFolderTakenError, write_error
from lm_research.tracking.folder_lock import FolderLock
from lm_research.tracking.json_files import append_text, read_json, write_json
from lm_research.tracking.json_lines import JsonLines
from lm_research.tracking.links import refuse_links
from lm_research.tracking.redaction import redacted
from lm_research.tracking.run_identity import config_hash, difference_table
from lm_research.tracking.status import RUN_ID, State, Status, now

_log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
"""How often a running run says that it lives, at most."""

_CONTENT = (
    "status.json",
    "metrics.jsonl",
    "samples.jsonl",
    "histograms.jsonl",
    "summary.json",
    "data.json",
    "environment.json",
    "tokenizer.json",
    "checkpoints",
)
_LEFTOVER = re.compile(r"\.[\w.-]+\.(json|yaml)\.\d+\.tmp")
_LONGEST_ERROR = 500


class FolderState(enum.Enum):
    """What :meth:`RunFolder.create` found."""

    NEW = "new"
    UNFINISHED = "unfinished"
    DONE = "done"


class RunFolder:
    """The files of one run; opened for reading here, for writing by :meth:`create`.

    Args:
        path: the folder; it need not exist for reading what is not there.

    Attributes:
        path: the absolute path.
        state: what ``create`` found; ``None`` when opened for reading.
        metrics: the rows of metrics.jsonl.
        samples: the rows of samples.jsonl.
        histograms: the rows of histograms.jsonl.
        checkpoints: the folder of checkpoints; ``create`` makes it.
        tokenizer: the path of tokenizer.json.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self.state: FolderState | None = None
        self.metrics = JsonLines(self.path / "metrics.jsonl")
        self.samples = JsonLines(self.path / "samples.jsonl")
        self.histograms = JsonLines(self.path / "histograms.jsonl")
        self.checkpoints = self.path / "checkpoints"
        self.tokenizer = self.path / "tokenizer.json"
        self._lock = FolderLock(self.path)
        self._status: Status | None = None
        self._config: dict[str, Any] | None = None
        self._beat = 0.0

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: Mapping[str, Any],
        *,
        run_id: str | None = None,
        resume: bool = True,
    ) -> "RunFolder":
        """Claim ``path`` for the run of ``config``, and hold it until :meth:`close` or death.

        Args:
            path: the folder, made if missing.
            config: the resolved configuration as plain containers; secrets are left out.
            run_id: the id of a new run, where another program chose it; random otherwise. A run
                that is there already keeps its own.
            resume: go on with the same run; ``False`` refuses a folder that holds one.

        Returns:
            The folder; its ``state`` tells whether there is something to do.

        Raises:
            RunFolderBusyError: another live process holds the folder.
            RunFolderTakenError: it holds a run of another configuration (the message lists the
                differing keys), files without a configuration, or any run if not ``resume``.
            RunFolderError: it is not a folder, not writable, damaged, or holds links.
        """
        folder = cls(path)
        if run_id is not None and not RUN_ID.fullmatch(run_id):
            raise RunFolderError(f"run_id={run_id!r}: use 1 to 64 letters, digits, '_' and '-'")
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(folder.path, error) from error
        folder._lock.acquire()
        try:
            refuse_links(folder.path)
            folder.state = folder._claim(redacted(config), run_id, resume)
        except BaseException:
            folder.close()
            raise
        return folder

    @property
    def begun(self) -> bool:
        """Whether a run has claimed the folder; one that was stopped before is still to do."""
        return (self.path / "status.json").exists()

    @property
    def config(self) -> dict[str, Any]:
        """The stored configuration. Raises ``RunFolderError`` when missing or damaged.

        Who holds the folder reads it once: a run is what it was when it began.
        """
        if self.state is None:
            return read_config(self.path / "config.yaml")
        if not self.path.exists():
            raise write_error(self.path, FileNotFoundError(errno.ENOENT, "the folder is gone"))
        if self._config is None:
            self._config = read_config(self.path / "config.yaml")
        return deepcopy(self._config)

    @property
    def status(self) -> Status:
        """The stored status. Raises ``RunFolderError`` when missing or damaged."""
        return self._status or Status.from_json(read_json(self.path / "status.json"))

    @property
    def condition(self) -> State | Literal["stale"]:
        """The state, or "stale" for a run whose process is gone without a word."""
        state = self.status.state
        if state == "running" and self._lock.holder() is None:
            return "stale"
        return state

    def start(self, steps: int | None = None) -> None:
        """Say that the run runs, or runs again. ``steps``: optimizer steps planned."""
        planned = {} if steps is None else {"steps": steps}
        self._write_status(self.status.moved("running", **planned))

    def beat(self, step: int, steps: int | None = None) -> None:
        """Note the step reached and the time; a file is written every 15 s at most.

        Args:
            step: optimizer steps done.
            steps: optimizer steps planned, once that is known; written at once.
        """
        self._status = dataclasses.replace(self.status, step=step)
        if steps is not None:
            self._status = dataclasses.replace(self._status, steps=steps)
        if steps is not None or time.monotonic() - self._beat > HEARTBEAT_S:
            try:
                self._write_status(self._status.beating(), durable=False)
            except RunFolderError as error:
                if not self._lock.held:
                    raise
                # Rows and checkpoints decide whether a run can go on, not a sign of life.
                self._beat = time.monotonic()
                _log.warning("no heartbeat: %s", error)

    def finish(
        self,
        state: Literal["done", "failed", "interrupted"],
        error: BaseException | str | None = None,
    ) -> None:
        """Say how the run ended; a traceback goes to error.txt after those of earlier attempts."""
        changes: dict[str, Any] = {}
        if error is not None:
            text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
            line = " ".join(redacted(text).split())[:_LONGEST_ERROR]
            changes = {"error": line, "error_file": self._write_error(error)}
        self._write_status(self.status.moved(state, **changes))

    def write_summary(self, values: Mapping[str, Any]) -> None:
        """Merge ``values`` into summary.json."""
        self._merge("summary.json", values)

    def write_data(self, values: Mapping[str, Any]) -> None:
        """Merge ``values`` into data.json."""
        self._merge("data.json", values)

    def position(self) -> dict[str, int]:
        """How many rows each file of rows has: part of a checkpoint, for :meth:`rewind`."""
        return {"metrics": len(self.metrics), "samples": len(self.samples)}

    def rewind(self, step: int, position: Mapping[str, int] | None = None) -> None:
        """Take back the rows written after a checkpoint, so that each step appears once.

        Args:
            step: the checkpoint's step; rows of later steps go.
            position: what :meth:`position` gave when the checkpoint was written; rows of the same
                step but after it go too.
        """
        rows = dict(position or {})
        self.metrics.truncate_after(step, rows.get("metrics"))
        self.samples.truncate_after(step, rows.get("samples"))
        self.histograms.truncate_after(step)
        self._write_status(dataclasses.replace(self.status, step=step))

    def sync(self) -> None:
        """Force the rows to the disk, as before a checkpoint that counts on them."""
        self.metrics.sync()
        self.samples.sync()
        self.histograms.sync()

    def close(self) -> None:
        """Let go of the files and of the folder."""
        self.metrics.close()
        self.samples.close()
        self.histograms.close()
        self._lock.release()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _claim(self, config: dict[str, Any], run_id: str | None, resume: bool) -> FolderState:
        found = [name for name in ("config.yaml", *_CONTENT) if (self.path / name).exists()]
        if found and found[0] != "config.yaml":
            raise RunFolderTakenError(
                f"{self.path}: holds {', '.join(found)} but no config.yaml, so it cannot be told "
                "what run that is. Give another output=FOLDER."
            )
        if found:
            self._compare(config, resume)
        self._remove_leftovers()
        if not found:
            write_config(self.path / "config.yaml", config)
        if "status.json" not in found:
            fresh = run_id or secrets.token_hex(6)
            self._write_status(Status(fresh, config_hash(config), created=now()))
        try:
            self.checkpoints.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(self.checkpoints, error) from error
        if not found:
            return FolderState.NEW
        return FolderState.DONE if self.status.state == "done" else FolderState.UNFINISHED

    def _compare(self, config: dict[str, Any], resume: bool) -> None:
        """Refuse a folder that holds another run, or any run where none is wanted."""
        stored = self.config
        if config_hash(stored) != config_hash(config):
            raise RunFolderTakenError(
                f"{self.path}: holds another run. What differs (there -> now):\n"
                f"{difference_table(stored, config)}\n"
                "Give another output=FOLDER, or the values that are there."
            )
        if not resume:
            raise RunFolderTakenError(
                f"{self.path}: holds this run already and resume=false was asked for. "
                "Give another output=FOLDER, or resume=true to go on with it."
            )

    def _remove_leftovers(self) -> None:
        """Delete our own half-written files of a killed process; the lock says that it is gone."""
        for entry in self.path.iterdir():
            if _LEFTOVER.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    entry.unlink()

    def _write_status(self, status: Status, durable: bool = True) -> None:
        if not self._lock.held:
            raise RunFolderError(
                f"{self.path}: opened for reading; claim it with RunFolder.create to write"
            )
        write_json(self.path / "status.json", dataclasses.asdict(status), durable)
        self._status = status
        self._beat = time.monotonic()

    def _write_error(self, error: BaseException | str) -> str | None:
        """Append a traceback to error.txt and name the file; ``None`` if the disk will not have it.

        The error at hand is often that very disk's, and the status must be tried all the same.
        """
        text = error if isinstance(error, str) else "".join(traceback.format_exception(error))
        header = f"--- attempt {self.status.attempts}, {now()}\n"
        path = self.path / "error.txt"
        try:
            append_text(path, header + redacted(text).rstrip() + "\n")
        except RunFolderError:
            return None
        return path.name

    def _merge(self, name: str, values: Mapping[str, Any]) -> None:
        path = self.path / name
        old = read_json(path) if path.exists() else {}
        write_json(path, {**old, **redacted(values)})
