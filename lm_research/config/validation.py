"""Check a composed configuration as a whole, before anything heavy is imported."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from lm_research.config.build import EXTRA, allowed_prefixes, is_allowed
from lm_research.config.checks import bare, describe, fits, hints
from lm_research.config.problems import Problem, closest, listing
from lm_research.config.schema import OPTIONAL, RANGES, RUNTIME, Run
from lm_research.config.signatures import TargetError, parameters

MISSING = "???"
Plain = Mapping[str, Any]


def validate(config: Plain, choices: Mapping[str, Any]) -> list[Problem]:
    """Every problem of a resolved configuration.

    Args:
        config: plain containers, interpolations resolved, missing values as "???".
        choices: option chosen per group, to name files: ``{"model": "lstm"}``.
    """
    return list(_Validator(choices).root(config))


class _Validator:
    def __init__(self, choices: Mapping[str, Any]) -> None:
        self.choices = choices

    def file(self, path: str) -> str | None:
        group = path.split(".")[0]
        option = self.choices.get(group)
        return f"conf/{group}/{option}.yaml" if isinstance(option, str) else "conf/config.yaml"

    def root(self, config: Plain) -> Iterator[Problem]:
        fields = hints(Run)
        yield from self.unknown_keys("", config, fields, "the configuration")
        for name, annotation in fields.items():
            if name not in config:
                if name not in OPTIONAL:
                    yield Problem(name, "is missing", allowed=describe(annotation))
            elif not (name in OPTIONAL and config[name] is None):
                yield from self.value(name, config[name], annotation, name)
        yield from cross_checks(config)

    def value(self, path: str, value: Any, annotation: Any, group: str) -> Iterator[Problem]:
        """Problems of one field, whatever it holds."""
        schema = next((a for a in (annotation, *get_args(annotation)) if _is_schema(a)), None)
        if value == MISSING:
            yield Problem(path, "must be given", allowed=describe(annotation), file=self.file(path))
        elif isinstance(value, Mapping) and "_target_" in value:
            yield from self.node(path, value, group)
        elif schema and isinstance(value, Mapping):
            yield from self.dataclass(path, value, schema, group)
        elif schema or not fits(value, annotation):
            yield self.misfit(path, value, annotation)
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
        fields = hints(schema)
        yield from self.unknown_keys(path, value, fields, f"`{path}`")
        for name, annotation in fields.items():
            if name in value:
                yield from self.value(f"{path}.{name}", value[name], annotation, group)
            else:
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
        owner = (
            f"{group}={self.choices[group]}" if isinstance(self.choices.get(group), str) else target
        )
        yield from self.unknown_keys(
            path, {k: v for k, v in node.items() if k != "_target_"}, fields, owner
        )
        for name, parameter in fields.items():
            annotation = (
                RANGES.get(name, parameter.annotation)
                if target.startswith("torch.")
                else parameter.annotation
            )
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
        for key in value:
            if key not in known:
                field = f"{path}.{key}" if path else str(key)
                message = f"{owner} has no field `{key}`"
                yield Problem(
                    field, message, None, listing(known), closest(str(key), known), self.file(field)
                )

    def misfit(self, path: str, value: Any, annotation: Any) -> Problem:
        shown = "null" if value is None else str(value)
        allowed = describe(annotation)
        options = [a for a in get_args(annotation) if isinstance(a, str)]
        near = closest(shown, options) if options else None
        message = "is out of range" if fits(value, bare(annotation)) else f"is {_kind(value)}"
        return Problem(path, message, shown, allowed, near, self.file(path))


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


def cross_checks(config: Plain) -> Iterator[Problem]:
    """Rules that join two fields. They speak only where both fields are sound by themselves."""
    try:
        splits, budget, trainer = config["splits"], config["budget"], config["trainer"]
        if splits["validation"] + splits["test"] >= 1:
            yield Problem(
                "splits",
                "nothing is left for training",
                str(dict(splits)),
                "validation + test below 1",
            )
        world = trainer["devices"] * trainer["num_nodes"]
        if budget["batch_size"] % world:
            allowed = f"a multiple of trainer.devices x trainer.num_nodes = {world}"
            yield Problem(
                "budget.batch_size", "cannot be shared out", str(budget["batch_size"]), allowed
            )
    except (KeyError, TypeError):
        return
