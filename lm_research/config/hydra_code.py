"""What a configuration may make Hydra itself do: no more than it may make us do.

Hydra acts on its part of a configuration before any job starts: ``logging`` calls whatever ``()``
and ``class`` name and opens the files that it is told; variables are set for the job, and some of
them decide which programs and libraries are loaded, or where keys are sent; a launcher hands
commands to the shell.
"""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import Container, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lm_research.config.build import EXTRA, is_own
from lm_research.config.paths import shipped
from lm_research.config.problems import Problem, closest, listing
from lm_research.config.untrusted import UntrustedError, load_yaml

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
CALLBACKS = {"hydra.experimental.callbacks.LogJobReturnCallback"}
VARIABLES = {
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "NCCL_DEBUG",
    "OMP_NUM_THREADS",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OMP_WAIT_POLICY",
    "OPENBLAS_NUM_THREADS",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TOKENIZERS_PARALLELISM",
}
"""Environment variables that a configuration may set: how the work is shared out, and no more."""
COMMANDS = ("setup", "additional_parameters")
"""Fields of a launcher that reach a shell."""

_LOG_FILE = re.compile(r"\$\{hydra\.runtime\.output_dir\}/(?:[\w.-]|\$\{hydra\.job\.name\})+\.log")
_NAME = re.compile(r"[\w.,=+@-]*[\w,=+@-][\w.,=+@-]*")  # no separators, and not only dots


def called_code(hydra_node: DictConfig) -> Iterator[Problem]:
    """A problem for each thing that Hydra would do and that a configuration may not ask for."""
    for name in ("hydra_logging", "job_logging"):
        yield from _logging(hydra_node, name, "hydra")
    yield from _callbacks(hydra_node.callbacks or {}, "hydra.callbacks")
    yield from _names(hydra_node)
    yield from _commands(hydra_node)
    for name in hydra_node.job.env_set or {}:
        if name not in VARIABLES:
            message, near = "a configuration may not set it", closest(str(name), VARIABLES)
            allowed = f"{listing(VARIABLES)}; set others in the shell"
            yield Problem(f"hydra.job.env_set.{name}", message, None, allowed, near)


def _logging(parent: Any, key: Any, path: str) -> Iterator[Problem]:
    """Names to call, objects to import and files to open, in one entry and all below it."""
    field = f"{path}.{key}"
    if key == "filename":
        yield from _log_file(field, str(parent._get_node(key)._value()))
        return
    try:
        value = parent[key]
    except OmegaConfBaseException:
        # A value that is known only in the run; a name to call is known now.
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


def _log_file(field: str, name: str) -> Iterator[Problem]:
    """The raw text: where a run's folder is, is not known yet."""
    if not _LOG_FILE.fullmatch(name):
        allowed = "${hydra.runtime.output_dir}/NAME.log, a file of the run's folder"
        yield Problem(field, "is no log of the run's", name, allowed)


def _callbacks(node: Any, path: str) -> Iterator[Problem]:
    """Every ``_target_``, however deep: Hydra builds them all."""
    for key in map(str, node) if isinstance(node, DictConfig) else range(len(node)):
        value: Any = node._get_node(key)
        if isinstance(value, Container) and not value._is_none():
            yield from _callbacks(value, f"{path}.{key}")
        elif key == "_target_" and not (str(value) in CALLBACKS or is_own(str(value))):
            allowed = f"{listing(CALLBACKS)} (own code: set {EXTRA}=my_package)"
            yield Problem(f"{path}.{key}", "is not on the allow-list", str(value), allowed)


def _names(hydra_node: DictConfig) -> Iterator[Problem]:
    """Names that become part of a path."""
    places: Any = ((hydra_node, "output_subdir"), (hydra_node.job, "name"))
    for parent, key in places:
        value = parent._get_node(key)._value()
        if value is not None and not _NAME.fullmatch(str(value)):
            field = "hydra.output_subdir" if key == "output_subdir" else "hydra.job.name"
            yield Problem(
                field, "is no plain name", str(value), "letters, digits and . , = + @ - _"
            )
    sweep: Any = hydra_node.sweep
    subdir = str(sweep._get_node("subdir")._value())
    if subdir.startswith(("/", "~")) or ".." in subdir.split("/"):
        yield Problem("hydra.sweep.subdir", "leaves the sweep's folder", subdir, "a name below it")


def _commands(hydra_node: DictConfig) -> Iterator[Problem]:
    """Commands for a shell, if they come from neither the command line nor this machine's file."""
    launcher: Any = OmegaConf.to_container(hydra_node.launcher, resolve=False) or {}
    given_there: Any = OmegaConf.to_container(hydra_node.overrides.hydra)  # not resolved
    typed = [text.lstrip("+") for text in given_there]
    for name in COMMANDS:
        field = f"hydra.launcher.{name}"
        given = any(text.startswith((f"{field}=", f"{field}.")) for text in typed)
        if launcher.get(name) and not given and launcher[name] != _local(name):
            allowed = "on the command line, or in conf/local/default.yaml"
            yield Problem(field, "is run by a shell: no other file may set it", None, allowed)


def _local(name: str) -> Any:
    """What this machine's own settings say of a field of the launcher."""
    try:
        node = load_yaml((shipped("conf") / "local" / "default.yaml").read_bytes())
        return node["hydra"]["launcher"][name]
    except (OSError, UntrustedError, KeyError, TypeError):
        return None
