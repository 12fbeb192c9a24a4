"""What runs that classify documents have left to draw: ``curves.json``."""

import os
from dataclasses import dataclass
from typing import Any

from lm_research.analysis.runs import Run
from lm_research.config.untrusted import LARGEST_JSON, UntrustedError, load_json, read_plain

SPLIT = "validation"
MOST_CURVES, MOST_POINTS = 8, 200
MOST_DOCUMENTS = 1 << 50


@dataclass(frozen=True)
class ClassCurve:
    """One class against all others: the area under its curve, and points within 0 and 1."""

    name: str
    area: float
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Bins:
    """Of a reliability diagram: mean probability, share that is right, how many; and a name."""

    name: str
    probability: tuple[float, ...]
    right: tuple[float, ...]
    count: tuple[int, ...]


@dataclass(frozen=True)
class ClassCurves:
    """Of one run, on the validation split."""

    roc: tuple[ClassCurve, ...]
    precision_recall: tuple[ClassCurve, ...]
    reliability: tuple[Bins, ...]


def curves_of(run: Run) -> ClassCurves | None:
    """None where a run has left no curves, or damaged ones."""
    file = run.folder / "curves.json"
    if not os.path.lexists(file):
        return None
    try:
        known: Any = load_json(read_plain(file, LARGEST_JSON))[SPLIT]
        roc, precision_recall = (
            tuple(map(_curve, known[kind][:MOST_CURVES])) for kind in ("roc", "precision_recall")
        )
        bins = tuple(map(_bins, known["reliability"][:2]))
        return ClassCurves(roc, precision_recall, bins)
    except (OSError, UntrustedError, KeyError, TypeError, ValueError):
        return None


def _curve(known: Any) -> ClassCurve:
    x, y = (tuple(map(float, known[axis])) for axis in ("x", "y"))
    area = float(known["area"])
    sound = len(x) == len(y) <= MOST_POINTS and all(0 <= value <= 1 for value in (area, *x, *y))
    if not sound or not x:
        raise ValueError("no points of a curve")
    return ClassCurve(str(known["class"]), area, x, y)


def _bins(known: Any) -> Bins:
    p, right = (tuple(map(float, known[name])) for name in ("probability", "right"))
    count = tuple(map(int, known["count"]))
    sound = 0 < len(p) == len(right) == len(count) <= MOST_POINTS
    sound = sound and all(0 <= value <= 1 for value in (*p, *right))
    if not sound or not all(0 < n < MOST_DOCUMENTS for n in count):
        raise ValueError("no bins of a reliability diagram")
    return Bins(str(known["name"]), p, right, count)
