"""Where the jobs of a study stand, read from their folders, in whatever process they run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from lm_research.studies.jobs import Job
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.run_folder import RunFolder
from lm_research.tracking.status import Status

LAST_ERROR = "last_error.txt"
"""What stopped a run, in one line, also where it could not claim its folder."""

JobState = Literal["done", "running", "failed", "interrupted", "stale", "to do"]
"""``stale``: its process is gone without a word; ``interrupted`` and ``stale`` are gone on with."""
STATES: tuple[JobState, ...] = ("done", "running", "failed", "interrupted", "stale", "to do")
GO_ON: frozenset[JobState] = frozenset({"to do", "interrupted", "stale"})
_LONGEST = 4096  # bytes read of a line that anybody may have written


@dataclass(frozen=True)
class Standing:
    """One job's state.

    Attributes:
        share: of its steps, 0 to 1; ``seconds``: from its first start to its end, so far; ``None``
            before it has one.
        error: the last line of what stopped it; ``log``: the file with all of it, if there is one.
    """

    job: Job
    state: JobState
    share: float = 0.0
    seconds: float | None = None
    error: str | None = None
    log: Path | None = None
    where: str | None = None


def standings(folder: Path, jobs: Iterable[Job]) -> list[Standing]:
    """How each job stands now."""
    return [_standing(folder / job.folder, job) for job in jobs]


def _standing(place: Path, job: Job) -> Standing:
    run = RunFolder(place)
    if not run.begun:
        said = _last_error(place)
        return Standing(job, "failed" if said else "to do", error=said, log=_log(place))
    try:
        status, condition = run.status, run.condition
    except RunFolderError as error:
        return Standing(job, "failed", error=str(error))
    state: JobState = "to do" if condition == "queued" else condition
    said = status.error or (_last_error(place) if state == "failed" else None)
    where = f"{status.host}, process {status.pid}" if state == "running" else None
    return Standing(job, state, _share(status), _seconds(status), said, _log(place), where)


def _share(status: Status) -> float:
    if status.state == "done":
        return 1.0
    return min(status.step / status.steps, 1.0) if status.steps else 0.0


def _seconds(status: Status) -> float | None:
    try:
        begun = datetime.fromisoformat(status.started or "")
        end = datetime.fromisoformat(status.finished or status.heartbeat or "")
    except ValueError:
        return None
    return max((end - begun).total_seconds(), 0.0)


def _last_error(place: Path) -> str | None:
    try:
        with open(place / LAST_ERROR, encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST).strip() or "no word of why"
    except OSError:
        return None


def _log(place: Path) -> Path | None:
    file = place / "error.txt"
    return file if file.is_file() else None


def seconds_left(found: Sequence[Standing], at_once: int) -> float | None:
    """The work that is left, over the processes at work; ``None`` before a job has ended.

    A job will take what those of its setting took; of an unknown one, what all took in the mean.

    Args:
        at_once: how many jobs run side by side.
    """
    done = [s for s in found if s.state == "done" and s.seconds]
    if not done:
        return None
    overall = sum(s.seconds or 0 for s in done) / len(done)
    own: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for s in done:
        own.setdefault(tuple(s.job.setting.items()), []).append(s.seconds or 0)
    left = 0.0
    for s in found:
        if s.state == "running" or s.state in GO_ON:
            known = own.get(tuple(s.job.setting.items()))
            left += (sum(known) / len(known) if known else overall) * (1 - s.share)
    return left / max(at_once, 1)
