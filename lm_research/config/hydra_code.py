"""What a configuration may make Hydra itself call: no more than it may make us build.

``logging`` calls whatever ``()`` and ``class`` name, before any job starts; a variable set for a
job could widen the allow-list from inside the file that the list is there to judge.
"""

from collections.abc import Iterator
from typing import Any

from omegaconf import Container, DictConfig, ListConfig
from omegaconf.errors import OmegaConfBaseException

from lm_research.config.build import EXTRA, is_allowed
from lm_research.config.problems import Problem, closest, listing

LOGGING = {
    "logging.StreamHandler",
    "logging.FileHandler",
    "logging.NullHandler",
    "logging.handlers.RotatingFileHandler",
    "logging.handlers.TimedRotatingFileHandler",
    "logging.Formatter",
    "logging.Filter",
    "colorlog.ColoredFormatter",
    "rich.logging.RichHandler",
}
STREAMS = {"ext://sys.stdout", "ext://sys.stderr"}
PLAIN_CALLBACKS = "hydra.experimental.callbacks."
VARIABLES = (
    EXTRA,
    "HYDRA_INSTANTIATE_ALLOWLIST_OVERRIDE",
    "PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "LD_",
    "DYLD_",
    "GIT_",
)
"""Starts of names of environment variables that decide which code is run."""


def called_code(hydra_node: DictConfig) -> Iterator[Problem]:
    """A problem for each name that Hydra would call and that is not allowed."""
    for name in ("hydra_logging", "job_logging"):
        yield from _logging(hydra_node, name, "hydra")
    yield from _callbacks(hydra_node.callbacks or {})
    for name in hydra_node.job.env_set or {}:
        if str(name).startswith(VARIABLES):
            message = "decides which code is run: a configuration may not set it"
            field = f"hydra.job.env_set.{name}"
            yield Problem(field, message, None, "other variables; set this one in the shell")


def _logging(parent: Any, key: Any, path: str) -> Iterator[Problem]:
    """Names to call, and objects to import, in one entry and all below it."""
    field = f"{path}.{key}"
    try:
        value = parent[key]
    except OmegaConfBaseException:
        # A path that is known only in the run, as the log file's; a name to call is known now.
        value = None if key not in ("()", "class") else str(parent._get_node(key)._value())
    if isinstance(value, Container):
        keys: Any = range(len(value)) if isinstance(value, ListConfig) else list(value)
        for inner in keys:
            yield from _logging(value, inner, field)
    elif value is not None and (key in ("()", "class") or str(value).startswith("ext://")):
        allowed = LOGGING if key in ("()", "class") else STREAMS
        if str(value) not in allowed:
            message, near = "may not be named by a configuration", closest(str(value), allowed)
            yield Problem(field, message, str(value), listing(allowed), near)


def _callbacks(callbacks: Any) -> Iterator[Problem]:
    for name, node in callbacks.items():
        target = node.get("_target_") if isinstance(node, DictConfig) else None
        if target is not None and not (is_allowed(target) or target.startswith(PLAIN_CALLBACKS)):
            message = "is not on the allow-list"
            allowed = f"{PLAIN_CALLBACKS} (own code: set {EXTRA}=my_package)"
            yield Problem(f"hydra.callbacks.{name}._target_", message, str(target), allowed)
