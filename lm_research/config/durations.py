"""Spans of time as people write them: ``90``, ``"01:30:00"``, ``"1h 30m"``, ``"2 days"``."""

import re

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FORMS = 'seconds, "HH:MM:SS", "DD:HH:MM:SS", or words such as "90 min" and "1h 30m"'
_CLOCK = re.compile(r"(?:(\d+)[-:])?(?:(\d+):)?(\d+):(\d+)")
_WORDS = re.compile(r"(\d+(?:\.\d+)?)\s*(d|days?|h|hours?|m|min|minutes?|s|sec|seconds?)(?![a-z])")


def seconds_of(text: str | float) -> float:
    """A span of time, in seconds.

    Raises:
        ValueError: it is not written in one of :data:`FORMS`, or is not positive.
    """
    try:
        seconds = _number(text) or _clock(str(text)) or _words(str(text))
    except OverflowError:  # an integer of more than 308 digits
        seconds = float("inf")
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{text!r} is no span of time: {FORMS}")
    return seconds


def _number(text: str | float) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _clock(text: str) -> float:
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return 0.0
    parts = [int(part) for part in found.groups() if part is not None]
    return float(sum(p * f for p, f in zip(reversed(parts), SECONDS.values(), strict=False)))


def _words(text: str) -> float:
    if _WORDS.sub("", text).strip(" ,"):
        return 0.0
    return sum(float(number) * SECONDS[unit[0]] for number, unit in _WORDS.findall(text))
