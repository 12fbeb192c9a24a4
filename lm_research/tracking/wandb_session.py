"""One run in W&B from init to finish: what it is told, in which order, and how it stays whole.

Every method may block or raise, as the SDK does; ``wandb_mirror`` keeps that from a run that
trains, ``wandb_sync`` lets a person see it.
"""

import contextlib
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import read_json
from lm_research.tracking.redaction import redacted, redacted_arguments
from lm_research.tracking.wandb_artifacts import checkpoint_artifact, data_artifact
from lm_research.tracking.wandb_metrics import Best, define
from lm_research.tracking.wandb_sdk import end_bounded, environment_kept, require_credentials
from lm_research.tracking.wandb_tables import evaluation_rows, over_documents

TABLE_INTERVAL_S = 60.0
"""Online, the table of samples is sent this often at most, and at the end."""

_log = logging.getLogger(__name__)

QUIET: dict[str, Any] = {
    "console": "off",
    "silent": True,
    "disable_code": True,
    "save_code": False,
    "disable_git": True,  # environment.json has the commit, and the versions that matter:
    "x_save_requirements": False,  # asking again costs each run a quarter of a second
    "finish_timeout_raises": True,
    "allow_offline_artifacts": False,  # keeps an offline table in the run folder, not in ~/.local
}


class Session:
    """One W&B run.

    Args:
        live: whether a server listens.
        x_axis: what curves are drawn over.
        checkpoints: "none", "reference" (name, step and sha256 of each) or "upload".
        alert: whether a run that failed alerts its owner.
    """

    def __init__(self, live: bool, x_axis: str, checkpoints: str, alert: bool) -> None:
        self.run: Any = None
        self.sent_rows = 0
        self._live, self._x_axis = live, x_axis
        self._checkpoints, self._alert = checkpoints, alert
        self._folder = Path()
        self._config: Mapping[str, Any] = {}
        self._row: dict[str, Any] = {}
        self._first = 0
        self._best = Best()
        self._samples: list[tuple[int, str, str]] = []
        self._sent = 0
        self._sent_at = time.monotonic()
        self._summary: dict[str, Any] = {}
        self._data: dict[str, Any] = {}

    def open(
        self,
        arguments: Mapping[str, Any],
        config: dict[str, Any],
        folder: Path,
        settings: Mapping[str, Any],
    ) -> None:
        """Start the run, or go on with it where W&B knows it.

        Args:
            arguments: of ``wandb.init``.
            config: plain containers, without secrets.
            folder: the run folder.
            settings: of ``wandb.Settings``, beside those of every run.
        """
        self._folder, self._config = folder, config
        with environment_kept():
            import wandb

            if self._live:
                require_credentials(wandb)
            end_bounded()
            known = wandb.Settings(**QUIET, **_provenance(folder), **settings)
            self.run = wandb.init(**arguments, config=config, settings=known)
        self._first = self.run.starting_step  # W&B has the steps before from last time
        define(self.run, self._x_axis)
        if self._live:
            _log.info("W&B: %s", self.run.url)

    def log(self, row: Mapping[str, Any]) -> None:
        """Take a row of metrics.jsonl; a step is sent as one once it is over."""
        self._best.see(row)
        if row["step"] < self._first:
            return
        if self._row and row["step"] != self._row["step"]:
            self._send_row()
        self._row |= row

    def rewound(
        self,
        rows: list[dict[str, Any]],
        samples: list[dict[str, Any]],
        histograms: list[dict[str, Any]],
    ) -> None:
        """Send what W&B does not have of these rows; these are all samples that there are."""
        self._row, self._best = {}, Best()
        for row in sorted([*rows, *histograms], key=lambda row: row["step"]):
            if "values" in row:
                self.histograms(row["step"], row["values"])
            else:
                self.log(row)
        self._samples = [(row["step"], row["prompt"], row["text"]) for row in samples]
        self._sent = 0

    def sample(self, step: int, prompt: str, text: str) -> None:
        """Add a row to the table of samples."""
        self._samples.append((step, prompt, text))
        if self._live and time.monotonic() - self._sent_at > TABLE_INTERVAL_S:
            self._send_samples()

    def histograms(self, step: int, values: Mapping[str, Mapping[str, list[float]]]) -> None:
        """Send distributions at a step, each as ``counts`` and ``edges``."""
        if step < self._first:
            return
        import wandb

        found: dict[str, Any] = {"step": step}
        for name, value in values.items():
            pair: Any = (value["counts"], value["edges"])
            found[name] = wandb.Histogram(np_histogram=pair)
        self.log(found)

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set numbers that the table of runs shows."""
        self._summary |= values
        self.run.summary.update(redacted(dict(values)))

    def data(self, values: Mapping[str, Any]) -> None:
        """Note what the data was, as ``config.data_fingerprint``, to filter and group by."""
        self._data |= values
        note = {"data_fingerprint": redacted(dict(values))}
        self.run.config.update(note, allow_val_change=True)

    def close(self, exit_code: int) -> None:
        """Send what is left, and end the run in W&B, whatever of it could be sent."""
        if self.run is None:
            return
        with environment_kept():
            try:
                self._send_row()
                self._send_samples()
                self.run.summary.update(self._best.summary())
                self._send_evaluations()
                self._send_artifacts()
                self._send_alert(exit_code)
            finally:
                self.run.finish(exit_code=exit_code)

    def _send_row(self) -> None:
        row, self._row = self._row, {}
        if row:
            self._first = row["step"] + 1
            self.run.log(row, step=row["step"])
            self.sent_rows += 1

    def _send_samples(self) -> None:
        """All samples so far as one table of the summary: no row of history, so none twice."""
        if len(self._samples) > self._sent:
            self._send_table("samples", ["step", "prompt", "text"], list(map(list, self._samples)))
            self._sent, self._sent_at = len(self._samples), time.monotonic()

    def _send_evaluations(self) -> None:
        """The run's row of the matrix of sources, which W&B joins with those of other runs."""
        columns, rows = evaluation_rows(self._config, self._summary)
        if rows:
            columns, rows = over_documents(columns, rows, self._folder)
            self._send_table("evaluations", columns, rows)

    def _send_table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        import wandb

        self.run.summary[name] = wandb.Table(columns=list(columns), data=redacted(rows))

    def _send_artifacts(self) -> None:
        """The text as what the run has read, its checkpoints as what it has made."""
        if self._data.get("fingerprint"):
            # use_artifact would do, but refuses offline and waits for the server
            used = data_artifact(redacted(self._data))
            self.run._log_artifact(used, is_user_created=True, use_after_commit=True)
        if self._checkpoints != "none":
            made = checkpoint_artifact(self.run.id, self._folder, self._checkpoints == "upload")
            if made is not None:
                self.run.log_artifact(*made)

    def _send_alert(self, exit_code: int) -> None:
        if exit_code == 1 and self._alert:
            with contextlib.suppress(RunFolderError):
                status = read_json(self._folder / "status.json")
                text = redacted(str(status.get("error") or "no reason recorded"))
                self.run.alert(f"{self._folder.name} failed", text, level="ERROR")


def _provenance(folder: Path) -> dict[str, Any]:
    """The commit, from environment.json; and no command line where that would tell a secret."""
    settings: dict[str, Any] = {"x_disable_meta": redacted_arguments(sys.argv) != sys.argv}
    with contextlib.suppress(RunFolderError):
        git = read_json(folder / "environment.json").get("git") or {}
        settings |= {"git_commit": git.get("commit"), "git_remote_url": git.get("remote")}
    return settings
