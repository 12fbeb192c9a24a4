"""What a finished configuration chose on an axis: a group's option, or a dotted field's value."""

from collections.abc import Mapping
from typing import Any

PRETRAINING = "init_from"
"""The axis of what the first weights come from: its values are told by what was trained first."""


def mapping(value: Any) -> Mapping[str, Any]:
    """``value`` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def choices_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The option names; without them, the name or the class of each group stands in.

    Data goes by its own name: two mixtures are two sources, though one option makes both.
    """
    choices = mapping(config.get("choices"))
    if choices:
        found = {
            str(group): str(option)
            for group, option in choices.items()
            if option is not None and not str(group).startswith("hydra")
        }
        own = mapping(config.get("data")).get("name")
        return found | ({"data": own} if isinstance(own, str) and "data" in found else {})
    found = {}
    for group, value in config.items():
        name = (
            mapping(value).get("name")
            or str(mapping(value).get("_target_") or "").rpartition(".")[2]
        )
        if name:
            found[group] = str(name)
    return found


def value_on(config: Mapping[str, Any], choices: Mapping[str, str], axis: str) -> str | None:
    """The value on an axis, as the command line has it; None: there is none, or it is null."""
    if axis in choices:
        return choices[axis]
    found: Any = config
    for part in axis.split("."):
        found = mapping(found).get(part)
    if isinstance(found, bool):
        return str(found).lower()
    return None if found is None else str(found)
