"""What ``lm-research runs list | show | compare`` print."""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from rich.console import Console
from rich.text import Text
from sqlalchemy import Select, func, select

from lm_research.analysis.metric import MISSING, UNDEFINED, Metric, compact
from lm_research.analysis.render import Speller, fit, to_rich
from lm_research.analysis.runs import Run
from lm_research.analysis.settings import find_axes, flatten, value_of
from lm_research.analysis.tables import Cell, Column, Table
from lm_research.cli.tell import cleaner, safe
from lm_research.config.problems import ConfigError
from lm_research.tracking.checkpoint_store import CheckpointStore
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.ledger.comparison import ABSENT, compare, differing
from lm_research.tracking.ledger.ledger import Ledger
from lm_research.tracking.run_identity import identity

USUAL_METRICS = ("val/bits_per_byte", "val/accuracy", "val/subset_accuracy")
_AXES_SHOWN = 8
_LONGEST = 60
MOST_DRAWN = 1000
"""Rows of a table that are drawn."""


def print_list(ledger: Ledger, query: Select, sort: str | None, limit: int | None) -> None:
    """A table of the selected runs, and how many there are in which state."""
    with ledger.engine.connect() as connection:
        total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    runs = ledger.runs(query.limit(limit))
    if not runs:
        _say(f"no run of {ledger.root} is that")
        return
    metrics = list(dict.fromkeys([*([sort] if sort else []), *USUAL_METRICS]))
    _print(_runs_table(ledger, runs, [m for m in metrics if any(m in r.summary for r in runs)]))
    states = Counter(run.state for run in runs)
    counted = ", ".join(f"{times:,} {state}" for state, times in states.most_common())
    shown = "" if total == len(runs) else f"{len(runs):,} of {total:,} runs; limit=null shows all: "
    _say(f"{shown}{counted}")


def _runs_table(ledger: Ledger, runs: Sequence[Run], metrics: Sequence[str]) -> Table:
    axes = _axes(runs)
    columns = [
        Column("run", numeric=False),
        Column("id", numeric=False, rank=3),
        Column("state", numeric=False),
        *(Column(axis, numeric=False, rank=max(0, n - 2) * 10) for n, axis in enumerate(axes)),
        Column("seed", rank=1),
        *(Column(Metric.named(name).short, rank=2 * n) for n, name in enumerate(metrics)),
        Column("step", rank=4),
        Column("started", numeric=False, rank=5),
    ]
    clean = cache(cleaner())
    rows = [
        (
            Cell(clean(_place(ledger, run))),
            Cell(clean(run.id), faint=True),
            Cell(clean(run.state)),
            *(Cell(_short(clean(value_of(run, axis)))) for axis in axes),
            Cell(MISSING if run.seed is None else str(run.seed)),
            *(Cell(_metric(run, name)) for name in metrics),
            Cell(_step(run), faint=True),
            Cell(_moment(run.status.get("started")), faint=True),
        )
        for run in runs
    ]
    return Table(f"runs of {ledger.root}", tuple(columns), tuple(rows))


def _axes(runs: Sequence[Run]) -> list[str]:
    """What tells the runs apart, besides the seed."""
    configured = [run for run in runs if run.config]
    found = find_axes(configured) if configured else ()
    return [a for a in found if len({value_of(run, a) for run in runs}) > 1][:_AXES_SHOWN]


def _place(ledger: Ledger, run: Run) -> str:
    inside = run.folder.relative_to(ledger.root)
    return run.folder.name if str(inside) == "." else str(inside)


def _metric(run: Run, name: str) -> str:
    if name not in run.summary:
        return MISSING
    value = run.summary[name]
    if value is not None and name.startswith(("perf/", "model/")):
        return compact(value)
    return Metric.named(name).text(value)


def _step(run: Run) -> str:
    step, steps = run.status.get("step"), run.status.get("steps")
    if step is None:
        return MISSING
    return str(step) if step == steps or not steps else f"{step} / {steps}"


def _moment(recorded: Any) -> str:
    try:
        return datetime.fromisoformat(str(recorded)).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return MISSING


def print_run(run: Run) -> None:
    """One run: configuration, data, results, evaluations, environment, command, checkpoints."""
    started, seconds = _moment(run.status.get("started")), run.seconds()
    took = "" if seconds is None else f", {seconds:,.0f} s"
    _say(f"{run.id}  {run.state}, step {_step(run)}, started {started}{took}", "bold")
    _say(f"folder: {run.folder}")
    title, values = _not_default(run)
    _pairs(title, values)
    _pairs("data", _data(run))
    results = {k: v for k, v in run.summary.items() if not k.startswith("eval/")}
    _pairs("results", {name: _number(value) for name, value in results.items()})
    _evaluations(run)
    _pairs("environment", _environment(run))
    if command := run.environment.get("command"):
        line = shlex.join(map(str, command)) if isinstance(command, list) else str(command)
        _say("command", "bold")
        _say(f"  {line}")
    _checkpoints(run)
    if run.status.get("error"):
        _say("last error", "bold")
        _say(f"  {run.status['error']}", "red")
        if run.status.get("error_file"):
            _say(f"  traceback: {run.folder / str(run.status['error_file'])}")
    for note in run.notes:
        _say(f"note: {note}", "yellow")


def _not_default(run: Run) -> tuple[str, dict[str, str]]:
    """The options, and the fields that are not what the options say."""
    from lm_research.config.compose import compose

    chosen = dict(run.choices)
    try:
        usual = compose([]).config
        theirs = compose([f"{group}={option}" for group, option in chosen.items()]).config
    except ConfigError:
        fields = {key: _text(value) for key, value in flatten(identity(run.config)).items()}
        return "configuration (its options are not known here: every field)", {**chosen, **fields}
    usual_choices = usual.get("choices") or {}
    options = {k: v for k, v in chosen.items() if usual_choices.get(k) != v}
    changed = differing([flatten(identity(theirs)), flatten(identity(run.config))])
    fields = {k: _text(now) + f"  (default {_text(was)})" for k, (was, now) in changed.items()}
    return "configuration, where it is not the default", {**options, **fields}


def _data(run: Run) -> dict[str, str]:
    names = ("source", "language", "category", "licence", "citation", "fingerprint")
    found = {name: _text(run.data[name]) for name in names if run.data.get(name)}
    for split, sizes in (run.data.get("splits") or {}).items():
        if isinstance(sizes, Mapping):
            parts = (f"{sizes[k]:,} {k}" for k in ("documents", "bytes", "tokens") if k in sizes)
            found[split] = ", ".join(parts)
    return found


def _evaluations(run: Run) -> None:
    from lm_research.tracking.ledger.recording import evaluations

    rows = list(evaluations(run))
    if not rows:
        return
    scores = [json.loads(row["scores"]) for row in rows]
    names = [
        n for n in ("bits_per_byte", "perplexity_token", "accuracy") if any(n in s for s in scores)
    ]
    columns = [Column(name, numeric=False) for name in ("evaluated on", "split", "checkpoint")]
    columns += [Column(Metric.named(name).short, rank=n) for n, name in enumerate(names)]
    columns.append(Column("text", numeric=False, rank=9))
    cells = tuple(
        (
            *(Cell(safe(row[key])) for key in ("source", "split", "checkpoint")),
            *(Cell(Metric.named(n).text(found[n]) if n in found else MISSING) for n in names),
            Cell((row["text_sha256"] or MISSING)[:12], faint=True),
        )
        for row, found in zip(rows, scores, strict=True)
    )
    _print(Table("evaluations", tuple(columns), cells))


def _environment(run: Run) -> dict[str, str]:
    record = run.environment
    names = ("host", "platform", "python", "cpu", "gpus", "versions", "git")
    return {name: _brief(record[name]) for name in names if record.get(name)}


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items() if v not in (None, "", [], 0))
    return _text(value)


def _checkpoints(run: Run) -> None:
    store = CheckpointStore(run.folder / "checkpoints")
    try:
        entries = store.entries()
    except (RunFolderError, OSError, ValueError) as error:
        _say(f"checkpoints: {error}", "yellow")
        return
    _say("checkpoints", "bold")
    for entry in entries:
        score = "" if entry.score is None else f", score {entry.score:.4f}"
        _say(f"  {run.folder / 'checkpoints' / entry.file}  ({entry.bytes:,} bytes{score})")
    if not entries:
        _say("  none")


def print_comparison(runs: Sequence[Run]) -> None:
    """What differs, one table a section; sections that do not differ are one line."""
    equal = []
    names = _told_apart(runs)
    for section, found in compare(runs).items():
        if not found:
            equal.append(section)
            continue
        columns = (Column(section, numeric=False), *(Column(n, numeric=False) for n in names))
        show = _number if section == "results" else _text
        rows = tuple(
            (Cell(safe(name)), *(Cell(_short(show(value)), faint=value == ABSENT) for value in row))
            for name, row in found.items()
        )
        _print(Table(f"{section}: {len(found)} differ", columns, rows))
    if equal:
        _say(f"equal in {' and '.join(equal)}")


def _told_apart(runs: Sequence[Run]) -> list[str]:
    """A short name for each run: its folder's, with the id where that is not enough."""
    names = [safe(run.folder.name) for run in runs]
    return [n if names.count(n) == 1 else f"{n} ({r.id})" for n, r in zip(names, runs, strict=True)]


def _text(value: Any) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return safe(shown)


def _number(value: Any) -> str:
    if value is None:
        return UNDEFINED
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.6g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else _text(value)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _pairs(title: str, values: Mapping[str, str]) -> None:
    if values:
        _say(title, "bold")
        width = max(map(len, values))
        for name, value in values.items():
            _say(f"  {name:{width}}  {value}")


def _say(line: str, style: str = "") -> None:
    console = Console()
    console.print(Text(Speller(console.encoding)(safe(line)), style=style), soft_wrap=True)


def _print(table: Table) -> None:
    console = Console()
    width = console.width if console.is_terminal else max(console.width, 140)
    if len(table.rows) > MOST_DRAWN:
        _print_lines(fit(table, width)[0])
    else:
        Console(width=width).print(to_rich(table, width, console.encoding))


def _print_lines(table: Table) -> None:
    """A table of thousands of rows, line by line: drawing it would take half a minute."""
    lines = [[column.head for column in table.columns]]
    lines += [[cell.text for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    write = sys.stdout.write
    for line in lines:
        cells = [
            f"{text:>{width}}" if column.numeric else f"{text:{width}}"
            for text, width, column in zip(line, widths, table.columns, strict=True)
        ]
        write("  ".join(cells).rstrip() + "\n")
