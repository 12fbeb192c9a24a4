"""Medians of interleaved blocks, every call on another buffer and with a cold L2.

As ``triton.testing.do_bench``: events around every call on a GPU, whose L2 is overwritten before;
the host may run ahead of the device, which hides part of what launching costs. On a CPU the wall
clock, and caches as they are.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import torch

BLOCKS = 5
BLOCK_MS = 40.0
LEAST, MOST = 3, 200
FLUSH = 2**28
"""Bytes written between two calls: no L2 holds as many."""

Call = Callable[[int], object]
"""A contender's call on the buffer of that number."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds: the median, and the 20th and 80th percentile."""

    ms: float
    low: float
    high: float
    samples: int


class CpuClock:
    def run(self, call: Call, numbers: list[int]) -> list[float]:
        """Milliseconds of every call."""
        samples = []
        for number in numbers:
            started = time.perf_counter()
            call(number)
            samples.append(1e3 * (time.perf_counter() - started))
        return samples


class CudaClock:
    """Has never run on a GPU."""

    def __init__(self) -> None:
        self.cache = torch.empty(FLUSH, dtype=torch.int8, device="cuda")

    def run(self, call: Call, numbers: list[int]) -> list[float]:
        """Milliseconds of every call."""
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in numbers]
        for number, (before, after) in zip(numbers, events, strict=True):
            self.cache.zero_()
            before.record()
            call(number)
            after.record()
        torch.cuda.synchronize()
        return [before.elapsed_time(after) for before, after in events]


def clock_of(device: str) -> CpuClock | CudaClock:
    return CudaClock() if device == "cuda" else CpuClock()


def interleaved(
    calls: dict[str, Call],
    clock: CpuClock | CudaClock,
    blocks: int = BLOCKS,
    block_ms: float = BLOCK_MS,
) -> dict[str, Timing]:
    """A block of each, in turn, so that a drift of the clock rate meets all alike."""
    numbers = {name: count() for name in calls}
    for name, call in calls.items():
        clock.run(call, _next(numbers[name], 2))  # warm-up
    lengths = {}
    for name, call in calls.items():
        once = statistics.median(clock.run(call, _next(numbers[name], LEAST)))
        lengths[name] = min(max(LEAST, int(block_ms / max(once, 1e-6))), MOST)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(blocks):
        for name, call in calls.items():
            samples[name] += clock.run(call, _next(numbers[name], lengths[name]))
    return {name: summary(values) for name, values in samples.items()}


def _next(numbers: Iterator[int], size: int) -> list[int]:
    return [next(numbers) for _ in range(size)]


def summary(samples: list[float]) -> Timing:
    ordered = sorted(samples)
    low, high = (ordered[int(share * (len(ordered) - 1))] for share in (0.2, 0.8))
    return Timing(statistics.median(ordered), low, high, len(ordered))


def best_seconds(call: Callable[[], object], cuda: bool, runs: int = 10) -> float:
    """Of a call, the least of some runs."""
    call()
    seconds = []
    for _ in range(runs):
        if cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
