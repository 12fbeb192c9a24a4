"""Where a run stands: the content of status.json and the moves allowed between its states."""

import dataclasses
import os
import re
import socket
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_type_hints

from lm_research.config.checks import describe, fits
from lm_research.tracking.errors import RunFolderError

State = Literal["queued", "running", "done", "failed", "interrupted"]
RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
FORMAT = 1
"""Version of the folder's layout; a change that old readers would misread raises it."""

_NEXT: dict[str, set[str]] = {
    "queued": {"running", "failed", "interrupted"},
    "running": {"running", "done", "failed", "interrupted"},  # running again: after kill -9
    "failed": {"running"},
    "interrupted": {"running"},
    "done": set(),
}


@dataclass(frozen=True)
class Status:
    """What status.json holds.

    Attributes:
        id: the run's name for life, 12 random hex digits unless given from outside.
        config_hash: the identity of its configuration.
        state: queued, running, done, failed or interrupted.
        step: optimizer steps done, as of the last heartbeat.
        steps: steps planned, ``None`` where unknown.
        attempts: how often the run was started; above 1 it was resumed.
        created, started, finished, heartbeat: ISO 8601 with the zone; ``started`` is the first
            attempt's, ``finished`` the last one's end.
        pid, host: the process that last wrote.
        error: the last line of what stopped the run; ``error_file`` holds the traceback.
        format: version of the folder's layout.
    """

    id: str
    config_hash: str
    state: State = "queued"
    step: int = 0
    steps: int | None = None
    attempts: int = 0
    created: str | None = None
    started: str | None = None
    finished: str | None = None
    heartbeat: str | None = None
    pid: int | None = None
    host: str | None = None
    error: str | None = None
    error_file: str | None = None
    format: int = FORMAT

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Status":
        """The status of a decoded status.json; keys of later versions are passed over.

        Raises:
            RunFolderError: a field is missing or unknown to this version.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        try:
            status = cls(**{key: value for key, value in values.items() if key in known})
        except TypeError as error:
            raise RunFolderError(f"status.json: {error}") from error
        if not isinstance(status.format, int) or status.format > FORMAT:
            raise RunFolderError(
                f"status.json: written in format {status.format!r}, this version reads up to "
                f"{FORMAT}. Update lm-research."
            )
        status._check()
        return status

    def _check(self) -> None:
        """What a stranger wrote there would come out in paths, times and counts."""
        for name, annotation in get_type_hints(type(self)).items():
            if not fits(value := getattr(self, name), annotation):
                allowed = describe(annotation)
                raise RunFolderError(f"status.json: {name} {value!r}, expected {allowed}")
        if not RUN_ID.fullmatch(self.id):
            raise RunFolderError(
                f"status.json: id {self.id!r}, expected 1 to 64 letters, digits, '_' and '-'"
            )

    def moved(self, state: State, **changes: Any) -> "Status":
        """This status in another state, with the times that go with it.

        Raises:
            RunFolderError: the move makes no sense, such as running after done.
        """
        if state not in _NEXT[self.state]:
            allowed = ", ".join(sorted(_NEXT[self.state])) or "nothing"
            raise RunFolderError(
                f"run {self.id}: cannot go from {self.state!r} to {state!r}; it can go to {allowed}"
            )
        if state == "running":
            start = {"started": self.started or now(), "attempts": self.attempts + 1}
            changes = {"finished": None, "error": None, "error_file": None} | start | changes
        else:
            changes = {"finished": now()} | changes
        return self.beating(state=state, **changes)

    def beating(self, **changes: Any) -> "Status":
        """This status with ``changes``, signed by this process, now."""
        signature: dict[str, Any] = {
            "heartbeat": now(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
        }
        return dataclasses.replace(self, **signature | changes)


def now() -> str:
    """The local time with its zone, ISO 8601, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
