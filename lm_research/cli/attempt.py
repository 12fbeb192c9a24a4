"""One run among several: what stops it is its own, told in its folder and at the end."""

import os
import signal
import sys
import traceback
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lm_research.callbacks.stop_signals import Stopped
from lm_research.cli.batch_size import adopt
from lm_research.cli.launch import note
from lm_research.cli.memory import KILLED, oom_kills
from lm_research.cli.own_process import (
    Interrupted,
    asked_to_stop,
    die_with_parent,
    in_own_process,
)
from lm_research.cli.tell import tell
from lm_research.config.compose import finalise
from lm_research.config.problems import is_ours
from lm_research.studies.gpus import VISIBLE, held, pool
from lm_research.studies.states import LAST_ERROR
from lm_research.tracking.errors import RunFolderBusyError, telling_of
from lm_research.tracking.json_files import write_text
from lm_research.tracking.redaction import redacted
from lm_research.tracking.run_folder import FolderState, RunFolder

LONGEST = 500
ELSEWHERE = os.EX_UNAVAILABLE
"""Exit status of a run that another process has just begun."""


def finished(config: dict[str, Any], output: str | Path) -> bool:
    """Whether ``output`` holds this very run, done. Needs no torch.

    Raises:
        RunFolderError: it holds another run, or cannot be used.
    """
    if not (Path(output) / "config.yaml").exists():
        return False
    with RunFolder.create(output, adopt(config, output), resume=config["resume"]) as folder:
        return folder.state is FolderState.DONE


def attempt(given: DictConfig | dict[str, Any]) -> str:
    """Train, inside Hydra and in a process of its own, unless that is done already.

    Args:
        given: what Hydra composed, or a finished configuration.

    Returns:
        "done"; "elsewhere" if another process runs it; or "failed" or "interrupted": then
        ``last_error.txt`` in the run's folder says why.
    """
    die_with_parent()
    job: Any = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    sys.argv = command(job)
    try:
        config = given if isinstance(given, dict) else finalise(given, job)
        if finished(config, folder):
            return "done"
        with telling_of(folder):
            (folder / LAST_ERROR).unlink(missing_ok=True)
            _without_secrets(Path(job.sweep.dir) / "multirun.yaml")
        kills = oom_kills()
        code = _with_gpu(config, folder)
    except RunFolderBusyError:
        return "elsewhere"
    except Interrupted:  # a run under way has told its own end; one that was not begun is to do
        return "interrupted"
    except Exception as error:
        _tell(folder, error)
        return "failed"
    if code < 0:
        return _killed(config, folder, KilledError(-code, oom_kills() > kills))
    words = {0: "done", os.EX_TEMPFAIL: "interrupted", ELSEWHERE: "elsewhere"}
    return words.get(code, "failed")


def _with_gpu(config: dict[str, Any], folder: Path) -> int:
    """The run in its own process, on a GPU of the study's pool if it has one."""
    gpus = pool((config.get("sweep") or {}).get("gpus"))
    if not gpus:
        return in_own_process(partial(_alone, config, folder), config)
    with held(gpus, asked_to_stop) as gpu:
        return in_own_process(partial(_alone, config, folder, gpu), config)


def _killed(config: dict[str, Any], folder: Path, error: "KilledError") -> str:
    """A run that somebody killed was cut; what the kernel kills for its memory, it will again."""
    _tell(folder, error)
    state: Literal["failed", "interrupted"] = "failed" if error.by_kernel else "interrupted"
    note(config, folder, (folder / LAST_ERROR).read_text(encoding="utf-8"), state)
    return state


class KilledError(Exception):
    """A run that a signal ended before it could say a word."""

    def __init__(self, number: int, by_kernel: bool) -> None:
        self.by_kernel = by_kernel
        why = f"; {KILLED}" if by_kernel else ""
        super().__init__(
            f"killed by {signal.Signals(number).name} (exit {128 + number}){why}. The same command "
            "goes on from its last checkpoint"
        )


def _alone(config: dict[str, Any], folder: Path, gpu: str | None = None) -> None:
    """The run, in its process: the exit status says how it ended, ``last_error.txt`` why."""
    if gpu is not None:  # before CUDA is looked at for the first time
        os.environ[VISIBLE] = gpu
    from lm_research.cli.launch import train

    try:
        train(config, folder)
    except Stopped as stopped:
        if RunFolder(folder).begun:  # one that was not is to do, and no failure
            _tell(folder, stopped)
        raise
    except RunFolderBusyError:
        sys.exit(ELSEWHERE)
    except Exception as error:
        _tell(folder, error)
        sys.exit(1)


def command(job: Any) -> list[str]:
    """What environment.json records: the command of this one run, whatever process it is in."""
    given: Any = OmegaConf.to_container(job.overrides.task)  # interpolations as text
    return ["lm-research", "train", *given]


def _without_secrets(file: Path) -> None:
    """What Hydra wrote of the command before the first run, as our own files have it."""
    if file.is_file():
        text = file.read_text(encoding="utf-8")
        if (kept := str(redacted(text))) != text:
            write_text(file, kept)


def _tell(folder: Path, error: Exception | Stopped) -> None:
    text = str(error) if is_ours(error) else f"{type(error).__name__}: {error}"
    line = " ".join(str(redacted(text)).split())[:LONGEST].removeprefix(f"{folder}: ")
    try:
        _write(folder, line, error)
    except OSError:  # the error at hand is often that very disk's, and other runs may have room
        tell(f"failed: {folder}: {line}")


def _write(folder: Path, line: str, error: Exception | Stopped) -> None:
    if not is_ours(error):
        details = folder / "error.txt"
        if not details.exists():
            write_text(details, str(redacted("".join(traceback.format_exception(error)))))
        line += f" (traceback: {details})"
    write_text(folder / LAST_ERROR, line)


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
