"""Signals that ask a run to stop: Ctrl-C, and a scheduler's SIGTERM or SIGUSR1 before it kills.

While training is held, a signal is noted, and the step under way ends with a checkpoint; elsewhere
there is nothing to save, and the run ends at once. A second Ctrl-C does not wait either.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


class Stopped(SystemExit):
    """The run was asked to stop and did; the same command continues it.

    The exit status is 130 after Ctrl-C, else 75 (EX_TEMPFAIL: a scheduler may queue the job again).
    """

    def __init__(self, number: int) -> None:
        super().__init__(INTERRUPTED if number == signal.SIGINT else os.EX_TEMPFAIL)
        self.name = signal.Signals(number).name

    def __str__(self) -> str:
        return f"stopped by {self.name}"


class StopSignals:
    """Handlers for :data:`SIGNALS` in a block; ``requested`` is the signal that was noted.

    In a thread other than the main one nothing is handled: Python allows no more.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
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

    def raise_requested(self) -> None:
        """Raise :class:`Stopped` if a signal was noted."""
        if self.requested is not None:
            raise Stopped(self.requested)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.requested is not None
        self.requested = self.requested or number
        if not self.held or (again and number == signal.SIGINT):
            raise Stopped(number)
        if not again:
            name = signal.Signals(number).name
            text = f"{name}: stopping after this step, with a checkpoint; Ctrl-C again: at once\n"
            os.write(sys.stderr.fileno(), text.encode())
