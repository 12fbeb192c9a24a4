"""``lm-research sweep sweep=NAME``: a study through Hydra's launchers, with tables and report."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from lm_research.callbacks.stop_signals import Stopped
from lm_research.cli.attempt import attempt
from lm_research.cli.axes import split_axes, values
from lm_research.cli.options import split_config_dir
from lm_research.cli.own_process import passing_to_workers
from lm_research.cli.report import report
from lm_research.cli.sweep_rounds import PLANNED, Rounds
from lm_research.cli.tell import guard_logs, tell
from lm_research.cli.train import check, make_folder, told_by_names
from lm_research.config.compose import Composed
from lm_research.config.paths import studies
from lm_research.config.problems import ConfigError, Problem, closest
from lm_research.studies.gpus import pool
from lm_research.studies.jobs import Planned, planned, write_jobs
from lm_research.studies.plan import Plan
from lm_research.studies.states import Standing, standings
from lm_research.studies.tested import without_runs
from lm_research.tracking.json_files import write_text
from lm_research.tracking.wandb_leet import leet_command

AGAIN = "the same command runs what is not done, and nothing else"
HELP = """usage: lm-research sweep sweep=NAME [GROUP=OPTION] [GROUP.FIELD=VALUE] ...
       lm-research sweep status sweep=NAME|output=FOLDER [--json]

Runs the study sweeps/NAME.yaml: every setting that its grid, zip and cases make, under every seed,
in parallel processes. Ends with tables in the terminal and an HTML report. Started again, it skips
what is done, goes on with what was cut, and runs what is new; started twice at once, the two share
the work. Fields may be overridden, axes too: seed=1,2,3 model=rnn,lstm.

  --dry-run                  the jobs, where they stand and what they cost; runs nothing
  --retry                    runs what failed once more, too
  --backend wandb            makes it a sweep in W&B, for its agents; with --dry-run: prints that
  job=FOLDER                 this one of its jobs, by the name of its folder, and no report
  hydra/launcher=basic       one run after the other, in one process
  hydra.launcher.n_jobs=4    so many at a time (default: one a core)
  hydra/launcher=ray         on a cluster of Ray's, or this machine (extra `ray`)
  --config-dir DIR           options of your own, laid out like conf/"""
FLAGS = ("--dry-run", "--retry")
BACKEND = ["--backend", "wandb"]


@dataclass(frozen=True)
class Study:
    """A study as this command asks for it.

    Attributes:
        fixed: the overrides that all its jobs share, Hydra's own among them.
        node: ``sweep:`` of its file.
    """

    folder: Path
    fixed: list[str]
    config_dir: str | None
    node: dict[str, Any]
    plan: Plan
    planned: list[Planned] = field(repr=False)


def run(arguments: list[str]) -> int:
    """Run the study; 1 if a run is not done in the end."""
    if {"-h", "--help"} & set(arguments):
        print(HELP)
        return 0
    if arguments[:1] == ["status"]:
        from lm_research.cli.sweep_status import run as status

        return status(arguments[1:])
    flags = {argument for argument in arguments if argument in FLAGS}
    rest = [argument for argument in arguments if argument not in FLAGS]
    wandb, rest = _backend(rest)
    names = [text.partition("=")[2] for text in rest if text.startswith("job=")]
    overrides = [text for text in rest if not text.startswith("job=")]
    study = planned_study(overrides)
    if wandb:
        from lm_research.cli.sweep_wandb import hand_over

        return hand_over(study, overrides, dry="--dry-run" in flags)
    if "--dry-run" in flags:
        from lm_research.cli.sweep_status import print_plan

        print_plan(study.folder, study.planned)
        return 0
    return run_study(study, _chosen(study, names), retry="--retry" in flags)


def _backend(arguments: list[str]) -> tuple[bool, list[str]]:
    """Whether ``--backend wandb`` is among the arguments, and the others."""
    if "--backend" not in arguments:
        return False, arguments
    at = arguments.index("--backend")
    if arguments[at : at + 2] != BACKEND:
        value = "".join(arguments[at + 1 : at + 2])
        raise ConfigError([Problem("--backend", "is not known", value, "wandb")])
    return True, arguments[:at] + arguments[at + 2 :]


def _chosen(study: Study, names: Sequence[str]) -> list[Planned]:
    """The jobs to run: those of ``names``, or all."""
    known = {one.job.folder: one for one in study.planned}
    if unknown := [name for name in names if name not in known]:
        near = closest(unknown[0], known)
        raise ConfigError([Problem("job", "is none of the study's", unknown[0], None, near)])
    return [known[name] for name in names] or study.planned


def planned_study(arguments: Sequence[str]) -> Study:
    """The study that a command line means, every job of it composed and sound.

    Raises:
        ConfigError: with every problem of every job.
    """
    config_dir, overrides = split_config_dir(arguments)
    if flags := [text for text in overrides if text.startswith("-")]:
        raise ConfigError([Problem(flags[0], "is no flag of this command", None, "see --help")])
    fixed, axes = split_axes(overrides)
    composed = check([*_flags(config_dir), *fixed])
    node = _node(composed)
    fixed += _one_a_gpu(composed, node, fixed)
    narrowed = {key: values(f"{key}={text}", config_dir) for key, text in axes.items()}
    own = [text for text in fixed if not text.startswith(("hydra.", "hydra/", "sweep="))]
    plan = Plan.of(node).narrowed(own, narrowed)
    jobs = _jobs(plan, fixed, config_dir)
    assert composed is not None
    if plan.settings() == Plan.of(node).settings():  # a part of a study may leave sides out
        _require_tested(node, jobs, fixed)
    folder = Path(composed.config["output"])
    return Study(folder, fixed, config_dir, {**node, "axes": node["axes"] or plan.axes}, plan, jobs)


def _require_tested(node: Mapping[str, Any], jobs: Sequence[Planned], fixed: list[str]) -> None:
    configs = {tuple(one.job.setting.items()): one.config for one in jobs}
    file = next((str(file) for known, file in studies("sweeps") if f"sweep={known}" in fixed), None)
    if problems := list(without_runs(node.get("hypotheses") or [], list(configs.values()), file)):
        raise ConfigError(problems)


def _flags(config_dir: str | None) -> list[str]:
    return [] if config_dir is None else ["--config-dir", config_dir]


def _node(composed: Composed | None) -> dict[str, Any]:
    node = composed.config.get("sweep") if composed else None
    if composed and composed.hydra.sweeper.get("params"):
        message = "is for `lm-research train -m`: a study's axes are told, skipped and counted"
        allowed = "sweep.grid, sweep.zip, sweep.cases"
        raise ConfigError([Problem("hydra.sweeper.params", message, None, allowed)])
    if not node:
        problem = Problem("sweep", "must be given", None, "sweep=NAME of a file in sweeps/")
        raise ConfigError([problem])
    return {"axes": [], **node}


def _one_a_gpu(composed: Composed | None, node: dict[str, Any], fixed: list[str]) -> list[str]:
    """As many runs at a time as the pool has GPUs, where the launcher leaves that open."""
    if node.get("gpus") and composed is not None and "num_gpus" in composed.hydra.launcher:
        message, allowed = "is for one machine; Ray has its own queue", "hydra.launcher.num_gpus=1"
        raise ConfigError([Problem("sweep.gpus", message, None, allowed)])
    count, key = len(pool(node.get("gpus"))), "hydra.launcher.n_jobs"
    given = any(text.startswith(f"{key}=") for text in fixed)
    known = composed is not None and "n_jobs" in composed.hydra.launcher
    return [f"{key}={count}"] if count and known and not given else []


def _jobs(plan: Plan, fixed: Sequence[str], config_dir: str | None) -> list[Planned]:
    """Every job; where one is wrong, its overrides are looked at singly, which tells more."""
    settings = [[f"{key}={value}" for key, value in s.items()] for s in plan.settings()]
    if problems := told_by_names(list(dict.fromkeys(text for s in settings for text in s))):
        raise ConfigError(list(problems.values()))
    try:
        return planned(plan, fixed, config_dir)
    except ConfigError:
        for overrides in _covering(settings):
            check([*_flags(config_dir), *fixed, *overrides])
        raise


def _covering(settings: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Settings in which every override occurs."""
    seen: set[str] = set()
    found = []
    for overrides in settings:
        if new := set(overrides) - seen:
            found.append(overrides)
            seen |= new
    return found


def run_study(study: Study, chosen: list[Planned], retry: bool, reported: bool = True) -> int:
    """Run what is not done of ``chosen``, and report; 1 if a run is not done in the end."""
    from lm_research.cli.sweep_progress import SweepProgress

    folder = make_folder(str(study.folder))
    jobs = [one.job for one in chosen]
    write_text(folder / "sweep.yaml", yaml.safe_dump(study.node, sort_keys=False))
    write_jobs(folder, [one.job for one in study.planned])
    if all(standing.state == "done" for standing in standings(folder, jobs)):
        print(f"{folder}: all {len(jobs)} jobs are done; nothing is left to do")
    try:
        with SweepProgress(folder, jobs), passing_to_workers():
            Rounds(folder, chosen, study.fixed, study.config_dir, retry).run(job)
    except Stopped as stopped:
        print(f"lm-research sweep: {stopped}; {AGAIN}", file=sys.stderr)
        raise
    whole = len(chosen) == len(study.planned) and reported
    code = _end(folder, standings(folder, jobs), study.node["report"] if whole else None)
    if whole and any(is_online(one.config) for one in chosen):
        from lm_research.cli.sync import send_study

        send_study(folder)
    return code


def is_online(config: Mapping[str, Any]) -> bool:
    """Whether a run of this configuration goes to W&B while it runs."""
    return (config.get("tracking") or {}).get("mode") == "online"


def job(cfg: DictConfig) -> str:
    """One run of the study; an error is its own, told in its folder and in the report."""
    guard_logs()
    return attempt(json.loads(cfg[PLANNED]))


def _end(folder: Path, found: Sequence[Standing], page: str | None) -> int:
    """Say what is not done and why; the report, where there is something to report."""
    path = report(folder, page) if page and any(s.state == "done" for s in found) else None
    undone = [standing for standing in found if standing.state != "done"]
    for standing in undone:
        why = standing.error or standing.state
        tell(f"not done: {folder / standing.job.folder}: {why}")
    if undone:
        failed = " (--retry: what failed, too)" if any(s.state == "failed" for s in undone) else ""
        print(f"{AGAIN}{failed}", file=sys.stderr)
    if path:
        print(f"report: {path}")
    if command := leet_command(folder):
        print(f"in a terminal: {command}")
    return 1 if undone else 0
