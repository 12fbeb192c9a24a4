"""``lm-research train``: compose, validate, then hand over to Hydra and the job."""

import json
import sys
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from lm_research.config.compose import compose, finalise, register_studies
from lm_research.config.paths import shipped
from lm_research.config.problems import ConfigError, is_ours

LOOK_ONLY = ("help", "hydra_help", "version", "info", "cfg", "shell_completion")


def run(arguments: list[str]) -> int:
    """Train; with ``-m``, several runs."""
    check(arguments)
    hand_over(job, arguments)
    return 0


def check(arguments: Sequence[str]) -> None:
    """Compose every value that the command names, at least once each, before anything starts.

    Raises:
        ConfigError: with all problems of all of them.
    """
    parsed = get_args_parser().parse_intermixed_args(list(arguments))
    if any(getattr(parsed, name, None) for name in LOOK_ONLY if name != "cfg"):
        return
    combinations = _combinations(parsed.overrides) if parsed.multirun else [parsed.overrides]
    problems: dict[str, Any] = {}
    for overrides in combinations:
        try:
            composed = compose(overrides, parsed.config_dir)
        except ConfigError as error:
            problems |= {str(problem): problem for problem in error.problems}
            continue
        if composed.hydra.mode == RunMode.MULTIRUN and not parsed.multirun:
            params = [f"{k}={v}" for k, v in (composed.hydra.sweeper.params or {}).items()]
            check(["-m", *params, *arguments])
    if problems:
        raise ConfigError(list(problems.values()))


def _combinations(overrides: Sequence[str]) -> list[list[str]]:
    """Few combinations in which each value of each sweep occurs; the product may be huge."""
    columns = []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_overrides([text])[0]
        except HydraException:
            columns.append([text])
            continue
        if override.is_sweep_override():
            key = override.get_key_element()
            columns.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            columns.append([text])
    rows = zip_longest(*columns)
    return [
        [v if v is not None else c[0] for v, c in zip(row, columns, strict=True)] for row in rows
    ] or [[]]


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part Hydra's flags from overrides, which may stand before and after them."""
    overrides = get_args_parser().parse_intermixed_args(list(arguments)).overrides
    return [argument for argument in arguments if argument not in overrides], overrides


def hand_over(task: Callable[[DictConfig], Any], arguments: Sequence[str]) -> None:
    """Run ``task`` under ``hydra.main`` as if the process had been started with ``arguments``."""
    register_studies()
    flags, overrides = split_flags(arguments)
    sys.argv = ["lm-research", *flags, *overrides]
    decorate = hydra.main(
        version_base="1.3", config_path=str(shipped("conf")), config_name="config"
    )
    decorate(task)()


def job(cfg: DictConfig) -> None:
    """One run, inside Hydra. Everything heavy is imported here."""
    hydra_config: Any = HydraConfig.get()
    config = finalise(cfg, hydra_config)
    # What environment.json records: the command of this one run, whatever process it is in.
    sys.argv = ["lm-research", "train", *hydra_config.overrides.task]
    from lm_research.cli.job import train

    try:
        train(config, hydra_config.runtime.output_dir)
        if hydra_config.mode == RunMode.RUN:
            _say_where(Path(hydra_config.runtime.output_dir))
    except Exception as error:
        if hydra_config.mode == RunMode.MULTIRUN or not is_ours(error):
            raise  # Hydra lets the other runs go on, and tells of this one at the end
        print(f"lm-research train: {error}", file=sys.stderr)
        sys.exit(1)


def _say_where(folder: Path) -> None:
    """The last line of a single run: its folder, and its main score."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    score = summary.get("val/bits_per_byte")
    shown = "undefined" if score is None else f"{score:.4f}"
    print(f"run: {folder}  val/bits_per_byte: {shown}")
