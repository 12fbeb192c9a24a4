"""Check a composed configuration as a whole, before anything heavy is imported."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from lm_research.config.build import EXTRA, allowed_prefixes, is_allowed
from lm_research.config.checks import bare, describe, fits, hints
from lm_research.config.cross_checks import cross_checks
from lm_research.config.problems import Problem, closest, listing
from lm_research.config.schema import OPTIONAL, RANGES, RUNTIME, Run
from lm_research.config.signatures import Parameter, TargetError, parameters

MISSING = "???"
INTERNAL = {"choices"}
"""Root fields that nobody sets."""
Plain = Mapping[str, Any]


def validate(
    config: Plain, choices: Mapping[str, Any], file: Callable[[str], str]
) -> list[Problem]:
    """Every problem of a resolved configuration.

    Args:
        config: plain containers, interpolations resolved, missing values as "???".
        choices: option chosen per group: ``{"model": "lstm"}``.
        file: names the file that a field comes from.
    """
    return list(_Validator(choices, file).root(config))


def validate_as(schema: type, node: Plain, file: str) -> list[Problem]:
    """Every problem of a file of its own whose shape is the dataclass ``schema``."""
    checked = _Validator({}, lambda field: file)
    fields, optional = hints(schema), _with_defaults(schema)
    problems = list(checked.unknown_keys("", node, fields, "the file"))
    for name, annotation in fields.items():
        if name in node:
            problems += checked.value(name, node[name], annotation, "")
        elif name not in optional:
            problems.append(Problem(name, "is missing", None, describe(annotation), None, file))
    return problems


def validate_node(path: str, node: Plain, group: str, file: str) -> list[Problem]:
    """Every problem of one node with ``_target_``, in a file of its own."""
    return list(_Validator({}, lambda field: file).node(path, node, group))


class _Validator:
    def __init__(self, choices: Mapping[str, Any], file: Callable[[str], str]) -> None:
        self.choices, self.file = choices, file

    def root(self, config: Plain) -> Iterator[Problem]:
        fields = hints(Run)
        yield from self.unknown_keys("", config, fields, "the configuration")
        for name, annotation in fields.items():
            if name not in config:
                if name not in OPTIONAL:
                    yield Problem(name, "is missing", allowed=describe(annotation))
            elif config[name] not in (None, {}) or name not in OPTIONAL:
                yield from self.value(name, config[name], annotation, name)
        yield from cross_checks(config, self.file)

    def value(self, path: str, value: Any, annotation: Any, group: str) -> Iterator[Problem]:
        """Problems of one field, whatever it holds."""
        schema = next((a for a in (annotation, *get_args(annotation)) if _is_schema(a)), None)
        if value == MISSING:
            yield Problem(path, "must be given", allowed=describe(annotation), file=self.file(path))
        elif isinstance(value, Mapping) and "_target_" in value and fits(value, annotation):
            yield from self.node(path, value, group)
        elif value is None and type(None) in get_args(annotation):
            return
        elif schema and isinstance(value, Mapping):
            yield from self.dataclass(path, value, schema, group)
        elif schema or not fits(value, annotation):
            yield from self.misfits(path, value, annotation, group)
        else:
            yield from self.inside(path, value, group)

    def inside(self, path: str, value: Any, group: str) -> Iterator[Problem]:
        """Nodes nested in lists and mappings."""
        pairs = (
            value.items()
            if isinstance(value, Mapping)
            else enumerate(value)
            if isinstance(value, list)
            else ()
        )
        for key, item in pairs:
            if isinstance(item, Mapping | list) or item == MISSING:
                yield from self.value(f"{path}.{key}", item, Any, group)

    def dataclass(self, path: str, value: Plain, schema: type, group: str) -> Iterator[Problem]:
        fields, optional = hints(schema), _with_defaults(schema)
        yield from self.unknown_keys(path, value, fields, f"`{path}`")
        for name, annotation in fields.items():
            if name in value:
                yield from self.value(f"{path}.{name}", value[name], annotation, group)
            elif name not in optional:
                yield Problem(
                    f"{path}.{name}",
                    "is missing",
                    None,
                    describe(annotation),
                    None,
                    self.file(path),
                )

    def node(self, path: str, node: Plain, group: str) -> Iterator[Problem]:
        """A ``_target_`` node against its class's constructor."""
        target = node["_target_"]
        if not isinstance(target, str) or not is_allowed(target):
            allowed = f"{', '.join(allowed_prefixes())} (own code: set {EXTRA}=my_package)"
            yield Problem(
                f"{path}._target_",
                "is not on the allow-list",
                str(target),
                allowed,
                None,
                self.file(path),
            )
            return
        try:
            known = parameters(target)
        except TargetError as error:
            yield Problem(f"{path}._target_", str(error), target, file=self.file(path))
            return
        runtime = RUNTIME.get(group, set())
        fields = {k: p for k, p in known.items() if k not in runtime}
        option = self.choices.get(group) if path == group else None
        owner = f"{group}={option}" if isinstance(option, str) else target.rpartition(".")[2]
        yield from self.unknown_keys(
            path, {k: v for k, v in node.items() if k != "_target_"}, fields, owner
        )
        for name, parameter in fields.items():
            annotation = _annotation(target, parameter, group)
            if name in node:
                yield from self.value(f"{path}.{name}", node[name], annotation, group)
            elif parameter.required:
                yield Problem(
                    f"{path}.{name}",
                    "must be given",
                    None,
                    describe(annotation),
                    None,
                    self.file(path),
                )

    def unknown_keys(
        self, path: str, value: Plain, known: Mapping[str, Any], owner: str
    ) -> Iterator[Problem]:
        for key, item in value.items():
            if key not in known:
                field = f"{path}.{key}" if path else str(key)
                message = f"{owner} has no field `{key}`"
                names = set(known) - INTERNAL
                shown = None if isinstance(item, Mapping | list) else _shown(item)
                yield Problem(
                    field,
                    message,
                    shown,
                    listing(names),
                    closest(str(key), names),
                    self.file(field),
                )

    def misfits(self, path: str, value: Any, annotation: Any, group: str) -> Iterator[Problem]:
        """The innermost values that do not fit: an item rather than its whole list."""
        options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
        for kind in options or (annotation,):
            origin, args = get_origin(kind), get_args(kind)
            if origin is list and isinstance(value, list):
                pairs: Iterable[tuple[Any, Any]] = enumerate(value)
            elif (
                origin is dict
                and isinstance(value, Mapping)
                and all(fits(k, args[0]) for k in value)
            ):
                pairs = value.items()
            else:
                continue
            for key, item in pairs:
                yield from self.value(f"{path}.{key}", item, args[-1], group)
            return
        yield self.misfit(path, value, annotation)

    def misfit(self, path: str, value: Any, annotation: Any) -> Problem:
        shown, allowed = _shown(value), describe(annotation)
        choices = [a for a in _choices(annotation) if isinstance(a, str)]
        near = closest(shown, choices) if choices else None
        if fits(value, bare(annotation)):
            message = "is out of range"
        else:
            unknown = choices and isinstance(value, str)
            message = "is not among the choices" if unknown else f"is {_kind(value)}"
        return Problem(path, message, shown, allowed, near, self.file(path))


def _with_defaults(schema: type) -> set[str]:
    """Fields that may be left out."""
    fields = dataclasses.fields(schema)
    missing = dataclasses.MISSING
    return {f.name for f in fields if f.default is not missing or f.default_factory is not missing}


def _annotation(target: str, parameter: Parameter, group: str) -> Any:
    """A parameter's own annotation; of an optimizer, the range that its name calls for."""
    known, own = RANGES.get(parameter.name), parameter.annotation
    ours = group == "optimizer" and target.startswith("lm_research.")
    if known is None or not (ours or target.startswith("torch.")):
        return own
    # Adafactor's eps is a pair.
    return known if (get_origin(known) is list) == (get_origin(own) is list) else own


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _choices(annotation: Any) -> list[Any]:
    """The values of a Literal, alone or in a union."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [a for option in get_args(annotation) for a in _choices(option)]


def _is_schema(annotation: Any) -> bool:
    return isinstance(annotation, type) and dataclasses.is_dataclass(annotation)


def _kind(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "an integer",
        float: "a number",
        str: "text",
        list: "a list",
    }
    return names.get(type(value), "a mapping" if isinstance(value, Mapping) else "null")
