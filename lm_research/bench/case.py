"""What is compared, and how sides are timed in turns."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

Side = Callable[[], float]
"""Does the work once and returns its seconds."""


@dataclass
class Case:
    """What is timed for one row of a table.

    Attributes:
        sides: by name, ours first.
        equal: raises AssertionError where the sides do not compute the same.
        flops: of the work once, where most of it is products; None where it is not.
        extra: further columns, filled by the benchmark itself (memory).
        done: whether the sides have been run often enough; more rounds are taken until they are.
        scale: by side, how many rounds of it the work takes in all; its seconds are multiplied.
        close: lets go of what the sides hold (processes).
        work: what a profile looks at, where our side is a process of its own.
    """

    sides: dict[str, Side]
    equal: Callable[[], None]
    flops: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    done: Callable[[], bool] = lambda: True
    scale: Callable[[], dict[str, float]] | None = None
    close: Callable[[], None] = lambda: None
    work: Callable[[], object] | None = None


@dataclass(frozen=True)
class Plan:
    """A row to come: columns that say what is done, and how to make its case (once)."""

    what: dict[str, Any]
    make: Callable[[], Case]

    def words(self) -> list[str]:
        """By which a row is chosen: ``gru``, ``hidden=512``."""
        return [w for k, v in self.what.items() for w in (str(v), f"{k}={v}")]


@dataclass(frozen=True)
class Ratio:
    """A peer's seconds over ours: median over the rounds, and the rounds' quartiles."""

    median: float
    low: float
    high: float


def timed(call: Callable[[], object]) -> Side:
    """``call`` as a side: wall-clock seconds."""

    def side() -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    return side


def in_turns(
    sides: dict[str, Side],
    seconds: float,
    fewest: int = 5,
    done: Callable[[], bool] = lambda: True,
) -> dict[str, list[float]]:
    """Seconds of every round, the sides one after another, until ``seconds`` have passed.

    And until all is ``done``. Every second round goes through them in reverse, so that no side
    always follows the same one.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()  # caches, memory, compilation
    began = time.perf_counter()
    rounds = next(iter(times.values()))
    while len(rounds) < fewest or time.perf_counter() - began < seconds or not done():
        order = list(sides)
        for name in order if len(times[order[0]]) % 2 == 0 else reversed(order):
            times[name].append(sides[name]())
    return times


def ratios(times: dict[str, list[float]]) -> dict[str, Ratio]:
    """Every peer over the first side."""
    ours, *peers = times
    found = {}
    for peer in peers:
        each = [b / a for a, b in zip(times[ours], times[peer], strict=True)]
        low, _, high = quantiles(each, n=4)
        found[peer] = Ratio(median(times[peer]) / median(times[ours]), low, high)
    return found
