"""From a node with ``_target_`` to an object: the one place where a config names code."""

import importlib
import inspect
import os
from collections.abc import Mapping
from typing import Any

ALLOWED = (
    "lm_research.",
    "torch.optim.",
    "pytorch_lightning.callbacks.",
)
"""Prefixes that a ``_target_`` may have. A config from a stranger runs nothing else."""

EXTRA = "LM_RESEARCH_ALLOW"
"""Environment variable: further prefixes, separated by commas, for one's own code."""


class BuildError(Exception):
    """A node that cannot be turned into an object; names the target, the cause and the fix."""


def allowed_prefixes() -> tuple[str, ...]:
    """The built-in allow-list and what the environment adds; never what a config says."""
    return (*ALLOWED, *_own_prefixes())


def _own_prefixes() -> tuple[str, ...]:
    names = (name.strip() for name in os.environ.get(EXTRA, "").split(","))
    return tuple(f"{name.rstrip('.')}." for name in names if name)


def is_own(target: str) -> bool:
    """Whether ``target`` lies in the code that the environment adds to the allow-list."""
    return target.startswith(_own_prefixes()) and is_allowed(target)


def is_allowed(target: Any) -> bool:
    """Whether ``target`` may be named by a config."""
    if not isinstance(target, str) or not target.startswith(allowed_prefixes()):
        return False
    return all(part.isidentifier() for part in target.split("."))


def build(node: Any, **runtime: Any) -> Any:
    """Build ``node`` and, inside out, every node in it.

    Args:
        node: plain containers; a mapping with ``_target_`` becomes an object, ``null`` stays None.
        runtime: arguments known only now (``vocabulary_size=...``); each is handed to the outermost
            object if its constructor has a parameter of that name.

    Raises:
        BuildError: the target is not on the allow-list, does not exist, or refuses its arguments.
    """
    if isinstance(node, list):
        return [build(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    fields = {key: build(value) for key, value in node.items() if key != "_target_"}
    if "_target_" not in node:
        return fields
    target = node["_target_"]
    cls = locate(target)
    known = inspect.signature(cls).parameters
    offered = {key: value for key, value in runtime.items() if key in known}
    try:
        return cls(**offered, **fields)
    except (TypeError, ValueError) as error:
        raise BuildError(f"{target} refused its arguments: {error}") from error


def locate(target: str) -> Any:
    """Import the class that ``target`` names, if the allow-list lets it."""
    if not is_allowed(target):
        raise _forbidden(target)
    module, _, name = target.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BuildError(f"_target_: {target} cannot be imported: {error}") from error
    if not isinstance(cls, type):
        raise BuildError(f"_target_: {target} is not a class")
    # A module may have imported a class from elsewhere: only its own are meant.
    if not f"{cls.__module__}.".startswith(ALLOWED) and not target.startswith(_own_prefixes()):
        raise _forbidden(f"{cls.__module__}.{cls.__qualname__}")
    return cls


def import_targets(node: Any) -> None:
    """Import the framework's own modules that ``node`` names, at any depth.

    A process that forks for every run calls it first: the runs then share the modules, and each is
    spared what importing them costs. One's own code is left to the run, which reads it as it is.
    """
    values = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    for value in values:
        import_targets(value)
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if isinstance(target, str) and is_allowed(target) and not is_own(target):
        locate(target)


def _forbidden(target: Any) -> BuildError:
    return BuildError(
        f"_target_: {target} is not on the allow-list ({', '.join(allowed_prefixes())}); "
        f"for code of your own set {EXTRA}=my_package"
    )
