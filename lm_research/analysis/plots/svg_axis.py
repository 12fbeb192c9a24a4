"""An axis of a still picture: where a value stands, and what is written beside it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_research.analysis.metric import compact

PADDING = 0.06
"""Room beyond the outermost values, as a share of what they span."""
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Axis:
    """A scale from values to shares of the plot's width or height.

    Args:
        low, high: of the range; logarithms where ``log``; places of names where ``names``.
        names: of a category axis, in order.
        ticks: (value, text) to be written.
    """

    low: float
    high: float
    names: tuple[str, ...]
    log: bool
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: Any) -> float:
        """0 at the axis's beginning, 1 at its end."""
        place = self.names.index(value) if self.names and isinstance(value, str) else float(value)
        place = math.log10(place) if self.log else place
        return (place - self.low) / (self.high - self.low)


def axis_of(layout: Mapping[str, Any], values: Iterable[Any], spans: Iterable[float]) -> Axis:
    """The axis that a figure's layout asks for.

    Args:
        layout: ``xaxis`` or ``yaxis`` of the figure.
        values: all that stands on it.
        spans: ends of intervals on it.
    """
    listed = [value for value in values if value is not None]
    if layout.get("type") == "category":
        return _categories(layout, listed)
    log = layout.get("type") == "log"
    numbers = [float(v) for v in [*listed, *spans] if not log or v > 0]
    low, high = layout.get("range") or _limits(numbers, log, layout.get("rangemode") == "tozero")
    if "tickvals" in layout:
        ticks = tuple(zip(map(float, layout["tickvals"]), layout["ticktext"], strict=True))
    elif layout.get("showticklabels") is False:
        ticks = ()
    else:
        ticks = _decades(low, high) if log else _steps(low, high)
    return Axis(low, high, (), log, ticks)


def _categories(layout: Mapping[str, Any], values: Sequence[Any]) -> Axis:
    names = tuple(layout.get("categoryarray") or dict.fromkeys(map(str, values)))
    low, high = layout.get("range") or (-0.5, len(names) - 0.5)
    if layout.get("autorange") == "reversed":
        low, high = high, low
    texts = dict(zip(layout.get("tickvals") or names, layout.get("ticktext") or names, strict=True))
    ticks = tuple((float(i), texts.get(name, name)) for i, name in enumerate(names))
    return Axis(low, high, names, False, ticks)


def _limits(numbers: Sequence[float], log: bool, from_zero: bool) -> tuple[float, float]:
    ends = [math.log10(n) for n in numbers] if log else [*numbers, *([0.0] if from_zero else [])]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    room = PADDING * (high - low) or 0.5
    return (low if from_zero else low - room), high + room


def _steps(low: float, high: float, most: int = 7) -> tuple[tuple[float, str], ...]:
    """Round numbers, at most ``most``."""
    rough = (high - low) / most
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(s * scale for s in _STEPS if s * scale >= rough * (1 - 1e-9))
    count = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return tuple((i * step, _number(i * step, step)) for i in count)


def _decades(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """1, 2 and 5 in every decade of the range."""
    found = [d * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for d in (1, 2, 5)]
    return tuple((v, compact(v)) for v in found if low <= math.log10(v) <= high)


def _number(value: float, step: float) -> str:
    if step >= 1000:
        return compact(value)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) + (f"{step:e}".startswith("2.5"))
    return f"{value:.{decimals}f}".replace("-", "−")
