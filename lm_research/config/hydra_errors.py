"""What Hydra and OmegaConf say about a configuration that they refuse, made into problems."""

import dataclasses
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lm_research.config.problems import Problem, closest, listing

REFUSALS = (
    HydraException,
    OmegaConfBaseException,
    yaml.YAMLError,
    ValueError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
)
"""What Hydra raises about a configuration that it will not compose; OmegaConf an AttributeError
where a mapping is merged into a null of Hydra's."""


def as_problem(error: BaseException) -> Problem:
    """What Hydra or OmegaConf says, with the cause that it keeps for the traceback."""
    cause = error
    while (deeper := _cause(cause)) is not None:
        cause = deeper
    keys = (getattr(e, "full_key", None) for e in (error, cause))
    key = next((str(key) for key in keys if key), "configuration")
    outer, inner = _one_line(error), _one_line(cause)
    for start in ("Error merging override ", "Could not override "):
        if outer.startswith(start):
            return Problem(outer.removeprefix(start).split(". ")[0].strip("'"), inner)
    message = outer if inner in outer else f"{outer}: {inner}".removeprefix(": ")
    return Problem(key, message, None, *_names(cause))


def _cause(error: BaseException) -> BaseException | None:
    """Hydra does not always say ``from``: OmegaConf's error is then the context of its own."""
    context = error.__context__
    hidden = isinstance(error, HydraException) and isinstance(context, OmegaConfBaseException)
    return error.__cause__ or (context if hidden or not str(error).strip() else None)


def _names(cause: Any) -> tuple[str | None, str | None]:
    """The names that a node of Hydra's knows, and the closest, where an unknown one is refused."""
    kind, key = getattr(cause, "object_type", None), getattr(cause, "key", None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return None, None
    known = {field.name for field in dataclasses.fields(kind)}
    return (None, None) if key in known else (listing(known), closest(str(key), known))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split("\n    full_key")[0].split())
    return text or (type(error).__name__ if error.__cause__ is None else "")
