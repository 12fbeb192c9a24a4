"""``lm-research sweep status``, and what ``--dry-run`` prints: jobs, how they stand, their cost."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lm_research.cli.options import option, parse, split_config_dir
from lm_research.cli.sweep_progress import STYLES, clock, counts, overview
from lm_research.cli.tell import safe
from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError, Problem
from lm_research.studies.jobs import Planned, read_jobs
from lm_research.studies.states import Standing, seconds_left, standings
from lm_research.tracking.wandb_leet import leet_command

JSON = "--json"


@dataclass(frozen=True)
class Options:
    """Options of the verb."""

    output: str | None = option(None, "the study's folder")
    sweep: str | None = option(None, "or the study, where it writes to by itself")


def run(arguments: list[str]) -> int:
    """Print where a study stands."""
    config_dir, rest = split_config_dir([a for a in arguments if a != JSON])
    options, _ = parse(Options, rest)
    folder = _folder(options, config_dir)
    found = standings(folder, read_jobs(folder))
    if JSON in arguments:
        print(json.dumps(_plain(found), indent=2))
    else:
        _print(folder, found, Console())
    return 0


def _folder(options: Options, config_dir: str | None) -> Path:
    if options.output is not None:
        return Path(options.output).expanduser()
    if options.sweep is None:
        problem = Problem("output", "must be given", None, "output=FOLDER or sweep=NAME")
        raise ConfigError([problem])
    return Path(compose([f"sweep={options.sweep}"], config_dir).config["output"])


def _plain(found: Sequence[Standing]) -> list[dict[str, object]]:
    return [
        {
            "folder": s.job.folder, "identity": s.job.identity, "setting": s.job.setting,
            "seed": s.job.seed, "state": s.state, "share": s.share, "seconds": s.seconds,
            "error": s.error, "log": str(s.log) if s.log else None, "where": s.where,
        }
        for s in found
    ]  # fmt: skip


def _print(folder: Path, found: Sequence[Standing], console: Console) -> None:
    console.print(overview(folder.name, found))
    rows = [s for s in found if s.state in ("failed", "stale", "interrupted", "running")]
    if rows:
        console.print(_table(rows))
    others = sorted(_runs(folder) - {s.job.folder for s in found})
    if others:
        are = "run is" if len(others) == 1 else "runs are"
        console.print(f"{len(others)} more {are} in the folder, of the study as it was before")
    if all(s.state == "done" for s in found):
        console.print("nothing is left to do")
    if command := leet_command(folder):
        console.print(Text(f"in a terminal: {safe(command)}"), soft_wrap=True)


def _runs(folder: Path) -> set[str]:
    return {file.parent.name for file in folder.glob("*/status.json")}


def _table(rows: Sequence[Standing]) -> Table:
    table = Table("job", "state", "what is known", box=None, pad_edge=False)
    for s in rows:
        log = f" (log: {s.log})" if s.log else ""
        known = f"{s.share:.0%}, {s.where}" if s.where else f"{s.error or ''}{log}"
        state = Text(s.state, style=STYLES.get(s.state, ""))
        table.add_row(Text(safe(s.job.folder), overflow="fold"), state, Text(safe(known)))
    return table


def print_plan(folder: Path, jobs: Sequence[Planned], console: Console | None = None) -> None:
    """A line a setting: its seeds, what is done, tokens, parameters, FLOPs; then the sums."""
    from lm_research.cli.sweep_cost import cost

    console = console or Console()
    found = {s.job.identity: s for s in standings(folder, [one.job for one in jobs])}
    keys = list(dict.fromkeys(key for one in jobs for key in one.job.setting))
    table = Table(*_headings(keys), "seeds", "done", box=None, pad_edge=False)
    for name in ("tokens", "parameters", "FLOPs"):
        table.add_column(name, justify="right")
    total = 0.0
    for group in _by_setting(jobs):
        each = cost(group[0].config)
        total += (each.flops or 0.0) * len(group)
        done = sum(found[one.job.identity].state == "done" for one in group)
        values = [Text(safe(group[0].job.setting.get(key, "-"))) for key in keys]
        seeds = " ".join(str(one.job.seed) for one in group)
        sizes = map(_short, (each.tokens, each.parameters, each.flops))
        table.add_row(*values, seeds, str(done), *sizes)
    console.print(table)
    console.print(_sums(folder, list(found.values()), total))


def _headings(keys: Sequence[str]) -> list[str]:
    """The last part of each key, where it is no other's: terminals are narrow."""
    lasts = [key.rpartition(".")[2] for key in keys]
    return [last if lasts.count(last) == 1 else k for k, last in zip(keys, lasts, strict=True)]


def _by_setting(jobs: Sequence[Planned]) -> list[list[Planned]]:
    groups: dict[tuple[tuple[str, str], ...], list[Planned]] = {}
    for one in jobs:
        groups.setdefault(tuple(one.job.setting.items()), []).append(one)
    return list(groups.values())


def _sums(folder: Path, found: Sequence[Standing], flops: float) -> Text:
    left = seconds_left(found, 1)
    known = "no job has ended yet" if left is None else f"about {clock(left)} in one process"
    return Text.assemble(
        f"\n{len(found)} jobs in {safe(str(folder))}: ", counts(found),
        f"\nat most {_short(flops)} FLOPs of training in all; {known}",
    )  # fmt: skip


def _short(number: float | None) -> str:
    """1,234 as 1.23k: three digits and a magnitude."""
    if number is None:
        return "-"
    value = float(number)
    for unit in ("", "k", "M", "G", "T", "P", "E"):
        if value < 999.5 or unit == "E":
            return f"{value:.3g}{unit}"
        value /= 1000
    return ""
