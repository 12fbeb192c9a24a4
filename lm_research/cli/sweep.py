"""``lm-research sweep sweep=NAME``: a study through Hydra's multirun, with tables and report."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.types import RunMode
from omegaconf import DictConfig

from lm_research.callbacks.stop_signals import Stopped
from lm_research.cli.attempt import Stamp, attempt, failed_so_far, failures
from lm_research.cli.axes import columns, combinations, split_axes
from lm_research.cli.own_process import passing_to_workers
from lm_research.cli.report import report
from lm_research.cli.tell import guard_logs, tell
from lm_research.cli.train import check, hand_over, make_folder, parse, split_flags
from lm_research.config.problems import ConfigError, Problem
from lm_research.tracking.json_files import write_text

AGAIN = "the same command runs what is not done, and nothing else"
HELP = """usage: lm-research sweep sweep=NAME [GROUP=OPTION] [GROUP.FIELD=VALUE] ...

Runs the study sweeps/NAME.yaml: every combination of its axes, in parallel processes. Ends with
tables in the terminal and an HTML report. Started again, it skips the runs that are done and goes
on with those that are not. Fields may be overridden, axes too: seed=1,2,3 model=rnn,lstm.

  hydra/launcher=basic       one run after the other, in one process
  hydra.launcher.n_jobs=4    so many at a time (default: one a core)"""


def run(arguments: list[str]) -> int:
    """Run the study; 1 if a run failed."""
    if {"-h", "--help"} & set(arguments):
        print(HELP)
        return 0
    flags, overrides = split_flags(arguments)
    fixed, axes = split_axes(overrides)
    composed = check([*flags, *fixed])
    if composed is None or parse(arguments).cfg:
        hand_over(job, arguments)
        return 0
    study = composed.config.get("sweep")
    if study is None or composed.hydra.mode != RunMode.MULTIRUN:
        problem = Problem("sweep", "must be given", None, "sweep=NAME of a file in sweeps/")
        raise ConfigError([problem])
    named = {text.partition("=")[0] for text in fixed}
    own = {k: v for k, v in (composed.hydra.sweeper.params or {}).items() if k not in named}
    params = [f"{k}={v}" for k, v in {**own, **axes}.items()]
    check(["-m", *flags, *fixed, *params])
    folder = make_folder(composed.hydra.sweep.dir)
    _write_study(folder, study)
    from lm_research.cli.sweep_progress import SweepProgress

    before = failed_so_far(folder)
    varied = [f"{k}={v}" for k, v in axes.items()]
    try:
        with SweepProgress(folder, combinations(columns(params))), passing_to_workers():
            hand_over(job, [*flags, *fixed, *varied, _short_names(fixed)], folder)
    except Stopped as stopped:
        print(f"lm-research sweep: {stopped}; {AGAIN}", file=sys.stderr)
        raise
    return _report(folder, study, before)


def _short_names(fixed: Sequence[str]) -> str:
    """Runs' folders are named by what varies, not by what all share."""
    keys = [text.partition("=")[0].lstrip("+~") for text in fixed]
    return f"hydra.job.config.override_dirname.exclude_keys=[{','.join(keys)}]"


def _write_study(folder: Path, study: dict[str, Any]) -> None:
    write_text(folder / "sweep.yaml", yaml.safe_dump(study, sort_keys=False, allow_unicode=True))


def job(cfg: DictConfig) -> str:
    """One run of the study; an error is its own, told in its folder and in the report."""
    guard_logs()
    return attempt(cfg)


def _report(folder: Path, study: dict[str, Any], before: dict[Path, Stamp]) -> int:
    from lm_research.analysis.runs import find_runs

    path = report(folder, study["report"])
    unfinished = {
        run.folder: str(run.status.get("error") or run.state)
        for run in find_runs(folder)
        if not run.done
    }
    unfinished |= failures(folder, before)
    for place, reason in unfinished.items():
        tell(f"not done: {place}: {reason}")
    if unfinished:
        print(f"{AGAIN}; the report holds what the folder held before, too", file=sys.stderr)
    print(f"report: {path}")
    return 1 if unfinished else 0
