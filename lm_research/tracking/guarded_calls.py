"""Calls into a service that may fail or hang, made so that neither reaches the caller.

The calls run one after another in a thread of their own. The first that raises, or that is waited
for in vain, is told in one warning, and those after it are dropped. A caller waits only where it
says for how long.
"""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from lm_research.tracking.redaction import redacted

_log = logging.getLogger(__name__)
_MOST_WAITING = 100_000


@dataclass(frozen=True)
class _Call:
    make: Callable[[], None]
    last: bool = False
    made: threading.Event = field(default_factory=threading.Event)


class GuardedCalls:
    """A queue of calls and the thread that makes them.

    Args:
        service: name of the service, for the warning.
        consequence: what its failure means to the reader, for the warning.

    Attributes:
        failed: whether a call failed; nothing but the last call is made from then on.
    """

    def __init__(self, service: str, consequence: str) -> None:
        self.failed = False
        self._service = service
        self._consequence = consequence
        self._telling = threading.Lock()
        self._queue: queue.Queue[_Call] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name=f"{service} mirror", daemon=True)
        self._thread.start()

    def submit(self, make: Callable[[], None]) -> None:
        """Have a call made after those before it; returns at once."""
        if not self.failed:
            self._put(_Call(make))

    def wait(self, make: Callable[[], None], what: str, timeout_s: float) -> None:
        """Have a call made and wait for it, ``timeout_s`` seconds at most."""
        self._put_and_wait(_Call(make), what, timeout_s)

    def close(self, make: Callable[[], None], what: str, timeout_s: float) -> None:
        """Have the last call made, after a failure too, and wait for it; then the thread ends."""
        self._put_and_wait(_Call(make, last=True), what, timeout_s)

    def _put(self, call: _Call) -> bool:
        try:
            self._queue.put_nowait(call)
        except queue.Full:
            self._fail(TimeoutError(f"{_MOST_WAITING} calls are waiting"))
            return False
        return True

    def _put_and_wait(self, call: _Call, what: str, timeout_s: float) -> None:
        if self._put(call) and not call.made.wait(timeout_s):
            self._fail(TimeoutError(f"{what} took more than {timeout_s:g} s"))

    def _work(self) -> None:
        last = False
        while not last:
            call = self._queue.get()
            last = call.last
            try:
                if last or not self.failed:
                    call.make()
            except BaseException as error:  # whatever it is, it must not reach the run
                self._fail(error)
            finally:
                call.made.set()

    def _fail(self, error: BaseException) -> None:
        """Tell the first failure, and only that."""
        with self._telling:
            if self.failed:
                return
            self.failed = True
        line = " ".join(f"{type(error).__name__}: {error}".split())
        line = redacted(line).rstrip(".")
        _log.warning("%s: %s. %s", self._service, line, self._consequence)
