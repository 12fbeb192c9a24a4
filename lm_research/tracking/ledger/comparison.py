"""What differs between runs, and nothing else: configuration, data, environment, results."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_research.analysis.runs import Run
from lm_research.analysis.settings import flatten
from lm_research.tracking.run_identity import identity

ABSENT = "(absent)"
_INCIDENTAL = ("time", "command", "directory", "memory_available_bytes")
Differences = dict[str, list[Any]]
"""Dotted name -> one value a run, :data:`ABSENT` where a run has none."""


def compare(runs: Sequence[Run]) -> dict[str, Differences]:
    """Section ("config", "data", "environment", "results") -> what differs; empty: nothing does.

    Of the configuration, what does not move the numbers is left out (``run_identity``).
    """
    parts: dict[str, Callable[[Run], Mapping[str, Any]]] = {
        "config": lambda run: flatten(identity(run.config)),
        "data": lambda run: flatten(run.data),
        "environment": _environment,
        "results": lambda run: run.summary,
    }
    return {name: differing([part(run) for run in runs]) for name, part in parts.items()}


def differing(values: Sequence[Mapping[str, Any]]) -> Differences:
    """Name -> values, of the names whose values are not all equal."""
    names = dict.fromkeys(name for each in values for name in each)
    rows = {name: [each.get(name, ABSENT) for each in values] for name in names}
    return {name: row for name, row in rows.items() if any(value != row[0] for value in row)}


def _environment(run: Run) -> dict[str, Any]:
    return flatten({k: v for k, v in run.environment.items() if k not in _INCIDENTAL})
