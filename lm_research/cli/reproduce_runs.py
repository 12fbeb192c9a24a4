"""Rows of a paper by runs of ours, through the engine of studies."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from lm_research.cli.axes import split_axes
from lm_research.cli.evaluate import Options, keep, score
from lm_research.cli.reproduce_measured import (
    Measured,
    check_files,
    default_folder,
    stand_in_reason,
)
from lm_research.cli.sweep import Study, is_online, planned_study, run_study
from lm_research.config.expected import Row
from lm_research.config.problems import ConfigError, Problem
from lm_research.studies.experiments import Experiment
from lm_research.studies.plan import SEED, override_text
from lm_research.studies.states import standings
from lm_research.tracking.json_files import read_json
from lm_research.tracking.run_identity import differences

HARMLESS = ("trainer.accelerator", "trainer.devices", "trainer.threads", "trainer.deterministic")
"""Of a run's identity, what moves the last bits only."""
REPORT = "report.html"
"""Of a study; not made, since `lm-research report` makes it."""
PARTIAL = ("budget.train_tokens", "debug", "callbacks.evaluation.times", "callbacks.metrics.every")
"""What makes a run shorter, or looks at it in other places."""
CURVE_POINTS = 50
"""Of a curve in a file of results."""
HeldOut = Literal["validation", "test"]
Kept = Literal["last", "best"]
SCORED: dict[str, HeldOut] = {"val": "validation", "test": "test"}
"""How a row's metric begins, and the split that is meant."""


def measure(experiment: Experiment, arguments: Sequence[str]) -> Measured:
    """Run what is not done, score it, and collect each row's values.

    Args:
        arguments: overrides as typed, seeds among them.

    Raises:
        ConfigError: a configuration that is wrong, or of other data; before anything runs.
    """
    study = planned_study(study_arguments(experiment, arguments))
    moved = [text for text in arguments if not text.startswith((f"{SEED}=", "output="))]
    base = planned_study(study_arguments(experiment, _only_seeds(study))) if moved else study
    for one in base.planned:
        check_files(experiment, _files(one.config["data"]))
    measured = Measured(study.folder, online=any(is_online(one.config) for one in study.planned))
    for one in study.planned:
        measured.files.update(_files(one.config["data"]))
    _compare(experiment, study, base, measured)
    _require_whole_means(experiment, study, measured)
    run_study(study, study.planned, retry=False, reported=False)
    _collect(experiment, study, measured)
    return measured


def study_arguments(experiment: Experiment, arguments: Sequence[str]) -> list[str]:
    """The command line of ``lm-research sweep`` that runs the experiment's rows.

    Raises:
        ConfigError: several values of another field than the seed.
    """
    _, axes = split_axes([text for text in arguments if not text.startswith("-")])
    if others := [key for key in axes if key != SEED]:
        message, allowed = "has several values, and a verdict is on one", "lm-research sweep"
        raise ConfigError([Problem(others[0], message, axes[others[0]], allowed)])
    expected, given = experiment.expected, {text.partition("=")[0] for text in arguments}
    node: dict[str, Any] = {
        "name": experiment.name, "title": expected.paper, "question": expected.table,
        "metric": "val/bits_per_byte", "direction": "minimize", "report": REPORT,
    }  # fmt: skip
    if cases := [case for row in expected.rows for case in row.settings() if case]:
        node["cases"] = cases
    fixed = [f"experiment={experiment.name}", "hydra/hydra_logging=none", "hydra/job_logging=none"]
    fixed += [f"+sweep.{key}={override_text(value)}" for key, value in node.items()]
    if "output" not in given:
        fixed.append(f"output={default_folder(experiment.name)}")
    if SEED not in given:
        fixed.append(f"{SEED}={','.join(map(str, expected.seeds))}")
    return [*fixed, *arguments]


def _only_seeds(study: Study) -> list[str]:
    """The experiment as it is, under the study's seeds."""
    return [f"{SEED}={','.join(map(str, study.plan.seeds))}"]


def _files(data: Mapping[str, Any]) -> dict[str, str | None]:
    return {file["name"]: file["sha256"] for file in data.get("files") or []}


def _compare(experiment: Experiment, study: Study, base: Study, measured: Measured) -> None:
    """Say what the arguments changed, as far as it moves numbers."""
    known = {(_key(one.job.setting), one.job.seed): one.config for one in base.planned}
    for one in study.planned:
        origin = known.get((_key(one.job.setting), one.job.seed))
        if origin is None:
            measured.incomparable = "a setting that the paper does not have"
            return
        found = differences(origin, one.config)
        moved = {key: pair for key, pair in found.items() if not key.startswith(HARMLESS)}
        measured.partial |= any(key.startswith(PARTIAL) for key in moved)
        if other := {key: pair for key, pair in moved.items() if not key.startswith(PARTIAL)}:
            told = "; ".join(f"{key} {a} -> {b}" for key, (a, b) in sorted(other.items())[:5])
            told = told.replace(str(one.config["downloads"]), "${downloads}")  # a place here
            stands_in = all(key.startswith("data.") for key in other) and stand_in_reason(
                experiment, _files(one.config["data"])
            )
            measured.incomparable = stands_in or f"another configuration: {told}"


def _require_whole_means(experiment: Experiment, study: Study, measured: Measured) -> None:
    """Say so where the command runs some of a row's settings only: two of ten folds."""
    planned = [one.job.setting for one in study.planned]
    for row in experiment.expected.rows:
        wanted = _settings(row)
        run = [setting for setting in wanted if setting in planned]
        if run and len(run) < len(wanted) and measured.incomparable is None:
            over = ", ".join(row.mean_over)
            told = f"{row.name} is a mean over {over}: {len(run)} runs of {len(wanted)}"
            measured.incomparable = told


def _settings(row: Row) -> list[dict[str, str]]:
    """Of the runs whose mean a row is, as the study's jobs have them."""
    return [{k: override_text(v) for k, v in case.items()} for case in row.settings()]


def _key(setting: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(setting.items()))


def _collect(experiment: Experiment, study: Study, measured: Measured) -> None:
    found = standings(study.folder, [one.job for one in study.planned])
    parts: dict[tuple[str, int], list[float]] = {}
    for standing, one in zip(found, study.planned, strict=True):
        if standing.state != "done":
            measured.undone += 1
            continue
        place, seed = study.folder / one.job.folder, one.job.seed
        measured.took(seed, standing.seconds)
        judged = measured.incomparable is not None or not measured.partial
        for row in experiment.expected.rows:
            if judged and one.job.setting in _settings(row):
                value = _value(place, row, experiment.expected.direction)
                parts.setdefault((row.name, seed), []).append(value)
                if not row.mean_over and (curve := _curve(place, row)):
                    measured.curves.setdefault(row.name, {})[seed] = curve
        if experiment.expected.course:
            for tokens, value in _course(place, experiment.expected.course.metric).items():
                measured.course.setdefault(tokens, {})[seed] = value
    for (name, seed), values in parts.items():
        measured.values.setdefault(name, {})[seed] = fmean(values)


def _curve(place: Path, row: Row) -> list[tuple[int, float]]:
    """(tokens, score) of the row's metric on the validation split; evenly thinned."""
    points = list(_course(place, f"val/{row.metric.partition('/')[2]}").items())
    every = -(-len(points) // CURVE_POINTS)
    return points[::-every][::-1] if points else []


def _value(place: Path, row: Row, direction: str) -> float:
    """One score of a finished run; of its test split or by a protocol, scored now if not yet.

    A task that scores the test split itself, at its end, has it in the summary.

    Raises:
        ConfigError: there is no such score.
    """
    metric, (split, _, name) = row.metric, row.metric.partition("/")
    value = None if row.protocol else read_json(place / "summary.json").get(metric)
    if row.at == "best" and split == "val" and value is not None:
        value = (min if direction == "minimize" else max)(_course(place, metric).values())
    elif value is None and split in SCORED:
        value = _scores(place, SCORED[split], row.at, row.protocol).get(name)
    if not isinstance(value, int | float):
        raise ConfigError([Problem("rows.metric", "the run has no such score", row.metric)])
    return float(value)


def _scores(place: Path, split: HeldOut, checkpoint: Kept, protocol: Any) -> dict[str, Any]:
    """Of a split of the run's own source: as recorded, or else found and recorded now."""
    file = place / "evaluations.jsonl"
    wanted = (split, checkpoint, read_json(place / "data.json")["source"], protocol)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    for line in lines:
        row = json.loads(line)
        if tuple(map(row.get, ("split", "checkpoint", "data", "protocol"))) == wanted:
            return dict(row)
    options = Options(run=str(place), split=split, checkpoint=checkpoint)
    scores = score(options, None, protocol)
    keep(options, scores)
    return scores


def _course(place: Path, metric: str) -> dict[int, float]:
    """tokens -> value of a metric's rows."""
    with (place / "metrics.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {int(r["tokens"]): float(r[metric]) for r in rows if r.get(metric) is not None}
