"""``lm-research train``: compose, validate, then hand over to Hydra and the job."""

import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from lm_research.callbacks.stop_signals import Stopped
from lm_research.cli.attempt import attempt, command, failed_so_far, failures, finished
from lm_research.cli.axes import columns, covering
from lm_research.cli.batch_size import adopt
from lm_research.cli.own_process import passing_to_workers
from lm_research.cli.tell import guard_logs, tell, tell_error
from lm_research.config.compose import Composed, compose, finalise, register_studies
from lm_research.config.paths import shipped
from lm_research.config.problems import ConfigError, Problem
from lm_research.studies.jobs import FILE as JOBS
from lm_research.tracking.errors import write_error
from lm_research.tracking.json_files import read_json
from lm_research.tracking.links import refuse_links_of_all
from lm_research.tracking.redaction import redacted_arguments

ROOM = 1 << 16
"""Bytes that have to fit on the disk for a run to be worth starting: its first files."""
LOOK_ONLY = ("hydra_help", "version", "info", "shell_completion")


def run(arguments: list[str]) -> int:
    """Train; with ``-m``, several runs. 1 if one failed."""
    parsed = parse(arguments)
    composed = check(arguments)
    if composed is None or parsed.cfg:
        hand_over(job, arguments)
        return 0
    if parsed.multirun or composed.hydra.mode == RunMode.MULTIRUN:
        return _several(composed, arguments)
    return _one(composed, arguments)


def _one(composed: Composed, arguments: Sequence[str]) -> int:
    if (composed.config.get("debug") or {}).get("replay"):
        from lm_research.cli.replay import replay

        replay(adopt(composed.config, composed.hydra.run.dir), composed.hydra.run.dir)
        return 0
    folder = make_folder(composed.hydra.run.dir)
    if (folder / JOBS).exists():
        message = "holds a study; a run among its runs would be none of it"
        raise ConfigError([Problem("output", message, str(folder), "another output=FOLDER")])
    if finished(composed.config, folder):
        print(f"{folder}: done already; give another output=FOLDER to run it again")
        return 0
    hand_over(job, arguments, folder)
    for line in result(folder):
        tell(line, sys.stdout)
    return 0


def _several(composed: Composed, arguments: Sequence[str]) -> int:
    folder = make_folder(composed.hydra.sweep.dir)
    before = failed_so_far(folder)
    with passing_to_workers():
        hand_over(job, arguments, folder)
    failed = failures(folder, before)
    for place, reason in failed.items():
        tell(f"failed: {place}: {reason}")
    count = f"{len(failed)} failed; " if failed else ""
    print(f"{count}next: lm-research report runs={shlex.quote(str(folder))}")
    return 1 if failed else 0


def make_folder(name: str) -> Path:
    """Make the folder now, and write to it: Hydra would answer with a traceback. No links."""
    folder = Path(name).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as probe:
            probe.write(bytes(ROOM))
    except OSError as error:
        raise write_error(folder, error) from error
    refuse_links_of_all(folder)
    return folder


def result(folder: Path) -> list[str]:
    """What a person wants to know after a run: the score, the folder, what to do with it."""
    summary, status = read_json(folder / "summary.json"), read_json(folder / "status.json")
    names = ("val/bits_per_byte", "val/perplexity_token")
    if "val/bits_per_byte" not in summary:
        names = ("val/accuracy", "val/f1_macro")
    if "val/subset_accuracy" in summary:
        names = ("val/f1_micro", "val/subset_accuracy")
    if "val/copy_rate" in summary:
        names = ("val/bleu", "val/chrf") if "val/bleu" in summary else ("val/rouge1", "val/rougeL")
    known = [f"{name} {summary[name]:.4f}" for name in names if summary.get(name) is not None]
    undefined = [f"{name} undefined" for name in names[:1] if summary.get(name) is None]
    scores = ", ".join([*undefined, *known])
    place = shlex.quote(str(folder))
    use = (
        'generate run={} prompt="..."'
        if "val/bits_per_byte" in summary
        else "predict run={} input=FILE"
    )
    steps = f"{status['step']:,} step" + ("s" if status["step"] != 1 else "")
    return [
        f"{scores} after {steps}",
        f"run: {folder}",
        *_skipped(read_json(folder / "data.json")),
        f"next: lm-research {use.format(place)}",
    ]


def _skipped(data: dict[str, Any]) -> list[str]:
    """A source that was read in part should not look as if it had been read whole."""
    counts = [f"{count:,} {reason}" for reason, count in data["left_out"]["skipped"].items()]
    return [f"skipped documents of the source: {', '.join(counts)}"] if counts else []


def parse(arguments: Sequence[str]) -> Namespace:
    """Hydra's flags, and ``overrides``.

    Raises:
        ConfigError: a flag that would bypass conf/.
    """
    parsed = get_args_parser().parse_intermixed_args(list(arguments))
    for name in ("config_path", "config_name"):
        if getattr(parsed, name, None):
            flag = f"--{name.replace('_', '-')}"
            allowed = "experiment=NAME, or --config-dir DIR for options of your own"
            raise ConfigError([Problem(flag, "is not for this command", None, allowed)])
    if parsed.cfg and parsed.multirun:
        message = "shows one configuration; -m makes several"
        raise ConfigError([Problem("--cfg", message, None, "--cfg without -m")])
    return parsed


def check(arguments: Sequence[str]) -> Composed | None:
    """Compose every value that the command names, at least once each, before anything starts.

    Returns:
        One of the sound configurations; None where the flags only ask Hydra about itself.

    Raises:
        ConfigError: with all problems of all of them.
    """
    parsed = parse(arguments)
    if any(getattr(parsed, name, None) for name in LOOK_ONLY):
        return None
    overrides, config_dir = parsed.overrides, parsed.config_dir
    problems = told_by_names(overrides) if parsed.multirun else {}
    several = covering(columns(overrides, config_dir)) if parsed.multirun else [overrides]
    first = None
    for one in several:
        try:
            composed = compose(one, config_dir)
        except ConfigError as error:
            problems |= {str(problem): problem for problem in error.problems}
            continue
        first = first or composed
        if composed.hydra.mode == RunMode.MULTIRUN and not parsed.multirun:
            params = [f"{k}={v}" for k, v in (composed.hydra.sweeper.params or {}).items()]
            check(["-m", *params, *arguments])
    if problems:
        raise ConfigError(list(problems.values()))
    return first


def told_by_names(overrides: Sequence[str]) -> dict[str, Problem]:
    """Secrets among the overrides of several runs, whose folders may be named by them."""
    message = "holds a secret, and the runs' folders are named by their overrides"
    allowed = "a variable of the environment, or conf/local/default.yaml"
    kept = zip(overrides, redacted_arguments(list(overrides)), strict=True)
    return {told: Problem(told, message, None, allowed) for text, told in kept if text != told}


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part Hydra's flags from overrides, which may stand before and after them."""
    overrides = parse(arguments).overrides
    return [argument for argument in arguments if argument not in overrides], overrides


def hand_over(
    task: Callable[[DictConfig], Any], arguments: Sequence[str], folder: Path | None = None
) -> None:
    """Run ``task`` under ``hydra.main`` as if the process had been started with ``arguments``.

    Args:
        folder: of the run or the sweep; a name with the time in it must not be made up twice.
    """
    register_studies()
    flags, overrides = split_flags(arguments)
    if folder is not None:
        quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
        overrides += [f"hydra.run.dir='{quoted}'", f"hydra.sweep.dir='{quoted}'"]
    decorate = hydra.main(
        version_base="1.3", config_path=str(shipped("conf")), config_name="config"
    )
    before, sys.argv = sys.argv, ["lm-research", *overrides, *flags]
    try:
        decorate(task)()
    finally:
        sys.argv = before


def job(cfg: DictConfig) -> str:
    """One run, inside Hydra. Everything heavy is imported here."""
    guard_logs()
    own: Any = HydraConfig.get()
    output = Path(own.runtime.output_dir)
    if own.mode == RunMode.MULTIRUN:
        state = attempt(cfg)
        print(f"{output}: {result(output)[0] if state == 'done' else state}", flush=True)
        return state
    sys.argv = command(own)
    config = finalise(cfg, own)
    from lm_research.cli.launch import train

    try:
        train(config, output)
    except Stopped as stopped:
        words = [word for word in sys.argv[1:] if not word.startswith("output=")]
        again = shlex.join(["lm-research", "train", *words[1:], f"output={output}"])
        tell(f"lm-research train: {stopped}; to go on: {again}")
        raise
    except Exception as error:  # Hydra would print the overrides, secrets included
        tell_error("train", error)
        sys.exit(getattr(error, "exit_code", 1))
    return "done"
