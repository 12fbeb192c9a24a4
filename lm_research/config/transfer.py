"""``init_from``: what a run takes over from the trained language model that it starts from.

The model of a run is its text option (so that ids mean the same), its vectorizer, its model and
the sizes of both. They are taken from the run that ``init_from`` names; what the command line or a
study says of them must agree. What was loaded becomes a part of the configuration
(``transfer.source``), and so of the run's identity; where it lay does not.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lm_research.config.origins import Origins
from lm_research.config.output_rules import FULL
from lm_research.config.places import without_places
from lm_research.config.problems import Problem
from lm_research.config.task_rules import COUNTED, LANGUAGE_MODELING
from lm_research.config.untrusted import (
    LARGEST_CONFIG,
    LARGEST_JSON,
    UntrustedError,
    load_json,
    load_yaml,
    read_plain,
)

GROUPS = ("text", "vectorizer", "model")
SIZES = ("budget.hidden_size", "budget.num_layers")
HEAD = ("task.tie_weights", "task.head_bias")
"""Of the output layer, which another language model takes over, too."""
OUTPUT_LAYER = "output_layer"
"""Taken over like them, unless it is asked for."""
MAY_DIFFER = ("dropout", "zoneout", "weight_drop", "backend")
"""Parts of names of a model's fields that say how it is trained or computed, not what it is."""
RECIPE = (*GROUPS, "data", "task", "optimizer", "scheduler", "averaging", "budget", "splits")
ANOTHER = "init_from=FOLDER of a run of task=language_modeling"
Plain = dict[str, Any]


class UnusableSourceError(Exception):
    """There is nothing to start from in a folder: says why."""


@dataclass(frozen=True)
class Source:
    """What is started from.

    Attributes:
        config: the run's configuration.
        facts: ``transfer.source`` of the run that starts from it.
    """

    config: Plain
    facts: Plain

    @property
    def choices(self) -> Mapping[str, Any]:
        """The options by whose names the run was made."""
        found = self.config.get("choices")
        return found if isinstance(found, Mapping) else {}


def take_over(
    plain: Plain, choices: dict[str, Any], hydra_node: DictConfig, origins: Origins
) -> list[Problem]:
    """Give ``plain`` what it takes over, in place; the names of the options go to ``choices``.

    A run from scratch has neither ``init_from`` nor ``transfer`` in the end.
    """
    keys = list(dict.fromkeys(_asked(hydra_node, origins)))
    given = plain.get("init_from")
    if given is None:
        return _from_scratch(plain, list(_command_line(hydra_node)))
    if not isinstance(given, str) or not isinstance(plain.get("transfer"), dict):
        return []  # the validation will say so
    try:
        source = _source(plain, given)
        problems, kept = _compared(plain, source, choices, keys, origins)
    except UnusableSourceError as error:
        return [Problem("init_from", str(error), given, ANOTHER)]
    for path in _taken(plain, source, keys):
        _put(plain, path, copy.deepcopy(_get(source.config, path)))
    for path, value in kept.items():
        _put(plain, path, value)
    groups = [group for group in _taken(plain, source, keys) if group in source.choices]
    choices |= {group: str(source.choices[group]) for group in groups}
    plain["transfer"]["source"] = source.facts
    return problems


def _from_scratch(plain: Plain, keys: Sequence[str]) -> list[Problem]:
    plain.pop("init_from", None)
    plain.pop("transfer", None)
    message = "is about the run that init_from names, and there is none"
    return [Problem(key, message, None, ANOTHER) for key in keys if key.startswith("transfer.")]


# --- the run that is started from


def _source(plain: Plain, given: str) -> Source:
    folder = _folder(given)
    if folder is None or not (folder / "config.yaml").is_file():
        if (stored := _stored(plain, given)) is not None:
            return stored
        where = given if folder is None else folder
        raise UnusableSourceError(f"no run at {where} (config.yaml is missing)")
    config = _read(folder / "config.yaml", lambda file: load_yaml(read_plain(file, LARGEST_CONFIG)))
    task, model = (_get(config, f"{group}._target_") for group in ("task", "model"))
    if task != LANGUAGE_MODELING:
        name = str(task).rpartition(".")[2]
        raise UnusableSourceError(f"is a run of {name}, and no language model")
    if model in COUNTED:
        raise UnusableSourceError("is of a counted model, which has no weights to start from")
    entry = _entry(folder / "checkpoints" / "index.json", plain["transfer"].get("checkpoint"))
    plain["init_from"] = str(folder)
    facts = {
        "data": str(_get(config, "data.name")),
        "recipe": _recipe(config),
        "seed": config.get("seed"),
        "step": entry.get("step"),
        "sha256": entry.get("sha256"),
    }
    return Source(config, facts)


def _folder(given: str) -> Path | None:
    """The folder; of a pattern, the only one with a run that it fits; None if there is none."""
    if not has_magic(given) or Path(given).is_dir():
        return Path(given)
    found = sorted(name for name in glob(given) if (Path(name) / "config.yaml").is_file())
    if len(found) > 1:
        shown = ", ".join(found[:4])
        raise UnusableSourceError(f"fits {len(found)} runs ({shown}, ...), and one is meant")
    return Path(found[0]) if found else None


def _stored(plain: Plain, given: str) -> Source | None:
    """What the run in ``output`` took over when it began: to go on, it needs no more."""
    file = Path(str(plain.get("output"))) / "config.yaml"
    if not file.is_file():
        return None
    config = _read(file, lambda file: load_yaml(read_plain(file, LARGEST_CONFIG)))
    facts, known = _get(config, "transfer.source"), str(config.get("init_from"))
    if not isinstance(facts, dict) or not (known == given or fnmatch(known, given)):
        return None
    plain["init_from"] = known
    return Source(config, facts)


def _entry(file: Path, checkpoint: Any) -> Plain:
    """What the index says of the ``last`` checkpoint, or of the ``best`` one."""
    if not file.exists():
        raise UnusableSourceError(f"has no checkpoint ({file} is missing): has it been trained?")
    found = _read(file, lambda file: load_json(read_plain(file, LARGEST_JSON))).get("checkpoints")
    entries = found if isinstance(found, list) else []
    sound = [e for e in entries if isinstance(e, dict) and isinstance(e.get("step"), int)]
    if not sound:
        raise UnusableSourceError(f"has no checkpoint that can be read in {file}")
    sound.sort(key=lambda entry: int(entry["step"]))
    scored = [e for e in sound if isinstance(s := e.get("score"), int | float) and s == s]
    if checkpoint == "best" and scored:
        return min(scored, key=lambda entry: float(entry["score"]))
    return sound[-1]


def _read(file: Path, read: Callable[[Path], Any]) -> Plain:
    try:
        found = read(file)
    except (OSError, UntrustedError) as error:
        raise UnusableSourceError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UnusableSourceError(f"{file} holds no mapping of names")
    return found


def _recipe(config: Plain) -> str:
    """16 hex digits of how the model was trained, but for its seed: replicates share them."""
    made = {name: config.get(name) for name in RECIPE}
    made["before"] = _get(config, "transfer.source.recipe")
    if config.get(OUTPUT_LAYER, {"_target_": FULL}) != {"_target_": FULL}:
        made[OUTPUT_LAYER] = config[OUTPUT_LAYER]  # recipes of before had the full softmax alone
    text = json.dumps(without_places(made), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- what is asked for, and what is taken


def _taken(plain: Plain, source: Source, keys: Sequence[str]) -> list[str]:
    """Dotted names of what comes from the source.

    An output layer that is asked for is not: those of one row of weights a token take over one
    another's (what does not fit is told when weights are loaded).
    """
    same = _get(plain, "task._target_") == LANGUAGE_MODELING
    paths = [*GROUPS, *SIZES, *(HEAD if same else ())]
    if same and not any(f"{key}.".startswith(f"{OUTPUT_LAYER}.") for key in keys):
        paths.append(OUTPUT_LAYER)
    return [path for path in paths if _get(source.config, path, _ABSENT) is not _ABSENT]


def _compared(
    plain: Plain, source: Source, choices: Mapping[str, Any], keys: Sequence[str], origins: Origins
) -> tuple[list[Problem], Plain]:
    """What contradicts the source, and the fields that may."""
    problems, kept = [], {}
    taken = _taken(plain, source, keys)
    for key in keys:
        if key in GROUPS:
            theirs, mine = source.choices.get(key), choices.get(key)
            if mine != theirs and plain.get(key) != source.config.get(key):
                problems.append(_contradiction(key, mine, f"{key}={theirs}", origins))
        elif any(f"{key}.".startswith(f"{path}.") for path in taken):
            mine, theirs = (_get(node, key, _ABSENT) for node in (plain, source.config))
            if key.startswith("model.") and any(part in key for part in MAY_DIFFER):
                kept[key] = mine
            elif mine != theirs:
                problems.append(_contradiction(key, mine, f"{key}={_text(theirs)}", origins))
    return problems, {key: value for key, value in kept.items() if value is not _ABSENT}


def _contradiction(key: str, mine: Any, theirs: str, origins: Origins) -> Problem:
    message = "is not that of the run which init_from names, whose weights go with its own"
    allowed = f"{theirs}; or leave it out, it is taken over"
    return Problem(key, message, _text(mine), allowed, None, origins.study(key))


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "(none)" if value is _ABSENT else str(value)


def _command_line(hydra_node: DictConfig) -> Iterator[str]:
    given: Any = OmegaConf.to_container(hydra_node.overrides.task)
    for text in given:
        yield str(text).lstrip("+~").partition("=")[0].partition("@")[0]


def _asked(hydra_node: DictConfig, origins: Origins) -> Iterator[str]:
    """Groups and fields that the command line sets, or a study or an experiment."""
    yield from _command_line(hydra_node)
    for node, _ in origins.studies:
        defaults = node.get("defaults") if isinstance(node, dict) else None
        for one in defaults or []:
            for name in one if isinstance(one, dict) else ():
                yield str(name).removeprefix("override ").lstrip("/").partition("@")[0]
        yield from _leaves(node)


def _leaves(node: Any, path: str = "") -> Iterator[str]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif path:
        yield path


_ABSENT = object()


def _get(node: Any, path: str, otherwise: Any = None) -> Any:
    for part in path.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return otherwise
        node = node[part]
    return node


def _put(node: Plain, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        node = node.setdefault(part, {})
    node[last] = value
