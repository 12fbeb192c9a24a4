"""``lm-research sync FOLDER``: bring the runs of a folder to W&B, each whole and once."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lm_research.cli.options import help_text, option, parse
from lm_research.cli.tell import tell
from lm_research.config.problems import ConfigError, Problem
from lm_research.config.types import PositiveFloat

if TYPE_CHECKING:
    from lm_research.tracking.wandb_sync import Outcome, Sync

SUMMARY = (
    "Send every run at or below a folder to W&B, from its own files: what W&B has is not sent\n"
    "again, and what it lacks is, however the run was tracked (tracking=disabled too) or cut off.\n"
    "Of a study the matrix of sources over all seeds is sent, too, as a run of its own; of a\n"
    "paper's experiment the published numbers beside ours.\n"
    "Needs `wandb login` or WANDB_API_KEY. Exit code: 0 all are there, 1 some could not be\n"
    "sent, 75 some are still running: sync again when they are over."
)


@dataclass(frozen=True)
class Options:
    """Options of the verb."""

    runs: str = option(help="folder of a run, or of several; may stand alone: sync FOLDER")
    project: str | None = option(None, "W&B project; null: as each run was configured")
    entity: str | None = option(None, "W&B user or team; null: as each run was configured")
    timeout: PositiveFloat = option(120.0, "seconds that W&B may take to start or end a run")


def run(arguments: list[str]) -> int:
    """Send them, one line a run."""
    if {"-h", "--help"} & set(arguments):
        print(help_text("sync", Options, SUMMARY))
        return 0
    options, _ = parse(Options, _named(arguments))
    from lm_research.tracking.wandb_sync import Destination, Sync, run_folders

    folders = run_folders(Path(options.runs).expanduser())
    if not folders:
        allowed = "a folder with runs (status.json and config.yaml) in it or below"
        raise ConfigError([Problem("runs", "holds no runs", options.runs, allowed)])
    sync = Sync(Destination(options.project, options.entity, options.timeout))
    kinds: Counter[str] = Counter()
    for outcome in _outcomes(sync, folders, Path(options.runs).expanduser()):
        kinds[outcome.kind] += 1
        tell(f"{outcome.kind:8}{outcome.folder}: {outcome.detail}")
    print(", ".join(f"{count} {kind}" for kind, count in kinds.items()), flush=True)
    return 1 if kinds["failed"] else os.EX_TEMPFAIL if kinds["running"] else 0


def _outcomes(sync: "Sync", folders: Sequence[Path], root: Path) -> "Iterator[Outcome]":
    for folder in folders:
        yield sync.run(folder)
    if study := sync.study(root):
        yield study


def send_study(folder: Path) -> None:
    """Bring what no single run of a study knows; an error is told, and no reason to fail."""
    from lm_research.tracking.wandb_sync import Destination, Sync, SyncError

    try:
        outcome = Sync(Destination()).study(folder)
    except SyncError as error:
        tell(f"the study was not sent to W&B ({error}); `lm-research sync {folder}` does it later")
        return
    if outcome and outcome.kind != "there":
        tell(f"{outcome.kind} to W&B: {outcome.detail}")


def _named(arguments: Sequence[str]) -> list[str]:
    """The folder may stand without its name, first."""
    first, *rest = arguments or [""]
    return [f"runs={first}", *rest] if first and "=" not in first else list(arguments)
