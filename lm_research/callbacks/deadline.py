"""When an attempt has to stop: after ``max_time``, or before the end of its Slurm job."""

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from lm_research.config.durations import seconds_of

PATIENCE_S = 10


@dataclass(frozen=True)
class Deadline:
    """A moment of the monotonic clock, so that a clock that is set moves nothing.

    Attributes:
        at: seconds, as ``time.monotonic`` counts them.
        reason: what is over then, for people.
    """

    at: float
    reason: str

    @property
    def passed(self) -> bool:
        """Whether it is time to stop."""
        return time.monotonic() >= self.at


def deadline(
    max_time: str | float | None, margin: float, surroundings: Mapping[str, str] = os.environ
) -> Deadline | None:
    """The first deadline of this attempt, which begins now; None if it has none.

    Args:
        max_time: how long the attempt may take; see ``seconds_of``.
        margin: seconds before Slurm's end that the last checkpoint may need.
        surroundings: the environment variables.
    """
    found = []
    now = time.monotonic()
    if max_time is not None:
        found.append(Deadline(now + seconds_of(max_time), f"max_time={max_time} is over"))
    left = slurm_seconds_left(surroundings)
    if left is not None:
        reason = f"the Slurm job ends in less than {margin:g} s (end_margin)"
        found.append(Deadline(now + left - margin, reason))
    return min(found, key=lambda one: one.at, default=None)


def slurm_seconds_left(surroundings: Mapping[str, str]) -> float | None:
    """Seconds until Slurm ends this job; None outside of Slurm, or without a limit."""
    job, end = surroundings.get("SLURM_JOB_ID"), surroundings.get("SLURM_JOB_END_TIME")
    if job is None:
        return None
    try:
        return float(end) - time.time() if end else seconds_of(_squeue(job))
    except (ValueError, OSError, subprocess.SubprocessError):  # UNLIMITED, or no squeue here
        return None


def _squeue(job: str) -> str:
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%L"]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return done.stdout.strip()
