"""Options of the verbs that are not Hydra's: ``key=value`` pairs against a dataclass."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar, get_args

from lm_research.config.checks import describe, fits, hints
from lm_research.config.problems import ConfigError, Problem, closest, listing

T = TypeVar("T")


def parse(
    schema: type[T], arguments: Sequence[str], others: Sequence[str] = ()
) -> tuple[T, list[str]]:
    """Fill ``schema`` from ``key=value`` pairs.

    Args:
        schema: a dataclass; its annotations say what is allowed.
        others: keys (and their dotted fields) that are passed on, as overrides for the composer.

    Returns:
        The options, and the overrides of ``others``.

    Raises:
        ConfigError: an unknown key, a value that does not fit, or a missing one; all at once.
    """
    known, problems, passed = hints(schema), [], []
    given: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if key.lstrip("+~").split(".")[0] in others:
            passed.append(argument)
        elif not equals or key not in known:
            names = [*known, *others]
            message = "is not KEY=VALUE" if not equals else "there is no such option"
            problems.append(Problem(argument, message, None, listing(names), closest(key, names)))
        else:
            given[key] = _read(text, known[key])
            if not fits(given[key], known[key]):
                problems.append(Problem(key, "does not fit", text, describe(known[key])))
    for field in dataclasses.fields(schema):  # type: ignore[arg-type]
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and field.name not in given:
            problems.append(Problem(field.name, "must be given", None, describe(known[field.name])))
    if problems:
        raise ConfigError(problems)
    return schema(**given), passed


def help_text(verb: str, schema: type, summary: str) -> str:
    """What ``lm-research VERB --help`` prints."""
    rows = []
    for field in dataclasses.fields(schema):
        default = "" if field.default is dataclasses.MISSING else f" ({_typed(field.default)})"
        rows.append(f"  {field.name + '=...':15} {field.metadata.get('help', '')}{default}")
    return f"usage: lm-research {verb} KEY=VALUE ...\n\n{summary}\n\n" + "\n".join(rows)


def _typed(default: Any) -> str:
    """A default as one would type it."""
    return "null" if default is None else str(default) or "empty"


def split_config_dir(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Take ``--config-dir DIR``, options of one's own, out of the arguments."""
    rest, folder = [], None
    left = iter(arguments)
    for argument in left:
        if argument == "--config-dir":
            folder = next(left, "")
        elif argument.startswith("--config-dir="):
            folder = argument.partition("=")[2]
        else:
            rest.append(argument)
    return folder, rest


def option(default: Any = dataclasses.MISSING, help: str = "") -> Any:
    """A dataclass field with a help line."""
    return dataclasses.field(default=default, metadata={"help": help})


def _read(text: str, annotation: Any) -> Any:
    """``text`` as the first of the annotation's types that it fits; text stays as it was typed."""
    kinds = [a for a in (annotation, *get_args(annotation)) if a in (int, float, bool, type(None))]
    kinds += [b for a in get_args(annotation) for b in get_args(a) if b in (int, float)]
    if text.lower() in ("null", "none") and type(None) in kinds:
        return None
    if bool in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                continue
    return text
