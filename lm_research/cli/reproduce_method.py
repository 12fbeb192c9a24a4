"""Rows of a paper by a method of its own, a seed at a time; finished ones are kept."""

import hashlib
import importlib.util
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from lm_research.cli.reproduce_measured import (
    Measured,
    check_files,
    default_folder,
    stand_in_reason,
)
from lm_research.cli.train import make_folder
from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError, Problem
from lm_research.config.untrusted import load_yaml
from lm_research.config.validation import validate_node
from lm_research.studies.experiments import Experiment
from lm_research.studies.plan import SEED
from lm_research.tracking.json_files import read_json, write_json

OWN = "method."
KNOWN = "seed=1,2, output=, downloads=, cache=FOLDER, data=OPTION, method.FIELD=VALUE"
OF_RUNS = {
    "mean_over": "is for runs, and a method takes its own means",
    "protocol": "is for runs of language models, and a method reads by itself",
}
"""Fields of a row that a method does not have."""


def measure(experiment: Experiment, arguments: Sequence[str]) -> Measured:
    """Compute what is not there yet, and collect each row's values.

    Raises:
        ConfigError: an argument or a field of the method that is wrong; before anything runs.
    """
    given, changed = _parted(arguments)
    seeds = _seeds(given.pop(SEED, None), experiment)
    output = given.pop("output", default_folder(experiment.name))
    nodes = _nodes(experiment, changed)
    config = _places(experiment, given)
    if experiment.expected.data.option is None:  # its method has files of its own
        config = {**config, "data": None}
    measured = Measured(make_folder(output))
    if changed:
        told = ", ".join(f"{key}={value}" for key, value in changed.items())
        measured.incomparable = f"another method: {told}"
    _run(experiment, nodes, config, seeds, measured)
    return measured


def _parted(arguments: Sequence[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Places and seeds; fields of the method."""
    given: dict[str, str] = {}
    changed: dict[str, Any] = {}
    problems = []
    for text in arguments:
        key, equals, value = text.partition("=")
        if equals and key.startswith(OWN):
            changed[key.removeprefix(OWN)] = yaml.safe_load(value)
        elif equals and key in (SEED, "output", "downloads", "cache", "data"):
            given[key] = value
        else:
            problems.append(Problem(text, "is nothing that this method takes", None, KNOWN))
    if problems:
        raise ConfigError(problems)
    return given, changed


def _seeds(text: str | None, experiment: Experiment) -> list[int]:
    if text is None:
        return experiment.expected.seeds
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise ConfigError([Problem(SEED, "is no list of seeds", text, "seed=1,2,3, each once")])
    return [int(part) for part in parts]


def _places(experiment: Experiment, given: Mapping[str, str]) -> dict[str, Any]:
    """The configuration of the data option, for its source and the downloads' folder."""
    option = experiment.expected.data.option
    places = {"data": option, **given} if option else given
    return compose([f"{key}={value}" for key, value in places.items()]).config


def _nodes(experiment: Experiment, changed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Row -> the method's node. Raises ConfigError for a field that is wrong."""
    assert experiment.method is not None
    base = load_yaml(experiment.method.read_bytes())
    for row in experiment.expected.rows:
        for field, why in OF_RUNS.items():
            if told := getattr(row, field):
                name = f"rows.{row.name}.{field}"
                raise ConfigError([Problem(name, why, ", ".join(told), "no such field")])
    nodes = {row.name: {**base, **row.setting, **changed} for row in experiment.expected.rows}
    file = str(experiment.method)
    problems = {
        str(problem): problem
        for node in nodes.values()
        for problem in validate_node("method", node, "method", file)
    }
    if problems:
        raise ConfigError(list(problems.values()))
    return nodes


def _run(
    experiment: Experiment,
    nodes: Mapping[str, dict[str, Any]],
    config: Mapping[str, Any],
    seeds: Sequence[int],
    measured: Measured,
) -> None:
    from lm_research.config.build import build
    from lm_research.data.downloads import Downloads

    source, downloads = build(config["data"]), Downloads(config["downloads"])
    methods = {row: build(node) for row, node in nodes.items()}
    replaced = [_is_stand_in(experiment, m.files(source), measured) for m in methods.values()]
    stand_in = experiment.expected.data.stand_in
    instead = {"data": stand_in.option} if stand_in is not None and any(replaced) else {}
    for seed in seeds:
        for row in experiment.expected.rows:
            key = {"method": nodes[row.name], "seed": seed, "needs": _there(row.needs), **instead}
            file = measured.folder / f"{_digest(key)}.json"
            if not file.exists():
                found = _measured(methods[row.name], source, downloads, seed, row.name)
                write_json(file, {**key, **found})
            kept = read_json(file)
            if row.metric not in kept["numbers"]:
                raise ConfigError([Problem("rows.metric", "the method has no such", row.metric)])
            measured.values.setdefault(row.name, {})[seed] = kept["numbers"][row.metric]
            measured.took(seed, kept["seconds"])


def _is_stand_in(experiment: Experiment, read: dict[str, str | None], measured: Measured) -> bool:
    """Whether a method reads the stand-in's files; other files than the paper's are refused."""
    measured.files.update(read)
    reason = stand_in_reason(experiment, read)
    if reason is None:
        check_files(experiment, read)
    elif measured.incomparable is None:
        measured.incomparable = reason
    return reason is not None


def _measured(method: Any, source: Any, downloads: Any, seed: int, name: str) -> dict[str, Any]:
    from rich.progress import Progress

    begun = time.monotonic()
    with Progress(transient=True) as bar:
        task = bar.add_task(f"{name}, seed {seed}", total=None)
        numbers = method.measure(
            source,
            downloads,
            seed,
            lambda done, whole: bar.update(task, completed=done, total=whole),
        )
    return {"numbers": numbers, "seconds": time.monotonic() - begun}


def _there(package: str | None) -> bool | None:
    return None if package is None else importlib.util.find_spec(package) is not None


def _digest(key: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
