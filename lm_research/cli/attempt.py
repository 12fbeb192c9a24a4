"""One run among several: what stops it is its own, told in its folder and at the end."""

import sys
import time
import traceback
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lm_research.config.compose import finalise
from lm_research.config.problems import is_ours
from lm_research.tracking.json_files import write_text
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
    with RunFolder.create(output, config, resume=config["resume"]) as folder:
        return folder.state is FolderState.DONE


def attempt(cfg: DictConfig) -> str:
    """Train, inside Hydra, unless that is done already.

    Returns:
        "done" or "failed"; then ``last_error.txt`` in the run's folder says why.
    """
    job: Any = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    _without_secrets(Path(job.sweep.dir) / "multirun.yaml")
    (folder / LAST_ERROR).unlink(missing_ok=True)
    sys.argv = command(job)
    try:
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


def _without_secrets(file: Path) -> None:
    """What Hydra wrote of the command before the first run, as our own files have it."""
    if file.is_file():
        text = file.read_text(encoding="utf-8")
        if (kept := str(redacted(text))) != text:
            write_text(file, kept)


def _tell(folder: Path, error: Exception) -> None:
    text = str(error) if is_ours(error) else f"{type(error).__name__}: {error}"
    line = " ".join(str(redacted(text)).split())[:LONGEST].removeprefix(f"{folder}: ")
    if not is_ours(error):
        details = folder / "error.txt"
        if not details.exists():
            write_text(details, str(redacted("".join(traceback.format_exception(error)))))
        line += f" (traceback: {details})"
    write_text(folder / LAST_ERROR, line)


def failures(folder: Path, since: float) -> dict[Path, str]:
    """Runs below ``folder`` that failed after ``since`` (seconds of ``time.time``), and why."""
    files = sorted(folder.rglob(LAST_ERROR)) if folder.is_dir() else []
    recent = [file for file in files if file.stat().st_mtime >= since]
    return {f.parent: f.read_text(encoding="utf-8", errors="replace") for f in recent}


def clock() -> float:
    """Now, as file systems tell it: whole ticks may lie a little behind the clock."""
    return time.time() - 0.1
