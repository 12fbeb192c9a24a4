"""Fields of a node that say where files lie on this machine, and so move no number."""

from collections.abc import Mapping
from typing import Any

PLACES = frozenset({"downloads"})
"""Names of such fields, in ``_target_`` nodes at any depth."""


def without_places(value: Any) -> Any:
    """Plain containers without the fields of :data:`PLACES`."""
    if isinstance(value, Mapping):
        return {key: without_places(item) for key, item in value.items() if key not in PLACES}
    if isinstance(value, list | tuple):
        return [without_places(item) for item in value]
    return value
