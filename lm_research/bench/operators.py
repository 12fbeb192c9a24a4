"""How much of some work is spent inside operators (PyTorch's and ours) rather than between them."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from torch.profiler import ProfilerActivity, profile


class Stopwatch:
    """Seconds between start and stop; with a profiler, that of PyTorch over the same stretch.

    Attributes:
        seconds: by the clock.
        thread_seconds: of this thread on a processor, which other programs do not lengthen.
        events: what the profiler saw.
    """

    def __init__(self, profiled: bool = False) -> None:
        self._profiler = profile(activities=[ProfilerActivity.CPU]) if profiled else None
        self.seconds = self.thread_seconds = 0.0
        self.events: Sequence[Any] = ()

    def start(self) -> None:
        """From now on."""
        if self._profiler:
            self._profiler.start()
        self._began = time.perf_counter(), time.thread_time()

    def stop(self) -> None:
        """Until now."""
        clock, thread = self._began
        self.seconds = time.perf_counter() - clock
        self.thread_seconds = time.thread_time() - thread
        if self._profiler:
            self._profiler.stop()
            self.events = self._profiler.events() or ()


def share_in_operators(work: Callable[[Stopwatch], object], rounds: int = 3) -> float:
    """Of the work's seconds, those inside operators: the median of some rounds.

    Seconds are the calling thread's by the clock: an operator that uses several threads counts
    once. Inside none are Python, Lightning, autograd's own walk, rows of metrics and the reading of
    batches. An operator of this package's that is written in Python counts whole.

    The profiler slows what it looks at, which must not count for either side. How much is the
    difference in this thread's processor time to a round without a profiler; it is spread evenly
    over the events. The work's seconds are those with the profiler, less all of that. An event's
    own interval leaves its bookkeeping out and its parent's holds it: so the operators' seconds are
    less one event's part for each event within an operator. (Seconds of rounds without a profiler
    would do as well on a machine at rest; on a busy one numerator and denominator must come from
    the same stretch.)

    Args:
        work: starts and stops the watch it is given.
    """
    work(Stopwatch(profiled=True))  # caches, memory, the profiler's own first call
    shares = []
    for _ in range(rounds):
        plain, watched = Stopwatch(), Stopwatch(profiled=True)
        work(plain)
        work(watched)
        slowdown = max(watched.thread_seconds - plain.thread_seconds, 0.0)
        inside = seconds_inside(watched.events, slowdown)
        shares.append(inside / (watched.seconds - slowdown))
    return median(shares)


def seconds_inside(events: Sequence[Any], slowdown: float) -> float:
    """Of all operators, less what the profiler added to them.

    Args:
        events: the profiler's: name, self_cpu_time_total (microseconds), cpu_parent.
        slowdown: seconds that the profiler took for all of them.
    """
    found = [event for event in events if _is_operator(event)]
    nested = sum(_is_operator(event.cpu_parent) for event in found)
    measured = sum(event.self_cpu_time_total for event in found) / 1e6
    return max(measured - nested * slowdown / max(len(events), 1), 0.0)


def _is_operator(event: Any) -> bool:
    """``aten::mm`` and ``lm_research::scan``, but no node of autograd's and no annotation."""
    return event is not None and "::" in event.name and not event.name.startswith("autograd::")
