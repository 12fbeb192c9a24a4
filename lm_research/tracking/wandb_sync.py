"""Bring runs to W&B from their folders, whatever became of the processes that trained them.

metrics.jsonl is replayed into the run of the same id: W&B says up to which step it has the run, and
what comes after is sent, so that each step arrives once, however often and at whatever moment the
run, the mirror or an earlier sync were cut off. Samples, summary, evaluations, fingerprint and
artifacts are set anew, which changes nothing where they are there. Then W&B is asked how far it has
the run, and only then is that noted in wandb.json (``wandb_receipt``).

What cannot be undone: W&B never forgets a row. Of a run that went back to a checkpoint and took
another course (a rollback after divergence) it keeps the steps that it had already.
"""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints
from urllib.parse import urlsplit
from urllib.request import getproxies

from lm_research.analysis.runs import run_folders as find_folders
from lm_research.config.checks import fits
from lm_research.tracking.errors import RunFolderBusyError, RunFolderError
from lm_research.tracking.folder_lock import FolderLock
from lm_research.tracking.json_files import read_json
from lm_research.tracking.links import refuse_links
from lm_research.tracking.recorder import EXIT_CODES
from lm_research.tracking.redaction import redacted
from lm_research.tracking.run_folder import RunFolder
from lm_research.tracking.wandb_mirror import WandbMirror
from lm_research.tracking.wandb_receipt import content, read_receipt, write_receipt
from lm_research.tracking.wandb_sdk import end_bounded, environment_kept, require_credentials
from lm_research.tracking.wandb_study import StudyRun, study_at, study_tables

_ANSWER_S = 30
"""How long W&B may take to answer a question, in seconds."""
_LAG_S = 20.0
"""How long W&B may take until it counts what it has just confirmed."""

Kind = Literal["sent", "there", "running", "failed"]


class SyncError(Exception):
    """Nothing can be sent; says why."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    Attributes:
        folder: the run folder.
        kind: "sent" now, "there" already, "running" (its own process sends it), or "failed".
        detail: what was sent and where it is, or why not.
    """

    folder: Path
    kind: Kind
    detail: str


@dataclass(frozen=True)
class Destination:
    """Where runs go; None: what the run's configuration says.

    Attributes:
        project, entity: in W&B.
        patience_s: seconds that W&B may take to start a run, and to take what is left of it.
    """

    project: str | None = None
    entity: str | None = None
    patience_s: float = 120.0


def run_folders(root: Path) -> list[Path]:
    """The run folders at and below ``root`` that have what a run in W&B is made of, in order."""
    if not root.is_dir():
        return []
    needed = {"status.json", "config.yaml"}
    return sorted(Path(place) for place, files in find_folders(root) if needed <= files)


class Sync:
    """Sends runs one after another; one object a process.

    Args:
        destination: where they go.

    Raises:
        SyncError: no API key is there, or no server answers.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._gone = False
        with environment_kept():
            import wandb

            wandb.setup(settings=wandb.Settings(silent=True))
            self._server = str(wandb.setup().settings.base_url)
            try:
                require_credentials(wandb)
                self._require_listener(wandb.setup().settings)
                end_bounded()
                self._api: Any = wandb.Api(timeout=_ANSWER_S)
            except (RuntimeError, wandb.Error) as error:
                raise SyncError(f"{self._server}: {redacted(str(error))}") from error

    def _require_listener(self, settings: Any) -> None:
        """Fail at once where nobody listens: the SDK goes on asking for half a minute."""
        if settings.http_proxy or settings.https_proxy or getproxies():
            return
        place = urlsplit(self._server)
        port = place.port or (443 if place.scheme == "https" else 80)
        try:
            socket.create_connection((str(place.hostname), port), _ANSWER_S).close()
        except OSError as error:
            raise SyncError(f"{self._server}: {error}") from error

    def run(self, path: Path) -> Outcome:
        """Bring one run; every error is told in the outcome."""
        if self._gone:
            return Outcome(path, "failed", f"not tried: {self._server} does not answer any more")
        lock = FolderLock(path)
        try:
            refuse_links(path)
            lock.acquire()
            return self._send(RunFolder(path))
        except RunFolderBusyError:
            return Outcome(path, "running", "its own process sends it; sync again when it is over")
        except Exception as error:
            self._gone = not self._answers()
            return _failed(path, error)
        finally:
            lock.release()

    def study(self, path: Path) -> Outcome | None:
        """Bring what no single run knows of the study in a folder; None where there is nothing."""
        try:
            study = study_at(path)
            tables = study_tables(study) if study else {}
            if study is None or not tables:
                return None
            made = StudyRun(path, study, tables)
            if made.there(self._server):
                return Outcome(path, "there", "nothing new of the study")
            first = RunFolder(study.runs[0].folder)
            arguments = self._mirror(first.config).arguments(made.id, first.path)
            url = made.send(arguments, self._settings())
            named = {"sources": "the matrix of sources", "published": "the published numbers"}
            told = " and ".join(named[name] for name in tables)
            return Outcome(path, "sent", f"{told} to {url}")
        except Exception as error:
            return _failed(path, error)

    def _send(self, folder: RunFolder) -> Outcome:
        rows, samples = list(folder.metrics), list(folder.samples)
        last = max((row["step"] for row in rows), default=-1)
        if self._there(folder.path, last):
            return Outcome(folder.path, "there", "nothing new")
        status, config = folder.status, folder.config
        mirror = self._mirror(config)
        session = mirror.session()
        before = content(folder.path)
        session.open(
            mirror.arguments(status.id, folder.path),
            redacted(config),
            folder.path,
            self._settings(),
        )
        try:
            session.rewound(rows, samples, list(folder.histograms))
            session.summary(_json(folder.path / "summary.json"))
            session.data(_json(folder.path / "data.json"))
        finally:
            session.close(EXIT_CODES.get(status.state, EXIT_CODES["interrupted"]))
        return self._confirm(folder.path, session, last, before)

    def _there(self, path: Path, last: int) -> bool:
        """Whether W&B has all of this very content, by our note and by its own word."""
        receipt = read_receipt(path)
        if receipt is None or receipt.content != content(path) or receipt.server != self._server:
            return False
        wanted = self._destination
        if wanted.project not in (None, receipt.project):
            return False
        if wanted.entity not in (None, receipt.entity):
            return False
        return self._last_step(receipt.path) >= last

    def _confirm(self, path: Path, session: Any, last: int, before: str) -> Outcome:
        run = session.run
        name = f"{run.entity}/{run.project}/{run.id}"
        end = time.monotonic() + _LAG_S
        while (there := self._last_step(name)) < last and time.monotonic() < end:
            time.sleep(0.5)
        if there < last:
            return Outcome(path, "failed", f"W&B has {name} up to step {there} of {last}")
        if content(path) == before:
            write_receipt(path, run)
        return Outcome(path, "sent", f"{session.sent_rows} rows to {run.url}")

    def _last_step(self, name: str) -> int:
        """The last step that W&B has of a run; -1 where it has none or does not know the run."""
        from wandb.errors import CommError

        self._api.flush()
        try:
            return int(self._api.run(name).lastHistoryStep)
        except (CommError, ValueError) as error:
            if "Could not find" in str(error):
                return -1
            raise

    def _answers(self) -> bool:
        """Whether the server is there: waiting in vain for each of many runs would take hours."""
        try:
            return self._last_step("nobody/nothing/none") < 0
        except Exception:
            return False

    def _mirror(self, config: Mapping[str, Any]) -> WandbMirror:
        """The mirror that the run was configured with, online."""
        node = config.get("tracking")
        given = dict(node) if isinstance(node, Mapping) else {}
        allowed = get_type_hints(WandbMirror.__init__, include_extras=True)
        kept = {k: v for k, v in given.items() if k in allowed and fits(v, allowed[k])}
        there = self._destination
        chosen = {"project": there.project, "entity": there.entity}
        kept |= {key: value for key, value in chosen.items() if value is not None}
        return WandbMirror(**{**kept, "mode": "online", "alert": False})

    def _settings(self) -> dict[str, Any]:
        """Bounded, and silent about this machine: it is not the one that trained."""
        patience = self._destination.patience_s
        bounds = {"init_timeout": patience / 2, "finish_timeout": patience}
        return {**bounds, "x_disable_stats": True, "x_disable_machine_info": True}


def _failed(path: Path, error: Exception) -> Outcome:
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return Outcome(path, "failed", str(redacted(line))[:500])


def _json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except RunFolderError:
        if path.exists():
            raise
        return {}
