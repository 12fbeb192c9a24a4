"""The copy of a run in Weights & Biases, made by the one module that imports wandb.

W&B is a mirror: metrics.jsonl holds every row that goes there, and nothing that goes wrong with
W&B, from a missing package to a server that hangs, reaches the run. It is told in one warning and
the run goes on without the mirror.

What makes runs come out right:

- Each run is its own: the run folder's id, ``reinit="create_new"``, so that many runs in one
  process do not merge, and a ``wandb.run`` that somebody else started is left alone.
- A row's ``step`` is W&B's own step. All rows of a step are sent as one, once the step is over, so
  that W&B has a step whole or not at all. A run that goes on sends its rows again from the first,
  but for the steps that W&B has: what a killed attempt did not send arrives, and nothing twice.
- The environment is left as found: wandb sets WANDB_SERVICE, which would tie later processes to
  this one's server.
- Offline a run cannot be resumed: each attempt writes its own ``wandb/offline-run-*`` with the
  same id, and the newest holds the whole run. ``wandb sync`` of all of them, in their order, or of
  the newest alone gives the same history.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from lm_research.config.types import PositiveFloat
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.guarded_calls import GuardedCalls
from lm_research.tracking.json_files import read_json
from lm_research.tracking.redaction import redacted, redacted_arguments

AXES = ("step", "tokens", "seconds")
"""What a curve can be drawn over; ``step`` unless chosen otherwise."""

TABLE_INTERVAL_S = 60.0
"""Online, the table of samples is sent this often at most, and at the end."""

_CONSEQUENCE = "The run does not depend on it: metrics.jsonl keeps every row."
_log = logging.getLogger(__name__)


class WandbMirror:
    """Sends a run's configuration, rows, samples and summary to W&B.

    Args:
        mode: "offline" writes into the run folder and needs no account; "online" sends as well,
            with the key that ``wandb login`` stored or WANDB_API_KEY holds; "disabled" does
            nothing and does not import wandb. WANDB_MODE does not override it.
        project: W&B project.
        entity: W&B user or team; ``None``: the account's default.
        group: name that the runs of a sweep share.
        job_type: kind of job, "train" or "evaluate".
        tags: words to filter by.
        notes: free text.
        name: name shown; ``None``: the run folder's name.
        start_timeout_s: seconds that starting may hold up the run.
        finish_timeout_s: seconds that sending the rest may hold it up at the end.
    """

    def __init__(
        self,
        mode: Literal["offline", "online", "disabled"] = "offline",
        project: str = "lm_research",
        entity: str | None = None,
        group: str | None = None,
        job_type: str = "train",
        tags: list[str] | None = None,
        notes: str | None = None,
        name: str | None = None,
        start_timeout_s: PositiveFloat = 60.0,
        finish_timeout_s: PositiveFloat = 60.0,
    ) -> None:
        if mode not in ("offline", "online", "disabled"):
            raise ValueError(f"mode={mode!r}: use 'offline', 'online' or 'disabled'")
        self.mode = mode
        self.project = project
        self.entity = entity
        self.group = group
        self.job_type = job_type
        self.tags = list(tags or [])
        self.notes = notes
        self.name = name
        self.start_timeout_s = start_timeout_s
        self.finish_timeout_s = finish_timeout_s
        self._session: _Session | None = None
        self._calls: GuardedCalls | None = None

    def start(self, run_id: str, folder: Path, config: Mapping[str, Any]) -> None:
        """Open the W&B run ``run_id`` under ``folder``; waits ``start_timeout_s`` at most.

        Args:
            run_id: the run folder's id; online, a run that W&B knows by it is resumed.
            folder: the run folder.
            config: the resolved configuration as plain containers, sent once.
        """
        if self.mode == "disabled":
            return
        session = self._session = _Session(live=self.mode == "online")
        self._calls = GuardedCalls("W&B", _CONSEQUENCE)
        sent = redacted(dict(config))
        self._calls.wait(
            lambda: session.open(self._arguments(run_id, folder), sent, folder, self._bounds()),
            "starting",
            self.start_timeout_s,
        )

    def log(self, row: Mapping[str, Any]) -> None:
        """Send a row of metrics.jsonl; rows of one step make one row in W&B."""
        self._submit(lambda session: session.log(row))

    def sample(self, step: int, prompt: str, text: str) -> None:
        """Add a row to the table of generated samples."""
        self._submit(lambda session: session.sample(step, prompt, text))

    def rewound(self, rows: list[dict[str, Any]], samples: list[dict[str, Any]]) -> None:
        """Send what W&B does not have of these rows, and make the table of samples anew."""
        self._submit(lambda session: session.rewound(rows, samples))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set the numbers that W&B's table of runs shows."""
        self._submit(lambda session: session.run.summary.update(redacted(dict(values))))

    def data(self, values: Mapping[str, Any]) -> None:
        """Note what the data was, as ``config.data_fingerprint``, to filter and group by."""
        note = {"data_fingerprint": redacted(dict(values))}
        self._submit(lambda session: session.run.config.update(note, allow_val_change=True))

    def finish(self, exit_code: int = 0) -> None:
        """Close the W&B run, after a failure too; waits ``finish_timeout_s`` at most.

        Args:
            exit_code: 0 marks the run finished, 255 killed, anything else failed.
        """
        session, calls = self._session, self._calls
        self._session = self._calls = None
        if session is not None and calls is not None:
            patience = 1.0 if session.run is None else self.finish_timeout_s
            calls.close(lambda: session.close(exit_code), "finishing", patience)

    def _submit(self, call: "Callable[[_Session], None]") -> None:
        session = self._session
        if session is not None and self._calls is not None:
            self._calls.submit(lambda: call(session))

    def _arguments(self, run_id: str, folder: Path) -> dict[str, Any]:
        told = {
            "project": self.project,
            "entity": self.entity,
            "group": self.group,
            "job_type": self.job_type,
            "tags": self.tags,
            "notes": self.notes,
            "name": self.name or folder.name,
        }
        return {
            **redacted(told),
            "mode": self.mode,
            "id": run_id,
            "dir": str(folder),
            "reinit": "create_new",
            "resume": "allow" if self.mode == "online" else None,
        }

    def _bounds(self) -> dict[str, Any]:
        """wandb's own limits, inside ours: with a server down it raises after twice the first."""
        return {
            "init_timeout": self.start_timeout_s / 2,
            "finish_timeout": self.finish_timeout_s / 2,
        }


class _Session:
    """One W&B run from init to finish; every method runs in the thread of the guarded calls."""

    def __init__(self, live: bool) -> None:
        self.run: Any = None
        self._live = live
        self._row: dict[str, Any] = {}
        self._first = 0
        self._samples: list[tuple[int, str, str]] = []
        self._sent = 0
        self._sent_at = time.monotonic()

    def open(
        self,
        arguments: dict[str, Any],
        config: dict[str, Any],
        folder: Path,
        bounds: dict[str, Any],
    ) -> None:
        with _environment_kept():
            import wandb

            if self._live:
                _require_credentials(wandb)
            settings = wandb.Settings(**_QUIET, **bounds, **_provenance(folder))
            self.run = wandb.init(**arguments, config=config, settings=settings)
        self._first = self.run.starting_step  # W&B has the steps before from last time
        for axis in AXES:
            self.run.define_metric(axis)
        self.run.define_metric("*", step_metric="step")
        if self._live:
            _log.info("W&B: %s", self.run.url)

    def log(self, row: Mapping[str, Any]) -> None:
        if row["step"] < self._first:
            return
        if self._row and row["step"] != self._row["step"]:
            self._send_row()
        self._row |= row

    def rewound(self, rows: list[dict[str, Any]], samples: list[dict[str, Any]]) -> None:
        self._row = {}
        for row in rows:
            self.log(row)
        self._samples = [(row["step"], row["prompt"], row["text"]) for row in samples]
        self._sent = 0

    def _send_row(self) -> None:
        row, self._row = self._row, {}
        if row:
            self._first = row["step"] + 1
            self.run.log(row, step=row["step"])

    def sample(self, step: int, prompt: str, text: str) -> None:
        self._samples.append((step, prompt, text))
        if self._live and time.monotonic() - self._sent_at > TABLE_INTERVAL_S:
            self._send_samples()

    def close(self, exit_code: int) -> None:
        if self.run is not None:
            with _environment_kept():
                try:
                    self._send_samples()
                finally:
                    self.run.finish(exit_code=exit_code)

    def _send_samples(self) -> None:
        """Log all samples so far as one table, at the step of the newest, whose row is whole."""
        self._send_row()
        if len(self._samples) == self._sent:
            return
        import wandb

        table = wandb.Table(columns=["step", "prompt", "text"], data=list(map(list, self._samples)))
        self.run.log({"samples": table}, step=max(self._samples[-1][0], self.run.step))
        self._sent, self._sent_at = len(self._samples), time.monotonic()


_QUIET: dict[str, Any] = {
    "console": "off",
    "silent": True,
    "disable_code": True,
    "save_code": False,
    "disable_git": True,  # environment.json has the commit, and the versions that matter:
    "x_save_requirements": False,  # asking again costs each run a quarter of a second
    "finish_timeout_raises": True,
    "allow_offline_artifacts": False,  # keeps an offline table in the run folder, not in ~/.local
}


def _provenance(folder: Path) -> dict[str, Any]:
    """The commit, from environment.json; and no command line where that would tell a secret."""
    settings: dict[str, Any] = {"x_disable_meta": redacted_arguments(sys.argv) != sys.argv}
    with contextlib.suppress(RunFolderError):
        git = read_json(folder / "environment.json").get("git") or {}
        settings |= {"git_commit": git.get("commit"), "git_remote_url": git.get("remote")}
    return settings


def _require_credentials(wandb: Any) -> None:
    """Fail now where wandb would stop a run to ask a terminal for a key."""
    from wandb.sdk.lib import wbauth

    host = wandb.setup().settings.base_url
    if wbauth.authenticate_session(host=host, source="lm_research", prompt=False) is None:
        raise RuntimeError(
            "no API key. Run `wandb login` or set WANDB_API_KEY, or choose tracking=offline"
        )


@contextlib.contextmanager
def _environment_kept() -> Iterator[None]:
    """Put the WANDB_* variables back as they were, and keep wandb's error reports at home.

    Those go to the server even from a run that fails to start, and can hold up the end of the
    process by half a minute; who wants them sets WANDB_ERROR_REPORTING.
    """
    before = {key: value for key, value in os.environ.items() if key.startswith("WANDB")}
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        yield
    finally:
        for key in [key for key in os.environ if key.startswith("WANDB") and key not in before]:
            del os.environ[key]
        os.environ.update(before)
