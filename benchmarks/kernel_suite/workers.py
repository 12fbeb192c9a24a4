"""A process that works for another, is watched by it, and may die, hang or lose its device.

The worker answers requests one after another, and says in between whose turn it is: who was at work
when it came to an end is known, whatever the end was. The next request starts a new one.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from kernel_suite.deadline import FOREVER, Deadline
from kernel_suite.gpu import DeviceLostError, first_line

SILENCE = 120.0
"""Seconds without a word after which a worker counts as hanging: compilers are slow."""
ENDING = 10.0
"""Seconds that a killed one may take to give its GPU back."""
STARTING = 300.0
"""Seconds that one may take until it is ready: it imports PyTorch and begins to use a GPU."""
READY = "ready"

Tell = Callable[[str], None]
"""Says whose turn it is."""
Made = Callable[[Any, Tell], Any]
"""Makes, of its settings, what answers requests: methods by their names."""


class LostError(Exception):
    """A worker came to an end. ``current``: whose turn it was; "" if nobody's."""

    def __init__(self, current: str, reason: str) -> None:
        super().__init__(reason)
        self.current, self.reason = current, reason


class UnusableError(Exception):
    """No worker can begin its work: nothing that is asked is to blame."""


class TimeUpError(Exception):
    """The deadline came before the answer."""


def serve(connection: Connection, made: Made, settings: Any) -> None:
    """Answer requests until the other side is gone or the device is lost: the worker's own life."""
    try:
        server = made(settings, lambda name: connection.send(("turn", name)))
        connection.send((READY, None))
        while True:
            name, given = connection.recv()
            connection.send(("answer", getattr(server, name)(*given)))
    except (EOFError, BrokenPipeError):
        return
    except DeviceLostError as error:
        connection.send(("lost", str(error)))
    except Exception as error:
        connection.send(("lost", first_line(error)))


class Worker:
    """The side that asks.

    Args:
        made: at the top of a module, so that a new process finds it.
        settings: its argument; can be pickled.
        silence: seconds without a word after which the worker is ended.
    """

    def __init__(
        self, made: Made, settings: Any, deadline: Deadline = FOREVER, silence: float = SILENCE
    ) -> None:
        self.made, self.settings = made, settings
        self.deadline, self.silence = deadline, silence
        self._process: Any = None
        self._connection: Any = None

    def ask(self, name: str, *given: Any) -> Any:
        """What its method of that name answers.

        Raises:
            LostError: the worker raised, died, hangs or lost its device; it has been ended.
            UnusableError: it did so before it was asked anything.
            TimeUpError: the deadline came first; it has been ended.
        """
        try:
            if self._process is None:
                self._start()
            self._connection.send((name, given))
            return self._heard("answer", self.silence)
        except (BrokenPipeError, ConnectionResetError) as error:  # it died between two requests
            self.stop()
            raise LostError("", "the process died while it had nothing to do") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.join(ENDING)
            self._connection.close()
            self._process = self._connection = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        what = (theirs, self.made, self.settings)
        self._process = context.Process(target=serve, args=what, daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._heard(READY, max(self.silence, STARTING))
        except LostError as lost:
            raise UnusableError(lost.reason) from lost

    def _heard(self, wanted: str, silence: float) -> Any:
        current = ""
        while True:
            kind, value = self._said(current, silence)
            if kind == wanted:
                return value
            if kind == "lost":
                raise LostError(current, value)
            current = value

    def _said(self, current: str, silence: float) -> tuple[str, Any]:
        left = self.deadline.left()
        if not self._connection.poll(min(left, silence)):
            if left <= silence:
                raise TimeUpError
            raise LostError(current, f"hangs: nothing was heard of it for {silence:.0f} s")
        try:
            return self._connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise LostError(current, _end_of(self._process.exitcode)) from None


def _end_of(status: int) -> str:
    told = f"signal {-status}" if status < 0 else f"exit status {status}"
    return f"the process died: {told}"
