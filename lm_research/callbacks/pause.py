"""Time that is not training: evaluations, samples, checkpoints."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def pause(module: Any) -> Iterator[None]:
    """Count the time inside as a pause of ``module``'s training."""
    started = time.perf_counter()
    try:
        yield
    finally:
        module.paused_seconds = paused_seconds(module) + time.perf_counter() - started


def paused_seconds(module: Any) -> float:
    """Seconds that training has paused so far, in this process."""
    return getattr(module, "paused_seconds", 0.0)
