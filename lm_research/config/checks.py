"""Does a plain value fit an annotation, and how does one say what would?"""

import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from lm_research.config.signatures import InstanceOf
from lm_research.config.types import Interval

NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "text", None: "null"}


def fits(value: Any, annotation: Any) -> bool:
    """Whether ``value`` (plain YAML: scalars, lists, dicts) is allowed by ``annotation``."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is Any or annotation is object:
        return True
    if annotation is None or annotation is type(None):
        return value is None
    if origin is Annotated:
        return _fits_annotated(value, args[0], args[1:])
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in args)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in args)
    if origin is list or annotation is list:
        return isinstance(value, list) and all(fits(v, (args or (Any,))[0]) for v in value)
    if origin is dict or annotation is dict:
        key, item = args or (Any, Any)
        return isinstance(value, dict) and all(
            fits(k, key) and fits(v, item) for k, v in value.items()
        )
    return _fits_scalar(value, annotation)


def _fits_scalar(value: Any, kind: Any) -> bool:
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and value == value  # not NaN
    if kind in (bool, str):
        return isinstance(value, kind)
    return True


def _fits_annotated(value: Any, base: Any, notes: tuple[Any, ...]) -> bool:
    for note in notes:
        if isinstance(note, InstanceOf):
            return isinstance(value, dict) and "_target_" in value
        if isinstance(note, Interval) and not (fits(value, base) and note.contains(value)):
            return False
    return fits(value, base)


def describe(annotation: Any) -> str:
    """What is allowed, in words: "an integer at least 1", "one of 'a', 'b'"."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _describe_annotated(args[0], args[1:])
    if origin in (Union, types.UnionType):
        return " or ".join(describe(None if a is type(None) else a) for a in args)
    if origin is Literal:
        return "one of " + ", ".join(str(a) for a in args)
    if origin is list:
        return f"a list of {_plural(describe(args[0]))}"
    if origin is dict:
        return f"a mapping from {_plural(describe(args[0]))} to {_plural(describe(args[1]))}"
    try:
        return NAMES.get(annotation, getattr(annotation, "__name__", "anything"))
    except TypeError:
        return "anything"


def _describe_annotated(base: Any, notes: tuple[Any, ...]) -> str:
    for note in notes:
        if isinstance(note, InstanceOf):
            return f"a node with `_target_` ({note.path.rpartition('.')[2]})"
        if isinstance(note, Interval):
            return f"{describe(base)} {note}"
    return describe(base)


def bare(annotation: Any) -> Any:
    """``annotation`` without its ranges: what is left is the kind of value."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated and any(isinstance(note, Interval) for note in args[1:]):
        return bare(args[0])
    if origin in (Union, types.UnionType):
        return Union[tuple(bare(option) for option in args)]  # noqa: UP007
    return annotation


def _plural(text: str) -> str:
    for single in ("an ", "a "):
        if text.startswith(single):
            return text.removeprefix(single)
    return text


def hints(dataclass: type) -> dict[str, Any]:
    """Annotations of a schema dataclass, ranges included."""
    return typing.get_type_hints(dataclass, include_extras=True)
