"""Extras of the package that a configuration needs, told before anything runs."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig

from lm_research.config.problems import Problem

LAUNCHERS = {"hydra_plugins.lm_research_ray.RayLauncher": "ray"}
"""Launcher -> the package that it runs on, which is the extra's name, too, and the option's."""


def missing_extras(hydra_node: DictConfig) -> Iterator[Problem]:
    """The problem of a launcher whose package is not installed."""
    launcher: Any = hydra_node.launcher or {}
    package = LAUNCHERS.get(str(launcher.get("_target_")))
    if package and not _installed(package):
        fix = f"pip install 'lm-research[{package}]'; or joblib, basic, which are there"
        yield Problem("hydra/launcher", "is not installed", package, fix)


def _installed(package: str) -> bool:
    """Whether it can be imported; a folder that happens to have its name is not it."""
    found = find_spec(package)
    return found is not None and found.origin is not None
