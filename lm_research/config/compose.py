"""Compose a configuration with Hydra, and find everything that is wrong with it.

Hydra stops at the first mistake and tells it in its own terms; here every override is looked at
on its own first, the sound ones are composed, and the result is validated as a whole.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lm_research.config.paths import shipped, studies
from lm_research.config.problems import ConfigError, Problem, closest, listing
from lm_research.config.validation import validate


@dataclass(frozen=True)
class Composed:
    """A sound configuration: plain, resolved, and the options it was made of."""

    config: dict[str, Any]
    hydra: DictConfig


def register_studies() -> None:
    """Make sweeps/NAME.yaml and experiments/NAME/config.yaml options of their groups."""
    store = ConfigStore.instance()
    for kind, group in (("sweeps", "sweep"), ("experiments", "experiment")):
        for name, file in studies(kind):
            node = yaml.safe_load(file.read_text(encoding="utf-8"))
            store.store(group=group, name=name, node=node, package="_global_", provider=str(file))


@contextmanager
def loader(config_dir: str | None = None) -> Iterator[Any]:
    """Hydra's config loader over conf/ and, if given, a folder of the user's own."""
    register_studies()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        found: Any = GlobalHydra.instance().config_loader()
        if config_dir:
            _add_folder(found, Path(config_dir).resolve())
        yield found


def _add_folder(found: Any, folder: Path) -> None:
    """Behind conf/, as Hydra does it for ``--config-dir``."""
    if not folder.is_dir():
        raise ConfigError([Problem("--config-dir", "there is no such folder", str(folder))])
    path = found.get_search_path()
    path.prepend("command-line", f"file://{folder}", SearchPathQuery("schema", None))
    found.repository.initialize_sources(path)


def compose(overrides: Sequence[str], config_dir: str | None = None) -> Composed:
    """Compose one run.

    Args:
        overrides: as on the command line.
        config_dir: a folder of further options, laid out as conf/.

    Raises:
        ConfigError: with every problem found.
    """
    with loader(config_dir) as found:
        problems, sound = _check_overrides(found, overrides)
        try:
            cfg = hydra_compose("config", sound, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError([*problems, _from_exception(error)]) from None
        hydra_node = cfg.hydra
        try:
            config = finalise(cfg, hydra_node)
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from None
        if problems:
            raise ConfigError(problems)
        return Composed(config, hydra_node)


def finalise(cfg: DictConfig, hydra_node: DictConfig) -> dict[str, Any]:
    """Plain containers, names of data options replaced by their nodes, validated.

    Raises:
        ConfigError: with every problem found.
    """
    folders = [s.path for s in hydra_node.runtime.config_sources if s.schema == "file"]
    choices = {k: v for k, v in hydra_node.runtime.choices.items() if not k.startswith("hydra/")}
    bare = OmegaConf.masked_copy(cfg, [str(k) for k in cfg if k != "hydra"])
    try:
        plain: Any = OmegaConf.to_container(bare, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise ConfigError([_from_exception(error)]) from None
    plain = _expand_home(plain)
    problems = _expand_names(plain, folders)
    problems += validate(plain, choices)
    if problems:
        raise ConfigError(problems)
    plain["choices"] = {
        k: v for k, v in choices.items() if v is not None and k not in ("sweep", "local")
    }
    return plain


def _expand_home(plain: dict[str, Any]) -> dict[str, Any]:
    for key in ("cache", "output"):
        if isinstance(plain.get(key), str):
            plain[key] = os.path.expanduser(plain[key])
    return plain


def _expand_names(plain: dict[str, Any], folders: Sequence[str]) -> list[Problem]:
    """Turn names of data options into their nodes, so that a saved config needs no conf/."""
    problems: list[Problem] = []
    names = plain.get("evaluate_on")
    if isinstance(names, list):
        plain["evaluate_on"] = _load_all("evaluate_on", names, folders, problems)
    data = plain.get("data")
    if isinstance(data, dict) and isinstance(data.get("weights"), dict):
        given = data.get("sources") or {}
        missing = [name for name in data["weights"] if name not in given]
        data["sources"] = {**given, **_load_all("data.weights", missing, folders, problems)}
    return problems


def _load_all(
    field: str, names: Sequence[str], folders: Sequence[str], problems: list[Problem]
) -> dict[str, Any]:
    known = {f.stem: f for folder in folders for f in Path(folder).glob("data/*.yaml")}
    nodes = {}
    for name in names:
        if name not in known:
            message = f"there is no data option `{name}`"
            problems.append(
                Problem(field, message, None, listing(known), closest(str(name), known))
            )
            continue
        nodes[name] = OmegaConf.to_container(OmegaConf.load(known[name]), resolve=True)
    return nodes


def _check_overrides(found: Any, overrides: Sequence[str]) -> tuple[list[Problem], list[str]]:
    problems: list[Problem] = []
    parsed: list[Override] = []
    for text in overrides:
        try:
            parsed += OverridesParser.create(config_loader=found).parse_overrides([text])
        except HydraException as error:
            reason = str(error).splitlines()[0]
            problems.append(
                Problem(
                    text, f"cannot be read ({reason})", None, "GROUP=OPTION or GROUP.FIELD=VALUE"
                )
            )
    groups = [o for o in parsed if _is_group(found, o)]
    fields = [o for o in parsed if o not in groups]
    sound: list[str] = []
    for override in groups:
        problem = _group_problem(found, override)
        if problem:
            problems.append(problem)
        else:
            sound.append(str(override.input_line))
    try:
        base = hydra_compose("config", sound, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException):
        return problems, [str(o.input_line) for o in parsed]  # the real composition will say why
    choices = base.hydra.runtime.choices
    for override in fields:
        problem = _field_problem(base, override, choices, found)
        if problem:
            problems.append(problem)
        else:
            sound.append(str(override.input_line))
    return problems, sound


def _is_group(found: Any, override: Override) -> bool:
    return bool(found.get_group_options(override.key_or_group.split("@")[0]))


def _group_problem(found: Any, override: Override) -> Problem | None:
    group = override.key_or_group.split("@")[0]
    options = found.get_group_options(group)
    value = override.value()
    names = value if isinstance(value, list) else [value]
    for name in names:
        if name is not None and str(name) not in options:
            message = f"{group} has no option `{name}`"
            file = {"sweep": "sweeps/", "experiment": "experiments/"}.get(group, f"conf/{group}/")
            return Problem(
                group, message, str(name), listing(options), closest(str(name), options), file
            )
    return None


def _field_problem(
    base: DictConfig, override: Override, choices: Mapping[str, Any], found: Any
) -> Problem | None:
    """A field that is not there; what is in it is for the validation to judge."""
    key = override.key_or_group
    if override.is_add() or override.is_force_add() or key.split(".")[0] == "hydra":
        return None
    node: Any = base
    parts = key.split(".")
    for depth, part in enumerate(parts):
        children = [str(k) for k in node] if isinstance(node, DictConfig) else []
        if isinstance(node, DictConfig) and part not in children:  # "???" counts as there
            return _no_field(key, parts[:depth], part, children, override, choices, found)
        if not isinstance(node, DictConfig):
            break
        node = node._get_node(part)
    return None


def _no_field(
    key: str,
    parents: list[str],
    part: str,
    children: list[str],
    override: Override,
    choices: Any,
    found: Any,
) -> Problem:
    known = [c for c in children if c not in ("_target_", "hydra")]
    group = parents[0] if parents else ""
    option = choices.get(group)
    owner = (
        f"{group}={option}"
        if option
        else f"`{'.'.join(parents)}`"
        if parents
        else "the configuration"
    )
    if not parents:
        known += found.list_groups("")
    file = f"conf/{group}/{option}.yaml" if option else "conf/config.yaml"
    message = f"{owner} has no field `{part}`"
    value = override.get_value_element_as_str() if not override.is_sweep_override() else None
    return Problem(key, message, value, listing(set(known)), closest(part, known), file)


def _from_exception(error: Exception) -> Problem:
    cause = error.__cause__ or error
    key = getattr(error, "full_key", None) or getattr(cause, "full_key", None) or "configuration"
    texts = (str(e).split("\n    full_key")[0] for e in (error, cause, error.__context__) if e)
    text = next((" ".join(t.split()) for t in texts if t.strip()), type(error).__name__)
    return Problem(str(key), text)
