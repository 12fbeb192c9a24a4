"""What Hydra and OmegaConf say about a configuration that they refuse, made into problems."""

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lm_research.config.problems import Problem

REFUSALS = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, AssertionError)
"""What Hydra raises about a configuration that it will not compose."""


def as_problem(error: BaseException) -> Problem:
    """What Hydra or OmegaConf says, with the cause that it keeps for the traceback."""
    cause: BaseException = error
    while cause.__cause__ is not None or (not str(cause).strip() and cause.__context__):
        cause = cause.__cause__ or cause.__context__ or cause
    keys = (getattr(e, "full_key", None) for e in (error, cause))
    key = next((str(key) for key in keys if key), "configuration")
    outer, inner = _one_line(error), _one_line(cause)
    for start in ("Error merging override ", "Could not override "):
        if outer.startswith(start):
            return Problem(outer.removeprefix(start).split(". ")[0].strip("'"), inner)
    return Problem(key, outer if inner in outer else f"{outer}: {inner}".removeprefix(": "))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split("\n    full_key")[0].split())
    return text or (type(error).__name__ if error.__cause__ is None else "")
