"""Fields under ``hydra`` that Hydra does not have: its nodes know theirs, but ``+`` adds others."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import Container, DictConfig, OmegaConf

from lm_research.config.problems import Problem, closest, listing

UNDECLARED = {"hydra": {"env"}}
"""Path -> names that Hydra's own YAML adds to its dataclasses."""


def added_fields(node: DictConfig, path: str = "hydra") -> Iterator[Problem]:
    """A problem for each field, at any depth, that the dataclass of its node lacks."""
    known = _fields(node, path)
    for key in map(str, node):
        child: Any = node._get_node(key)
        if known and key not in known:
            shown = None if isinstance(child, Container) else str(child)
            yield _no_such_field(f"{path}.{key}", shown, known)
        elif _is_mapping(child):
            yield from added_fields(child, f"{path}.{key}")


def missing_field(node: DictConfig, parts: Sequence[str], value: str | None) -> Problem | None:
    """The problem of ``hydra.PARTS=value``, if a node on the way has no such field."""
    path = "hydra"
    for part in parts:
        known = _fields(node, path)
        if known and part not in known:
            return _no_such_field(f"{path}.{part}", value, known)
        child: Any = node._get_node(part, validate_access=False)
        if not _is_mapping(child):
            return None
        node, path = child, f"{path}.{part}"
    return None


def _no_such_field(field: str, value: str | None, known: set[str]) -> Problem:
    parent, _, key = field.rpartition(".")
    message = f"`{parent}` has no field `{key}`"
    return Problem(field, message, value, listing(known), closest(key, known))


def _fields(node: DictConfig, path: str) -> set[str]:
    """Names that the node's dataclass knows; empty where any name is allowed."""
    kind = OmegaConf.get_type(node)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return set()
    return {field.name for field in dataclasses.fields(kind)} | UNDECLARED.get(path, set())


def _is_mapping(node: Any) -> bool:
    if not isinstance(node, DictConfig):
        return False
    return not (node._is_none() or node._is_missing() or node._is_interpolation())
