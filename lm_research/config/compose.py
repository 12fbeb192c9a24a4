"""Compose a configuration with Hydra, and find everything that is wrong with it.

Hydra stops at the first mistake and tells it in its own terms; here every override is looked at
on its own first, the sound ones are composed, and the result is validated as a whole.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lm_research.config.data_options import DataOptions
from lm_research.config.extras import missing_extras
from lm_research.config.hydra_code import called_code
from lm_research.config.hydra_errors import REFUSALS, as_problem
from lm_research.config.hydra_fields import added_fields
from lm_research.config.origins import Origins
from lm_research.config.overrides import look_at_each, look_at_fields
from lm_research.config.paths import STUDIES, shipped, studies
from lm_research.config.problems import ConfigError, Problem
from lm_research.config.resolvers import guard
from lm_research.config.transfer import take_over
from lm_research.config.untrusted import (
    LARGEST_CONFIG,
    UntrustedError,
    check_bounds,
    load_yaml,
    read_plain,
)
from lm_research.config.validation import validate, validate_node


@dataclass(frozen=True)
class Composed:
    """A sound configuration: plain, resolved, and the options it was made of."""

    config: dict[str, Any]
    hydra: DictConfig


def register_studies() -> dict[tuple[str, str], str]:
    """Make sweeps/NAME.yaml and experiments/NAME/config.yaml options of their groups.

    Returns:
        (group, name) -> why, of the files that cannot be read: a problem only for who names them.
    """
    repo, unreadable = ConfigStore.instance().repo, {}
    for group, kind in STUDIES.items():
        known = repo[group] = {}  # those of a working folder left behind are forgotten
        for name, file in studies(kind):
            try:
                state = file.stat()
                node = _study(file, state.st_mtime_ns, state.st_size, state.st_ino)
            except (OSError, ValueError) as error:
                unreadable[group, name] = f"{file}: {' '.join(str(error).split())}"
                continue
            unreadable.pop((group, name), None)
            named = f"{name}.yaml"
            known[named] = ConfigNode(named, node, group, "_global_", provider=str(file))
    return unreadable


@lru_cache(maxsize=256)
def _study(file: Path, *state: int) -> DictConfig:
    """A file in this state, parsed once: a process composes many configurations."""
    node = load_yaml(file.read_bytes())
    if not isinstance(node, dict):
        raise ValueError("it does not hold a mapping")
    return OmegaConf.structured(node)


@contextmanager
def loader(config_dir: str | None = None) -> Iterator[Any]:
    """Hydra's config loader over conf/ and, if given, a folder of the user's own."""
    GlobalHydra.instance().clear()
    guard()
    with initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        found: Any = GlobalHydra.instance().config_loader()
        if config_dir:
            _add_folder(found, Path(config_dir).resolve())
        yield found


def _add_folder(found: Any, folder: Path) -> None:
    """Behind conf/, as Hydra does it for ``--config-dir``."""
    if not folder.is_dir():
        raise ConfigError([Problem("--config-dir", "there is no such folder", str(folder))])
    if problems := [*_hidden(folder), *_unbounded(folder)]:
        raise ConfigError(problems)
    path = found.get_search_path()
    path.prepend("command-line", f"file://{folder}", SearchPathQuery("schema", None))
    found.repository.initialize_sources(path)


def _hidden(folder: Path) -> list[Problem]:
    """Files of the user's that Hydra would pass over without a word, conf/ having the name too."""
    names = (file.relative_to(folder) for file in sorted(folder.glob("*/*.yaml")))
    return [
        Problem(str(folder / name), f"conf/{name} has this name, and wins", None, "another name")
        for name in names
        if (shipped("conf") / name).is_file()
    ]


def _unbounded(folder: Path) -> list[Problem]:
    """Files that Hydra would not come to the end of. Mistakes in others are told when named."""
    found = []
    for file in sorted(f for depth in ("*", "*/*", "*/*/*") for f in folder.glob(f"{depth}.yaml")):
        try:
            with suppress(yaml.YAMLError):
                check_bounds(read_plain(file.resolve(), LARGEST_CONFIG))
        except (OSError, UntrustedError) as error:
            found.append(Problem(str(file), f"cannot be read: {error}"))
    return found


def compose(overrides: Sequence[str], config_dir: str | None = None) -> Composed:
    """Compose one run.

    Args:
        overrides: as on the command line.
        config_dir: a folder of further options, laid out as conf/.

    Raises:
        ConfigError: with every problem found.
    """
    unreadable = register_studies()
    with loader(config_dir) as found:
        cfg, problems = _composed(found, overrides, unreadable)
        hydra_node = cfg.hydra
        try:
            config = finalise(cfg, hydra_node)
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from None
        if problems:
            raise ConfigError(problems)
        return Composed(config, hydra_node)


def compose_option(
    group: str, overrides: Sequence[str], config_dir: str | None = None
) -> dict[str, Any] | None:
    """The node of a group that is no part of a run's training: ``protocol``.

    Args:
        overrides: of this group alone: ``protocol=OPTION``, ``protocol.FIELD=VALUE``.
        config_dir: as of :func:`compose`.

    Returns:
        None where ``protocol=null``.

    Raises:
        ConfigError: with every problem found.
    """
    unreadable = register_studies()
    with loader(config_dir) as found:
        cfg, problems = _composed(found, overrides, unreadable)
        chosen = cfg.get(group)
        node: Any = None if chosen is None else OmegaConf.to_container(chosen, resolve=True)
        if node is not None:
            problems += validate_node(group, node, group, Origins(cfg.hydra).file(group))
        if problems:
            raise ConfigError(problems)
        return node


def _composed(
    found: Any, overrides: Sequence[str], unreadable: Mapping[tuple[str, str], str]
) -> tuple[DictConfig, list[Problem]]:
    """What Hydra makes of all that is sound, and what is not."""
    given = look_at_each(found, overrides, unreadable)
    if not given.problems and not given.for_hydra:
        with suppress(*REFUSALS):  # of which Hydra tells one alone
            return hydra_compose("config", given.texts, return_hydra_config=True), []
    problems, sound = look_at_fields(found, given)
    problems = [*given.problems, *problems]
    try:
        return hydra_compose("config", sound, return_hydra_config=True), problems
    except REFUSALS as error:
        raise ConfigError([*problems, as_problem(error)]) from None


def finalise(cfg: DictConfig, hydra_node: DictConfig) -> dict[str, Any]:
    """Plain containers, names of data options replaced by their nodes, validated.

    Raises:
        ConfigError: with every problem found.
    """
    guard()  # a worker process has composed nothing itself
    origins = Origins(hydra_node)
    choices = {k: v for k, v in hydra_node.runtime.choices.items() if not k.startswith("hydra/")}
    bare = OmegaConf.masked_copy(cfg, [str(k) for k in cfg if k != "hydra"])
    try:
        plain: Any = OmegaConf.to_container(bare, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise ConfigError([as_problem(error)]) from None
    plain = _expand_home(plain)
    problems = _expand_names(plain, DataOptions(bare, origins.folders))
    problems += take_over(plain, choices, hydra_node, origins)
    problems += validate(plain, choices, origins.file)
    told = [*added_fields(hydra_node), *called_code(hydra_node), *missing_extras(hydra_node)]
    problems += [replace(problem, file=origins.study(problem.field)) for problem in told]
    if problems:
        raise ConfigError(problems)
    plain["choices"] = {
        k: v for k, v in choices.items() if v is not None and k not in ("sweep", "local")
    }
    return plain


def _expand_home(plain: dict[str, Any]) -> dict[str, Any]:
    for key in ("cache", "downloads", "output", "init_from"):
        if isinstance(plain.get(key), str):
            plain[key] = os.path.expanduser(plain[key])
    return plain


def _expand_names(plain: dict[str, Any], options: DataOptions) -> list[Problem]:
    """Turn names of data options into their nodes, so that a saved config needs no conf/."""
    names = plain.get("evaluate_on")
    if isinstance(names, list):
        plain["evaluate_on"] = options.nodes("evaluate_on", names)
    options.fill("data", plain.get("data"))
    cleaning = (plain.get("text") or {}).get("cleaning")
    for index, rule in enumerate(cleaning if isinstance(cleaning, list) else ()):
        if isinstance(rule, dict) and isinstance(rule.get("against"), list):
            field = f"text.cleaning.{index}.against"
            rule["against"] = options.nodes(field, rule["against"])
    return options.problems
