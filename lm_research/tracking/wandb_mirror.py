"""The copy of a run in Weights & Biases, kept while a run trains.

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
  same id, and the newest holds the whole run. ``lm-research sync`` sends it from metrics.jsonl;
  ``wandb sync`` of the newest alone would, too, but of several it repeats their common steps.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from lm_research.config.types import PositiveFloat
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.guarded_calls import GuardedCalls
from lm_research.tracking.redaction import redacted
from lm_research.tracking.wandb_receipt import write_receipt
from lm_research.tracking.wandb_session import Session

_CONSEQUENCE = (
    "The run does not depend on it: metrics.jsonl keeps every row, and `lm-research sync` sends it."
)


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
        x_axis: what W&B draws curves over, unless a panel says otherwise.
        checkpoints: what W&B knows of the checkpoints: "reference" is name, step and sha256,
            "upload" the files, too.
        system_metrics_s: seconds between W&B's measurements of the machine; ``None``: none.
        alert: tell the account's owner when a run fails (online).
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
        x_axis: Literal["step", "tokens", "seconds"] = "tokens",
        checkpoints: Literal["none", "reference", "upload"] = "reference",
        system_metrics_s: PositiveFloat | None = 15.0,
        alert: bool = True,
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
        self.x_axis = x_axis
        self.checkpoints = checkpoints
        self.system_metrics_s = system_metrics_s
        self.alert = alert
        self.start_timeout_s = start_timeout_s
        self.finish_timeout_s = finish_timeout_s
        self._session: Session | None = None
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
        session = self._session = self.session()
        self._calls = GuardedCalls("W&B", _CONSEQUENCE)
        self._folder = folder
        sent, arguments = redacted(dict(config)), self.arguments(run_id, folder)
        self._calls.wait(
            lambda: session.open(arguments, sent, folder, self._settings()),
            "starting",
            self.start_timeout_s,
        )

    def log(self, row: Mapping[str, Any]) -> None:
        """Send a row of metrics.jsonl; rows of one step make one row in W&B."""
        self._submit(lambda session: session.log(row))

    def sample(self, step: int, prompt: str, text: str) -> None:
        """Add a row to the table of generated samples."""
        self._submit(lambda session: session.sample(step, prompt, text))

    def rewound(
        self,
        rows: list[dict[str, Any]],
        samples: list[dict[str, Any]],
        histograms: list[dict[str, Any]],
    ) -> None:
        """Send what W&B does not have of these rows, and make the table of samples anew."""
        self._submit(lambda session: session.rewound(rows, samples, histograms))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set the numbers that W&B's table of runs shows."""
        self._submit(lambda session: session.summary(values))

    def data(self, values: Mapping[str, Any]) -> None:
        """Note what the data was, as ``config.data_fingerprint``, to filter and group by."""
        self._submit(lambda session: session.data(values))

    def histograms(self, step: int, values: Mapping[str, Any]) -> None:
        """Send the distributions of a step, each as ``counts`` and ``edges``."""
        self._submit(lambda session: session.histograms(step, values))

    def finish(self, exit_code: int = 0) -> None:
        """Close the W&B run, after a failure too; waits ``finish_timeout_s`` at most.

        Args:
            exit_code: 0 marks the run finished, 255 killed, anything else failed.
        """
        session, calls = self._session, self._calls
        self._session = self._calls = None
        if session is not None and calls is not None:
            patience = 1.0 if session.run is None else self.finish_timeout_s
            calls.close(lambda: self._end(session, calls, exit_code), "finishing", patience)

    def _end(self, session: Session, calls: GuardedCalls, exit_code: int) -> None:
        """Close the run; where nothing was left out, note that W&B has it."""
        session.close(exit_code)
        if self.mode == "online" and not calls.failed and session.run is not None:
            with contextlib.suppress(RunFolderError):
                write_receipt(self._folder, session.run)

    def _submit(self, call: Callable[[Session], None]) -> None:
        session = self._session
        if session is not None and self._calls is not None:
            self._calls.submit(lambda: call(session))

    def session(self) -> Session:
        """A W&B run that is not open yet."""
        return Session(self.mode == "online", self.x_axis, self.checkpoints, self.alert)

    def arguments(self, run_id: str, folder: Path) -> dict[str, Any]:
        """What ``wandb.init`` is given."""
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

    def _settings(self) -> dict[str, Any]:
        """wandb's own limits, inside ours: with a server down it raises after twice the first."""
        return {
            "init_timeout": self.start_timeout_s / 2,
            "finish_timeout": self.finish_timeout_s / 2,
            "x_disable_stats": self.system_metrics_s is None,
            "x_stats_sampling_interval": self.system_metrics_s or 15.0,
        }
