"""A study as a run of its own in W&B: what none of its runs knows, over all seeds."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_research.analysis.runs import find_runs
from lm_research.analysis.study import Study, analyse
from lm_research.analysis.sweep import load_sweep, runs_of_study
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import read_json, write_json
from lm_research.tracking.redaction import redacted
from lm_research.tracking.wandb_sdk import environment_kept
from lm_research.tracking.wandb_session import QUIET

FILE = "wandb_study.json"
COLUMNS = [
    "trained_on",
    "evaluated_on",
    "mean",
    "seeds_low",
    "seeds_high",
    "seeds",
    "documents_low",
    "documents_high",
]

PUBLISHED = ["row", "metric", "published", "ours", "low", "high", "seeds", "tolerance", "verdict"]
Tables = dict[str, tuple[list[str], list[list[Any]]]]
"""Name -> columns and rows."""


def study_tables(study: Study) -> Tables:
    """What is sent of a study: the matrix of sources, a paper's numbers beside ours, or neither."""
    found = {"sources": (COLUMNS, matrix_rows(study)), "published": (PUBLISHED, _judged(study))}
    return {name: table for name, table in found.items() if table[1]}


def _judged(study: Study) -> list[list[Any]]:
    """The rows of a paper with :data:`PUBLISHED`; None where there is no interval."""
    return [
        [row["name"], row["metric"], row["published"], *(row["ours"][k] for k in ("mean", "low",
         "high")), len(row["values"]), row["tolerance"], row["state"]]
        for row in study.sweep.published
    ]  # fmt: skip


def matrix_rows(study: Study) -> list[list[Any]]:
    """The matrix of sources with :data:`COLUMNS`; None where there is no interval.

    ``mean`` is the study's metric (bits per byte) over seeds and the other axes; both intervals are
    95 % ones, over seeds (Student's t) and over documents (bootstrap).
    """
    if study.matrix is None:
        return []
    rows = []
    for (trained, evaluated), cell in sorted(study.matrix.cells.items()):
        over = study.matrix.documents.get((trained, evaluated))
        documents = [over.low, over.high] if over else [None, None]
        rows.append([trained, evaluated, cell.mean, cell.low, cell.high, cell.n, *documents])
    return rows


def study_at(folder: Path) -> Study | None:
    """The study in a folder; None where none is, or nothing of it can be compared.

    Raises:
        ValueError: as ``analyse``.
    """
    if not (folder / "sweep.yaml").is_file():
        return None
    runs = runs_of_study(folder, find_runs(folder))
    return analyse(runs, load_sweep(folder, runs)) if runs else None


class StudyRun:
    """The run in W&B of one study.

    Args:
        folder: the study's, where the id of its run is kept, and what was sent.
        tables: of :func:`study_tables`.
    """

    def __init__(self, folder: Path, study: Study, tables: Tables) -> None:
        self.folder, self.study, self.tables = folder, study, tables
        self.id, self._sent = self._known()

    def _known(self) -> tuple[str, str]:
        try:
            kept = read_json(self.folder / FILE)
            return str(kept["id"]), str(kept["content"])
        except (RunFolderError, KeyError):
            return uuid.uuid4().hex[:12], ""

    def content(self, server: str) -> str:
        """What would be sent, and where to, as a hash."""
        text = json.dumps([server, self.study.sweep.metric.key, self.tables])
        return hashlib.sha256(text.encode()).hexdigest()

    def there(self, server: str) -> bool:
        """Whether this has been sent."""
        return self._sent == self.content(server)

    def send(self, arguments: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
        """Send the tables; returns the address.

        Args:
            arguments: of ``wandb.init``, as for one of the study's runs.
            settings: of ``wandb.Settings``, beside those of every run.
        """
        with environment_kept():
            import wandb

            name = f"{self.study.sweep.name}: study"
            own = {"id": self.id, "name": name, "job_type": "study", "dir": str(self.folder)}
            known = wandb.Settings(**QUIET, **settings)
            run = wandb.init(**{**arguments, **redacted(own)}, settings=known)
            try:
                for name, (columns, rows) in self.tables.items():
                    table = wandb.Table(columns=list(columns), data=redacted(rows))
                    run.summary[name] = table
                run.summary["metric"] = self.study.sweep.metric.key
            finally:
                run.finish()
        server = str(run.settings.base_url)
        write_json(self.folder / FILE, {"id": self.id, "content": self.content(server)})
        return str(run.url)
