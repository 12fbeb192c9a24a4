"""What asks a run to stop: Ctrl-C, a scheduler's SIGTERM or SIGUSR1 before it kills, a deadline.

While training is held, a signal is noted, and the step under way ends with a checkpoint; elsewhere
there is nothing to save, and the run ends at once. A second Ctrl-C does not wait either. A deadline
waits for the end of a step, always.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lm_research.callbacks.deadline import Deadline

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


class Stopped(SystemExit):
    """The run was asked to stop and did; the same command continues it.

    The exit status is 130 after Ctrl-C, else 75 (EX_TEMPFAIL: a scheduler may queue the job again).

    Attributes:
        reason: what stopped it.
        by_time: whether that was a deadline: other runs of a sweep have times of their own.
    """

    def __init__(self, reason: str, code: int = os.EX_TEMPFAIL, by_time: bool = False) -> None:
        super().__init__(code)
        self.reason, self.by_time = reason, by_time

    @classmethod
    def by(cls, number: int) -> "Stopped":
        """By a signal."""
        code = INTERRUPTED if number == signal.SIGINT else os.EX_TEMPFAIL
        return cls(f"stopped by {signal.Signals(number).name}", code)

    def __str__(self) -> str:
        return self.reason


class StopSignals:
    """Handlers for :data:`SIGNALS` in a block; ``number`` is the signal that was noted.

    In a thread other than the main one nothing is handled: Python allows no more.

    Args:
        deadline: asks to stop, too, once it has passed.
    """

    def __init__(self, deadline: Deadline | None = None) -> None:
        self.number: int | None = None
        self.deadline = deadline
        self.held = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            self.install()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def install(self) -> None:
        """Set our handlers, again where somebody has set theirs since."""
        for number in self._before:
            signal.signal(number, self._handle)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """In the block a signal is noted only; who holds ends the step, saves, and raises it."""
        self.held = True
        try:
            yield
        finally:
            self.held = False

    @property
    def requested(self) -> bool:
        """Whether a signal was noted, or the deadline has passed."""
        return self.number is not None or (self.deadline is not None and self.deadline.passed)

    def raise_noted(self) -> None:
        """Raise :class:`Stopped` if a signal was noted."""
        if self.number is not None:
            raise Stopped.by(self.number)

    def stopped(self) -> Stopped:
        """Why this process stops; if it has no reason of its own, another process has."""
        if self.number is not None:
            return Stopped.by(self.number)
        if self.deadline is not None and self.deadline.passed:
            return Stopped(f"stopped: {self.deadline.reason}", by_time=True)
        return Stopped("stopped with another process of the run")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.number is not None
        self.number = self.number or number
        if not self.held or (again and number == signal.SIGINT):
            raise Stopped.by(number)
        if not again:
            name = signal.Signals(number).name
            text = f"{name}: stopping after this step, with a checkpoint; Ctrl-C again: at once\n"
            os.write(sys.stderr.fileno(), text.encode())
