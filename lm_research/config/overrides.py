"""Look at every override by itself, before Hydra stops at the first that it refuses."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig

from lm_research.config.hydra_errors import REFUSALS
from lm_research.config.hydra_fields import missing_field
from lm_research.config.origins import Origins
from lm_research.config.problems import Problem, closest, listing

STUDIES = {"sweep": "sweeps", "experiment": "experiments"}
"""Group -> folder of the files that are its options."""


def check_overrides(
    found: Any, overrides: Sequence[str], unreadable: Mapping[tuple[str, str], str]
) -> tuple[list[Problem], list[str]]:
    """Part sound overrides from wrong ones.

    Args:
        found: Hydra's config loader.
        overrides: as on the command line.
        unreadable: (group, option) -> why a study's file cannot be read.

    Returns:
        The problems, and the overrides that can be composed.
    """
    parsed, problems = _parse(found, overrides)
    groups = [o for o in parsed if _is_group(found, o)]
    fields = [o for o in parsed if o not in groups]
    wrong = {_group(o): p for o in groups if (p := _group_problem(found, o, unreadable))}
    problems += wrong.values()
    sound = [_text(o) for o in groups if _group(o) not in wrong]
    if not fields:
        return problems, sound  # a composition costs a quarter of a second
    try:
        base = hydra_compose("config", sound, return_hydra_config=True)
    except REFUSALS:
        return problems, [_text(o) for o in parsed]  # the real composition will say why
    for override in fields:
        if override.key_or_group.split(".")[0] in wrong:
            continue  # it may well be a field of the option that was meant
        problem = _field_problem(base, override, found)
        if problem:
            problems.append(problem)
        else:
            sound.append(_text(override))
    return problems, sound


def _parse(found: Any, overrides: Sequence[str]) -> tuple[list[Override], list[Problem]]:
    parsed, problems = [], []
    for text in overrides:
        try:
            override = OverridesParser.create(config_loader=found).parse_override(text)
        except HydraException as error:
            problems.append(_unreadable_override(text, error))
            continue
        if override.is_sweep_override():
            problems.append(_needs_multirun(text))
        else:
            parsed.append(override)
    return parsed, problems


def _text(override: Override) -> str:
    return str(override.input_line)


def _group(override: Override) -> str:
    return override.key_or_group.split("@")[0]


def _unreadable_override(text: str, error: Exception) -> Problem:
    reason = str(error).splitlines()[0]
    why = "cannot be read" if reason.startswith("Error parsing") else f"cannot be read ({reason})"
    return Problem(text, why, None, "GROUP=OPTION or GROUP.FIELD=VALUE")


def _needs_multirun(text: str) -> Problem:
    return Problem(text, "several values make several runs", None, "one value, or the flag -m")


def _is_group(found: Any, override: Override) -> bool:
    group = _group(override)
    return "." not in group and bool(found.get_group_options(group))  # asking takes a while


NULLABLE = {"debug", "experiment", "sweep", "local"}
"""Groups of which a run may choose nothing."""


def _group_problem(
    found: Any, override: Override, unreadable: Mapping[tuple[str, str], str]
) -> Problem | None:
    group = _group(override)
    options, value = found.get_group_options(group), override.value()
    names = value if isinstance(value, list) else [value]
    if isinstance(value, list) and group != "callbacks":
        options_given = ",".join(map(str, value))
        allowed = f"one option; for one run with each: -m {group}={options_given}"
        return Problem(_text(override), "options are not merged", None, allowed)
    for name in names:
        if (group, str(name)) in unreadable:
            return Problem(group, f"cannot be read: {unreadable[group, str(name)]}", str(name))
        missing = name is None and group not in NULLABLE and not override.is_delete()
        if missing or (name is not None and str(name) not in options):
            return _no_option(group, "null" if name is None else str(name), options)
    return None


def _no_option(group: str, name: str, options: Sequence[str]) -> Problem:
    message = f"{group} has no option `{name}`"
    folder = f"{STUDIES[group]}/" if group in STUDIES else f"conf/{group}/"
    file = None if group.startswith("hydra/") else folder  # those are in no folder of ours
    return Problem(group, message, name, listing(options), closest(name, options), file)


def _field_problem(base: DictConfig, override: Override, found: Any) -> Problem | None:
    """A field that is not there; what is in it is for the validation to judge."""
    key = override.key_or_group
    if "/" in key:
        parent, _, name = _group(override).rpartition("/")
        known = [f"{parent}/{group}" for group in found.list_groups(parent)]
        near = closest(f"{parent}/{name}", known)
        return Problem(key, "there is no such group", _value(override), listing(known), near)
    parts = key.split(".")
    if parts[0] == "hydra":
        return missing_field(base.hydra, parts[1:], _value(override))
    if override.is_add() or override.is_force_add():
        return None  # the schema is the judge of these
    node: Any = base
    for depth, part in enumerate(parts):
        if not isinstance(node, DictConfig):
            break
        if part not in map(str, node):  # "???" counts as there
            return _no_field(override, parts[:depth], node, base.hydra, found)
        node = node._get_node(part)
    return None


def _no_field(
    override: Override, parents: list[str], node: DictConfig, hydra_node: DictConfig, found: Any
) -> Problem:
    key = override.key_or_group
    part = key.split(".")[len(parents)]
    known = {str(k) for k in node} - {"_target_", "hydra"}
    owner, file = "the configuration", Origins(hydra_node).file(".".join(parents))
    if not parents:
        known |= set(found.list_groups(""))
    elif option := hydra_node.runtime.choices.get(parents[0]):
        owner = f"{parents[0]}={option}"
    else:
        owner = f"`{'.'.join(parents)}`"
    field = f"~{key}" if override.is_delete() else key
    message = f"{owner} has no field `{part}`"
    return Problem(field, message, _value(override), listing(known), closest(part, known), file)


def _value(override: Override) -> str | None:
    return None if override.is_delete() else override.get_value_element_as_str()
