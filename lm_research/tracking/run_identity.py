"""What makes two runs the same run: the part of their configuration that moves the numbers.

The identity of a run is the hash of its resolved configuration without the keys of
:data:`NOT_IDENTITY`: where files go, how the run is watched, how it was launched. Everything else
counts, the trainer's hardware and precision too, since they move the last bits. ``1`` and ``1.0``
are the same number; the order of keys does not matter.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from lm_research.config.output_rules import FULL
from lm_research.config.places import without_places

NOT_IDENTITY = frozenset(
    {
        "output",  # where the run's folder is
        "cache",  # where token stores and downloads are
        "max_time",  # when to stop for now
        "prepare_workers",  # how many processes prepare the text
        "source_timeout",  # how long to wait for documents
        "process_timeout",  # and for other processes
        "end_margin",  # and how long before a scheduler would
        "resume",  # whether to go on with what is there
        "init_from",  # where the first weights lay; what they were is in `transfer.source`
        "tracking",  # who watches
        "hydra",  # how it was launched
        "choices",  # the options' names; what they hold is in the configuration itself
        "sweep",  # the study that the run is part of
        "callbacks.progress",  # what the screen shows
        "callbacks.histograms",  # a look at the weights
        "callbacks.checkpoint",  # how often to save, and how much of it stays
    }
)
"""Keys, dotted below the top, that do not move the numbers. Nor do places: ``config/places.py``."""

_ABSENT = "(absent)"
_WIDTH = 60


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of ``config`` that moves the numbers, in plain JSON types."""
    moving = without_places(config)
    kept = {str(k): _canonical(v) for k, v in moving.items() if k not in NOT_IDENTITY}
    if kept.get("output_layer") == {"_target_": FULL}:
        del kept["output_layer"]  # the only one there was before there was a choice
    if isinstance(callbacks := kept.get("callbacks"), dict):
        names = [name for name in callbacks if f"callbacks.{name}" not in NOT_IDENTITY]
        kept["callbacks"] = {name: callbacks[name] for name in names}
    return kept


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 (64 hex digits) of the identity's canonical JSON: sorted keys, no spaces.

    Args:
        config: the resolved configuration as plain containers.
    """
    text = json.dumps(identity(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Dotted keys at which two identities differ, with the old and the new value as text."""
    before, after = dict(_leaves(identity(old))), dict(_leaves(identity(new)))
    keys = sorted(before.keys() | after.keys())
    pairs = {key: (before.get(key, _ABSENT), after.get(key, _ABSENT)) for key in keys}
    return {key: (a, b) for key, (a, b) in pairs.items() if a != b}


def difference_table(old: Mapping[str, Any], new: Mapping[str, Any], limit: int = 10) -> str:
    """:func:`differences` as lines ``key: old -> new``, at most ``limit`` of them."""
    found = differences(old, new)
    lines = [f"  {k}: {_short(a)} -> {_short(b)}" for k, (a, b) in list(found.items())[:limit]]
    if len(found) > limit:
        lines.append(f"  and {len(found) - limit} more")
    return "\n".join(lines)


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted path and JSON text of every leaf; an empty container is a leaf."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
