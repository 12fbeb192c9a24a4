"""``lm-research bench NAME``: speed on this machine, beside what others run."""

import importlib
import json
import os
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lm_research.cli.options import help_text, option, parse
from lm_research.config.problems import ConfigError, Problem, closest, listing

SUMMARY = """\
Compares results first, then times both sides in turns: how many times as fast as each peer, with
the spread of the rounds and the share of the machine's own best product. Writes a table (JSON) and
a plot (HTML).

  NAME --with keras    founding_example and time_to_loss: Keras' own fit beside it, by each
                       backend installed
  NAME --profile       where the time of our side goes in the first row, by PyTorch's profiler
"""
VERSIONS = ("torch", "lm-research", "keras", "tensorflow-cpu", "jax", "scikit-learn", "numba")
WITH_KERAS = ("founding_example", "time_to_loss")


@dataclass(frozen=True)
class Options:
    """Options of the verb."""

    quick: bool = option(False, "few rows, a minute or two")
    only: str = option("", "rows with all these words: 'gru hidden=512'")
    seconds: float = option(3.0, "of turns a row, five rounds at least")
    threads: int | None = option(None, "of PyTorch; null: as many as cores")
    output: str | None = option(None, "JSON; null: benchmarks/results/NAME.json or bench_NAME.json")


def run(arguments: list[str]) -> int:
    """Measure, print, write; 1 where sides do not agree."""
    names: dict[str, str] = importlib.import_module("lm_research.bench").NAMES
    if not arguments or {"-h", "--help"} & set(arguments):
        print(help_text("bench NAME", Options, SUMMARY + _listed(names)))
        return 0
    name, *rest = arguments
    if name not in names:
        near = closest(name, names)
        raise ConfigError([Problem("bench", "there is no such one", name, listing(names), near)])
    peers, profile, rest = _flags(rest)
    options, _ = parse(Options, rest)
    if peers and name not in WITH_KERAS:
        told = f"only {' and '.join(WITH_KERAS)} have such peers"
        problem = Problem("--with", told, name, "none")
        raise ConfigError([problem])
    return _measured(name, options, peers, profile)


def _listed(names: dict[str, str]) -> str:
    width = max(map(len, names))
    return "\n" + "\n".join(f"  {name:{width}}  {text}" for name, text in names.items())


def _flags(arguments: list[str]) -> tuple[bool, bool, list[str]]:
    """Whether Keras is wanted, whether a profile is, and what is left."""
    rest, keras, left = [], False, iter(arguments)
    for argument in left:
        if argument.partition("=")[0] != "--with":
            rest.append(argument)
            continue
        peer = argument.partition("=")[2] or next(left, "")
        if peer != "keras":
            raise ConfigError([Problem("--with", "there is no such peer", peer, "keras")])
        keras = True
    return keras, "--profile" in rest, [a for a in rest if a != "--profile"]


def _measured(name: str, options: Options, keras: bool, profile: bool) -> int:
    import torch
    from rich.console import Console

    from lm_research.cli.allocator import keep_freed_memory

    torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
    keep_freed_memory()
    console = Console()
    runner = importlib.import_module("lm_research.bench.runner")
    plans = runner.chosen(_plans(name, options, keras), options.only)
    if not plans:
        raise ConfigError([Problem("only", "no row has all these words", options.only, "fewer")])
    if profile:
        return _profiled(plans[0], console)
    return _timed(name, options, plans, console)


def _plans(name: str, options: Options, keras: bool) -> Any:
    module = importlib.import_module(f"lm_research.bench.{name}")
    if not keras:
        return module.plans(options.quick)
    backends = module.backends()
    if not backends:
        problem = Problem(
            "--with",
            "no backend of Keras is installed",
            "keras",
            "pip install keras tensorflow-cpu, or keras jax",
        )
        raise ConfigError([problem])
    return module.plans(options.quick, backends)


def _timed(name: str, options: Options, plans: list[Any], console: Any) -> int:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    runner = importlib.import_module("lm_research.bench.runner")
    shown = importlib.import_module("lm_research.bench.shown")
    output = _output(name, options.output)
    about, done = _about(options), list[Any]()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(name, total=len(plans))

        def told(plan: Any, row: Any) -> None:
            progress.advance(task)
            done.append(row)  # written at once: a run that is cut keeps its rows
            output.write_text(json.dumps({**about, "rows": done}, indent=1) + "\n", "utf-8")
            if not console.is_terminal:
                ratios = {peer: round(r["median"], 2) for peer, r in row["ratios"].items()}
                console.print(f"{shown.label(row)}: {ratios}", soft_wrap=True, highlight=False)

        rows = runner.run(plans, options.seconds, told)
    console.print(shown.table(f"bench {name}", rows))
    shown.write_page(output.with_suffix(".html"), f"bench {name}", rows)
    console.print(f"bench: {output}, {output.with_suffix('.html')}", soft_wrap=True)
    return 0


def _output(name: str, given: str | None) -> Path:
    results = Path("benchmarks/results")
    path = Path(given) if given else results / f"{name}.json"
    if given is None and not results.is_dir():
        path = Path(f"bench_{name}.json")
    if not path.parent.is_dir():
        raise ConfigError(
            [Problem("output", "no such folder", str(path.parent), "one that exists")]
        )
    return path


def _about(options: Options) -> dict[str, Any]:
    import torch

    from lm_research.tracking.environment import environment

    versions = {}
    for package in VERSIONS:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "date": date.today().isoformat(),
        "processor": environment()["cpu"]["model"],
        "threads": torch.get_num_threads(),
        "versions": versions,
        "seconds_a_row": options.seconds,
    }


def _profiled(plan: Any, console: Any) -> int:
    from torch.profiler import ProfilerActivity, profile

    case = plan.make()
    try:
        work = case.work or case.sides["ours"]
        work()
        with profile(activities=[ProfilerActivity.CPU]) as found:
            work()
    finally:
        case.close()
    told = " ".join(plan.words()[1::2])
    console.print(found.key_averages().table("self_cpu_time_total", row_limit=20), told)
    return 0
