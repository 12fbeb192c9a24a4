"""``lm-research sweep sweep=NAME``: a study through Hydra's multirun, with tables and report."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from lm_research.cli.train import check, hand_over, split_flags
from lm_research.config.compose import compose, finalise
from lm_research.config.problems import ConfigError, Problem

LAST_ERROR = "last_error.txt"
"""In a run's folder: what stopped the run at the last start of its sweep."""

HELP = """usage: lm-research sweep sweep=NAME [GROUP=OPTION] [GROUP.FIELD=VALUE] ...

Runs the study sweeps/NAME.yaml: every combination of its axes, in parallel processes. Ends with
tables in the terminal and an HTML report. Started again, it skips the runs that are done and goes
on with those that are not. Fields may be overridden, axes too: seed=1,2,3 model=rnn,lstm."""


def run(arguments: list[str]) -> int:
    """Run the study; 1 if a run failed."""
    if {"-h", "--help"} & set(arguments):
        print(HELP)
        return 0
    flags, overrides = split_flags(arguments)
    fixed, axes = split_axes(overrides)
    check([*flags, *fixed])
    composed = compose(fixed, get_args_parser().parse_args(flags).config_dir)
    study = composed.config.get("sweep")
    if study is None or composed.hydra.mode != RunMode.MULTIRUN:
        problem = Problem("sweep", "must be given", None, "sweep=NAME of a file in sweeps/")
        raise ConfigError([problem])
    named = {text.partition("=")[0] for text in fixed}
    own = {k: v for k, v in (composed.hydra.sweeper.params or {}).items() if k not in named}
    params = {**own, **axes}
    check(["-m", *flags, *fixed, *(f"{k}={v}" for k, v in params.items())])
    folder = Path(composed.config["output"])
    _write_study(folder, study)
    from lm_research.cli.sweep_progress import SweepProgress

    with SweepProgress(folder, planned=_planned(params)):
        varied = [f"{k}={v}" for k, v in axes.items()]
        hand_over(job, [*flags, *fixed, *varied, _short_names(fixed)])
    return _report(folder, study)


def _short_names(fixed: Sequence[str]) -> str:
    """Runs' folders are named by what varies, not by what all share."""
    keys = [text.partition("=")[0].lstrip("+~") for text in fixed]
    return f"hydra.job.config.override_dirname.exclude_keys=[{','.join(keys)}]"


def split_axes(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Part ``key=a,b`` (an axis) from plain overrides."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    fixed, axes = [], {}
    for argument in arguments:
        try:
            override = OverridesParser.create().parse_overrides([argument])[0]
        except HydraException:
            fixed.append(argument)  # the check says what is wrong with it
            continue
        if override.is_sweep_override():
            axes[override.get_key_element()] = argument.partition("=")[2]
        else:
            fixed.append(argument)
    return fixed, axes


def _planned(params: dict[str, Any]) -> int:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    number = 1
    for key, value in params.items():
        override = OverridesParser.create().parse_overrides([f"{key}={value}"])[0]
        if override.is_sweep_override():
            number *= len(list(override.sweep_string_iterator()))
    return number


def _write_study(folder: Path, study: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(study, sort_keys=False, allow_unicode=True)
    (folder / "sweep.yaml").write_text(text, encoding="utf-8")


def job(cfg: DictConfig) -> str:
    """One run of the study; an error is its own, told in its folder and in the report."""
    hydra_config: Any = HydraConfig.get()
    config = finalise(cfg, hydra_config)
    output = hydra_config.runtime.output_dir
    from lm_research.cli.job import train

    told = Path(output) / LAST_ERROR
    told.unlink(missing_ok=True)
    try:
        train(config, output)
    except Exception as error:
        told.parent.mkdir(parents=True, exist_ok=True)
        told.write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        return "failed"
    return "done"


def _report(folder: Path, study: dict[str, Any]) -> int:
    from rich.console import Console

    from lm_research.analysis.runs import find_runs
    from lm_research.analysis.summary import summarise

    path = summarise(folder, study["report"], Console())
    # A finished run of another configuration is done, but it is not the run that was asked for.
    failed = [r for r in find_runs(folder) if not r.done or (r.folder / LAST_ERROR).exists()]
    for unfinished in failed:
        told = unfinished.folder / LAST_ERROR
        error = told.read_text(encoding="utf-8") if told.exists() else unfinished.state
        print(f"not done: {unfinished.folder}: {error}", file=sys.stderr)
    if failed:
        print("The report holds what the folder held before, too.", file=sys.stderr)
    print(f"report: {path}")
    return 1 if failed else 0
