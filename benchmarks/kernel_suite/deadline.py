"""When a run has to be through: a machine is lent for minutes."""

import math
import time
from collections.abc import Callable


class Deadline:
    """Some seconds from its making on; None: for ever."""

    def __init__(self, seconds: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._end = math.inf if seconds is None else now() + seconds

    def left(self) -> float:
        """Seconds; infinite without a limit, never negative."""
        return max(0.0, self._end - self._now())

    def share(self, part: float) -> "Deadline":
        """Of what is left, a part."""
        left = self.left()
        return Deadline(None if math.isinf(left) else part * left, self._now)

    @property
    def over(self) -> bool:
        return self.left() == 0


FOREVER = Deadline(None)
