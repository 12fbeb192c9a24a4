"""What a mixture that is sampled while training may ask for, told before anything is read."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from lm_research.config.problems import Problem, closest, listing

SAMPLING = ("temperature", "epochs", "schedule")
"""Fields of a mixture that are about training time; with any of them it is sampled then."""
POINTS = "[[PROGRESS, WEIGHT], ...] with PROGRESS rising within [0, 1], such as [[0, 1], [1, 3]]"
MOST_EXTREME = 0.01
"""Below this temperature n^(1/T) is one source alone, and soon no number."""


def is_sampled(node: Mapping[str, Any]) -> bool:
    """Whether a mixture's node asks for anything that happens while training."""
    return any(node.get(name) is not None for name in SAMPLING)


def sampling_problems(node: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of the fields :data:`SAMPLING` of a mixture's node, named from the node on."""
    weights = node["weights"]
    yield from _temperature(node.get("temperature"))
    epochs = node.get("epochs")
    if isinstance(epochs, Mapping):
        yield from _names("epochs", epochs, weights)
    schedule = node.get("schedule")
    if isinstance(schedule, Mapping):
        yield from _names("schedule", schedule, weights)
        faults = [fault for name, points in schedule.items() for fault in _points(name, points)]
        yield from faults
        if not faults:
            yield from _silence(weights, schedule)


def _temperature(value: Any) -> Iterator[Problem]:
    if value is not None and value > 0 and not MOST_EXTREME <= value < math.inf:
        allowed = f"a finite number of at least {MOST_EXTREME}; 1 is proportional to size"
        yield Problem("temperature", "is out of range", str(value), allowed)


def _names(field: str, given: Mapping[str, Any], weights: Mapping[str, Any]) -> Iterator[Problem]:
    for name in given:
        if name not in weights:
            near = closest(str(name), weights)
            yield Problem(f"{field}.{name}", "no weight of that name", None, listing(weights), near)


def _points(name: str, points: Any) -> Iterator[Problem]:
    field = f"schedule.{name}"
    if not isinstance(points, Sequence) or not points:
        yield Problem(field, "has no points", str(points), POINTS)
        return
    if any(not isinstance(p, Sequence) or len(p) != 2 for p in points):
        yield Problem(field, "is no list of pairs", str(list(points)), POINTS)
        return
    places, heights = zip(*points, strict=True)
    if any(not 0 <= place <= 1 for place in places):
        yield Problem(field, "leaves the run: progress is from 0 to 1", str(list(places)), POINTS)
    elif any(b <= a for a, b in pairwise(places)):
        yield Problem(field, "goes back in time", str(list(places)), POINTS)
    if any(not (math.isfinite(w) and w >= 0) for w in heights):
        allowed = "finite numbers of at least 0"
        yield Problem(field, "has an impossible weight", str(list(heights)), allowed)


def _silence(weights: Mapping[str, Any], schedule: Mapping[str, Any]) -> Iterator[Problem]:
    """A moment at which every weight is 0. The sum is piecewise linear: its corners suffice."""
    lines = {**{name: [[0, weight]] for name, weight in weights.items()}, **schedule}
    for place in sorted({float(p) for points in lines.values() for p, _ in points} | {0.0, 1.0}):
        if not any(line_at(points, place) for points in lines.values()):
            yield Problem(
                "schedule", f"all weights are 0 at progress {place:g}", None, "one above 0"
            )
            return


def line_at(points: Sequence[Sequence[float]], place: float) -> float:
    """A piecewise linear function, constant before its first point and after its last."""
    (left, low), *rest = points
    if place <= left:
        return float(low)
    for right, high in rest:
        if place <= right:
            return float(low + (high - low) * (place - left) / (right - left))
        left, low = right, high
    return float(low)
