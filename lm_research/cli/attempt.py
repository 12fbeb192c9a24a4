"""One run among several: what stops it is its own, told in its folder and at the end."""

import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lm_research.cli.batch_size import adopt
from lm_research.config.compose import finalise
from lm_research.config.problems import is_ours
from lm_research.tracking.errors import telling_of
from lm_research.tracking.redaction import redacted
from lm_research.tracking.run_folder import FolderState, RunFolder

LAST_ERROR = "last_error.txt"
"""What stopped a run, in one line, also where it could not claim its folder."""
LONGEST = 500


def finished(config: dict[str, Any], output: str | Path) -> bool:
    """Whether ``output`` holds this very run, done. Needs no torch.

    Raises:
        RunFolderError: it holds another run, or cannot be used.
    """
    if not (Path(output) / "config.yaml").exists():
        return False
    with RunFolder.create(output, adopt(config, output), resume=config["resume"]) as folder:
        return folder.state is FolderState.DONE


def attempt(cfg: DictConfig) -> str:
    """Train, inside Hydra, unless that is done already.

    Returns:
        "done" or "failed"; then ``last_error.txt`` in the run's folder says why.
    """
    job: Any = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    sys.argv = command(job)
    try:
        with telling_of(folder):
            (folder / LAST_ERROR).unlink(missing_ok=True)
        config = finalise(cfg, job)
        if not finished(config, folder):
            from lm_research.cli.launch import train

            train(config, folder)
    except Exception as error:
        _tell(folder, error)
        return "failed"
    return "done"


def command(job: Any) -> list[str]:
    """What environment.json records: the command of this one run, whatever process it is in."""
    return ["lm-research", "train", *job.overrides.task]


def _tell(folder: Path, error: Exception) -> None:
    text = str(error) if is_ours(error) else f"{type(error).__name__}: {error}"
    line = " ".join(str(redacted(text)).split())[:LONGEST].removeprefix(f"{folder}: ")
    try:
        _write(folder, line, error)
    except OSError:  # the error at hand is often that very disk's, and other runs may have room
        print(f"failed: {folder}: {line}", file=sys.stderr, flush=True)


def _write(folder: Path, line: str, error: Exception) -> None:
    if not is_ours(error):
        details = folder / "error.txt"
        if not details.exists():
            trace = "".join(traceback.format_exception(error))
            details.write_text(str(redacted(trace)), encoding="utf-8", errors="backslashreplace")
        line += f" (traceback: {details})"
    (folder / LAST_ERROR).write_text(line, encoding="utf-8", errors="backslashreplace")


Stamp = tuple[int, int]
"""What tells two files of one name apart, whatever the clock did between them."""


def failures(folder: Path, before: Mapping[Path, Stamp]) -> dict[Path, str]:
    """Runs below ``folder`` that failed since :func:`failed_so_far` gave ``before``, and why."""
    recent = [file for file, stamp in failed_so_far(folder).items() if before.get(file) != stamp]
    return {f.parent: f.read_text(encoding="utf-8", errors="replace") for f in recent}


def failed_so_far(folder: Path) -> dict[Path, Stamp]:
    """The files that tell of failures below ``folder``."""
    found = ((file, file.stat()) for file in sorted(folder.rglob(LAST_ERROR)))
    return {file: (stat.st_ino, stat.st_mtime_ns) for file, stat in found}
