"""Look at every override by itself, before Hydra stops at the first that it refuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose as hydra_compose
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig

from lm_research.config.hydra_errors import REFUSALS
from lm_research.config.hydra_fields import missing_field
from lm_research.config.origins import Origins
from lm_research.config.paths import STUDIES
from lm_research.config.problems import Problem, closest, listing


@dataclass(frozen=True)
class Overrides:
    """What was given on a command line, part by part.

    Attributes:
        problems: of what cannot be read, and of options that there are not.
        groups: the sound choices of options.
        fields: the values of fields, of which nothing is known yet.
        wrong: groups whose choice is a problem; their fields may well be of the option meant.
    """

    problems: list[Problem]
    groups: list[str]
    fields: list[Override]
    wrong: frozenset[str]

    @property
    def texts(self) -> list[str]:
        """What can be composed, if every field is there."""
        return [*self.groups, *map(_text, self.fields)]

    @property
    def for_hydra(self) -> bool:
        """Whether a field is Hydra's own, whose nodes take names that mean nothing."""
        return any(o.key_or_group.split(".")[0] == "hydra" for o in self.fields)


def look_at_each(
    found: Any, overrides: Sequence[str], unreadable: Mapping[tuple[str, str], str]
) -> Overrides:
    """Read each override, and see that the options there are.

    Args:
        found: Hydra's config loader.
        overrides: as on the command line.
        unreadable: (group, option) -> why a study's file cannot be read.
    """
    parsed, problems = _parse(found, overrides)
    groups = [o for o in parsed if _is_group(found, o)]
    fields = [o for o in parsed if o not in groups]
    wrong = {_group(o): p for o in groups if (p := _group_problem(found, o, unreadable))}
    sound = [_text(o) for o in groups if _group(o) not in wrong]
    return Overrides([*problems, *wrong.values()], sound, fields, frozenset(wrong))


def look_at_fields(found: Any, given: Overrides) -> tuple[list[Problem], list[str]]:
    """Find the fields that are not there: what to do where Hydra refuses them, or may not.

    Costs a composition of the options alone.

    Returns:
        The problems, and all that can be composed.
    """
    if not given.fields:
        return [], given.groups
    try:
        base = hydra_compose("config", given.groups, return_hydra_config=True)
    except REFUSALS:
        return [], given.texts  # the composition of them all will say why
    problems, sound = [], list(given.groups)
    for override in given.fields:
        if override.key_or_group.split(".")[0] in given.wrong:
            continue
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
    return "." not in group and bool(options_of(found, group))


def options_of(found: Any, group: str) -> list[str]:
    """A group's options. Hydra's loader copies all that it knows before it answers; this does not.

    Args:
        found: Hydra's config loader.
        group: such as ``model``, or ``hydra/launcher``.
    """
    return list(found.repository.get_group_options(group, ObjectType.CONFIG))


def _groups(found: Any, parent: str) -> list[str]:
    return list(found.repository.get_group_options(parent, ObjectType.GROUP))


NULLABLE = {"debug", "protocol", "experiment", "sweep", "local"}
"""Groups of which a run may choose nothing."""


def _group_problem(
    found: Any, override: Override, unreadable: Mapping[tuple[str, str], str]
) -> Problem | None:
    group = _group(override)
    options, value = options_of(found, group), override.value()
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
        known = [f"{parent}/{group}" for group in _groups(found, parent)]
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
    if not parents and (options := options_of(found, part)):  # a group of which none is chosen
        choices = [f"{part}={option}" for option in options]
        message = f"{part} has fields once an option of it is chosen"
        return Problem(key, message, _value(override), f"with it {listing(choices)}")
    known = {str(k) for k in node} - {"_target_", "hydra"}
    owner, file = "the configuration", Origins(hydra_node).file(".".join(parents))
    if not parents:
        known |= set(_groups(found, ""))
    elif option := hydra_node.runtime.choices.get(parents[0]):
        owner = f"{parents[0]}={option}"
    else:
        owner = f"`{'.'.join(parents)}`"
    field = f"~{key}" if override.is_delete() else key
    message = f"{owner} has no field `{part}`"
    return Problem(field, message, _value(override), listing(known), closest(part, known), file)


def _value(override: Override) -> str | None:
    return None if override.is_delete() else override.get_value_element_as_str()
