"""Medians of interleaved blocks, every call on another buffer and with a cold L2; then without.

As ``triton.testing.do_bench``: events around every call on a GPU, whose L2 is overwritten before;
the host may run ahead of the device, which hides part of what launching costs. So two more figures
are taken with nothing between the calls: what the host needs to enqueue one while the device is
idle, and what a call takes of many, one after another. On a CPU the wall clock, and caches as they
are.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count, islice

import torch

BLOCKS = 5
BLOCK_MS = 40.0
LEAST, MOST = 3, 200
FLUSH = 2**28
"""Bytes written between two calls: no L2 holds as many."""
ENQUEUED = 15
"""Calls of which the host's time is taken."""
ROUNDS = 3
"""Of calls back to back."""

Call = Callable[[int], object]
"""A contender's call on the buffer of that number."""
Attempt = Callable[[str, Callable[[], object]], bool]
"""Runs a step of a contender's timing; False if it failed, and the others go on without it."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds: the median, and the 20th and 80th percentile; then those without a flush.

    ``host_us`` are microseconds of the host for a call while the device is idle, ``wall_ms``
    milliseconds of a call back to back with others.
    """

    ms: float
    low: float
    high: float
    samples: int
    host_us: float = math.nan
    wall_ms: float = math.nan


class CpuClock:
    """Milliseconds by the wall clock."""

    def settle(self) -> None:
        """Nothing runs ahead."""

    def run(self, call: Call, numbers: list[int]) -> list[float]:
        """Of every call, by itself."""
        return self.enqueue(call, numbers)

    def enqueue(self, call: Call, numbers: list[int]) -> list[float]:
        """Of the host, until each call returns; the device is idle when it begins."""
        samples = []
        for number in numbers:
            self.settle()
            started = time.perf_counter()
            call(number)
            samples.append(1e3 * (time.perf_counter() - started))
        self.settle()
        return samples

    def back_to_back(self, call: Call, numbers: list[int]) -> float:
        """Of a call, on the average of calls with nothing between them."""
        self.settle()
        started = time.perf_counter()
        for number in numbers:
            call(number)
        self.settle()
        return 1e3 * (time.perf_counter() - started) / len(numbers)


class CudaClock(CpuClock):
    """Has never run on a GPU."""

    def __init__(self) -> None:
        self.cache = torch.empty(FLUSH, dtype=torch.int8, device="cuda")

    def settle(self) -> None:
        """Wait for the device."""
        torch.cuda.synchronize()

    def run(self, call: Call, numbers: list[int]) -> list[float]:
        """Of every call, by events, after the L2 was overwritten."""
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in numbers]
        for number, (before, after) in zip(numbers, events, strict=True):
            self.cache.zero_()
            before.record()
            call(number)
            after.record()
        torch.cuda.synchronize()
        return [before.elapsed_time(after) for before, after in events]


def clock_of(device: str) -> CpuClock:
    return CudaClock() if device == "cuda" else CpuClock()


class Samples:
    """One contender's: the steps that ``interleaved`` takes in turns."""

    def __init__(self, call: Call, clock: CpuClock, block_ms: float) -> None:
        self.call, self.clock, self.block_ms = call, clock, block_ms
        self.numbers, self.size, self.samples = count(), LEAST, list[float]()
        self.host_us = self.wall_ms = math.nan

    def warm_up(self) -> None:
        self.clock.run(self.call, self._next(2))

    def gauge(self) -> None:
        """How many calls a block has."""
        once = statistics.median(self.clock.run(self.call, self._next(LEAST)))
        self.size = min(max(LEAST, int(self.block_ms / max(once, 1e-6))), MOST)

    def block(self) -> None:
        self.samples += self.clock.run(self.call, self._next(self.size))

    def unflushed(self) -> None:
        enqueued = self.clock.enqueue(self.call, self._next(min(ENQUEUED, self.size)))
        rounds = [self.clock.back_to_back(self.call, self._next(self.size)) for _ in range(ROUNDS)]
        self.host_us, self.wall_ms = 1e3 * statistics.median(enqueued), statistics.median(rounds)

    def _next(self, size: int) -> list[int]:
        return list(islice(self.numbers, size))

    def timing(self) -> Timing:
        """Of what was sampled."""
        ordered = sorted(self.samples)
        low, high = (ordered[int(share * (len(ordered) - 1))] for share in (0.2, 0.8))
        middle = statistics.median(ordered)
        return Timing(middle, low, high, len(ordered), self.host_us, self.wall_ms)


def at_once(name: str, step: Callable[[], object]) -> bool:
    """An ``Attempt`` that catches nothing."""
    step()
    return True


def interleaved(
    calls: dict[str, Call],
    clock: CpuClock,
    blocks: int | None = None,
    block_ms: float = BLOCK_MS,
    attempt: Attempt = at_once,
) -> dict[str, Timing]:
    """A block of each, in turn, so that a drift of the clock rate meets all alike.

    Who fails has no timing.
    """
    steps = [Samples.warm_up, Samples.gauge, *[Samples.block] * (blocks or BLOCKS)]
    timed = {name: Samples(call, clock, block_ms) for name, call in calls.items()}
    for step in (*steps, Samples.unflushed):
        timed = {n: each for n, each in timed.items() if attempt(n, partial(step, each))}
    return {name: each.timing() for name, each in timed.items()}


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
