"""From the CSV to a Markdown table, a plot and what is printed."""

import json
import math
from collections import Counter
from pathlib import Path

from rich import box
from rich.table import Table as RichTable

from kernel_suite import plot
from kernel_suite.points import MODES, Point, head_grid
from kernel_suite.ratios import (
    BASELINE,
    OURS,
    by_cell,
    geometric_mean,
    goals,
    of_layers,
    speed_ups,
)
from kernel_suite.shown import Log, clipped
from kernel_suite.store import SAME, Row, Table, read

LEGEND = """Times are medians of interleaved blocks, on a GPU with a cold L2, which hides what the
host needs; `back to back` is without anything between the calls, `host` the time to enqueue one.
`ours` is backend=auto, and counts as 1 where that is torch.nn itself (`same as nn`, not timed
twice); `fused` is the fused kernel whether or not dispatch takes it, `nn` torch.nn. `forward` is
under no_grad; a first call, the longest of all points, has compiling and loading in it."""
MOST_TROUBLE = 2500
"""Characters of trouble on the screen: all of it is in the Markdown."""
DRY = "DRY RUN on a CPU: these figures say nothing of the kernels."


def write(path: Path, out: Log | None = None) -> None:
    """Markdown and plot beside the CSV, and the summary on the screen."""
    table, about, out = read(path), description(path), out or Log()
    path.with_suffix(".md").write_text(markdown(table, about), encoding="utf-8")
    made = [path.with_suffix(".md"), *plot.write(table, about, path)]
    show(table, about, out)
    if not plot.possible():
        out.say("no plot: plotly is not installed")
    out.say(f"wrote {', '.join(str(p) for p in (path, *made))}")


def description(path: Path) -> dict:
    """Device, versions, date: the JSON beside the CSV."""
    beside = path.with_suffix(".json")
    found = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
    return {"device": path.stem, "date": "unknown", "versions": {}, "dry_run": False, **found}


def show(table: Table, about: dict, out: Log) -> None:
    """Short enough to come back from anywhere (``shown.MOST_CHARACTERS``)."""
    if about["dry_run"]:
        out.print(DRY, style="bold")
    out.say(f"{about['device']}, {len(table)} points. {_peaks(about)}")
    for row in clipped([": ".join(row[:3] + row[4:]) for row in trouble_rows(table)], MOST_TROUBLE):
        out.say(row, style="red")
    out.print(_table("Times faster than torch.nn", MEANS, mean_rows(table)))
    out.print(_table("Goals (on an H100)", GOALS, goal_rows(table, about)))


def _table(title: str, header: tuple[str, ...], rows: list[list[str]]) -> RichTable:
    made = RichTable(*header, title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows:
        made.add_row(*row)
    return made


# --- rows, as text

MEANS = (
    "contender", "cell", "mode", "geometric mean", "least", "points", "back to back", "host",
)  # fmt: skip
COSTS = ("contender", "points", "share of the floor", "peak memory / nn", "first call, s")
GOALS = ("goal (contender: ours)", "at least", "found", "points", "")


def mean_rows(table: Table) -> list[list[str]]:
    return [
        [
            *(mean.name, mean.cell, mean.mode, f"{mean.cold:.2f}", f"{mean.least:.2f}"),
            *(str(mean.points), _ratio(mean.wall), _ratio(mean.host)),
        ]
        for mean in by_cell(table)
    ]


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def goal_rows(table: Table, about: dict) -> list[list[str]]:
    """A dry run meets and misses nothing."""
    rows = []
    for goal in goals(table):
        found = "" if goal.found is None else f"{goal.found:.2f}"
        verdict = "dry run" if about["dry_run"] else goal.verdict
        counted = f"{goal.points} of {goal.of}"
        rows.append([goal.name, f"{goal.wanted:.2f}", found, counted, verdict])
    return rows


def path_rows(table: Table) -> list[list[str]]:
    """Which path cuDNN took, by cell, type, mode and hidden size."""
    seen: dict[tuple, Counter] = {}
    for point, rows in table.items():
        base = rows.get(BASELINE)
        if base and base.path and of_layers(point):
            key = (point.cell, point.dtype, point.mode, point.hidden)
            seen.setdefault(key, Counter())[base.path] += 1
    return [
        [*map(str, key), ", ".join(f"{path} ({n})" for path, n in paths.most_common())]
        for key, paths in sorted(seen.items())
    ]


def batch_rows(table: Table, name: str, mode: str) -> tuple[list[str], list[list[str]]]:
    """Speed-up by cell and H (rows) and B (columns): geometric means over T, types, layers."""
    found = speed_ups(table, name, lambda p: of_layers(p) and p.mode == mode)
    batches = sorted({p.batch for p in found})
    rows = []
    for cell, hidden in sorted({(p.cell, p.hidden) for p in found}):
        here = {p: r for p, r in found.items() if (p.cell, p.hidden) == (cell, hidden)}
        means = [geometric_mean(r for p, r in here.items() if p.batch == b) for b in batches]
        rows.append([cell, str(hidden), *map(_ratio, means)])
    return ["cell", "H", *(f"B={b}" for b in batches)], rows


def head_rows(table: Table) -> list[list[str]]:
    """Milliseconds on FlashRNN's grid, every contender that was timed."""
    rows, grid = [], set(head_grid())
    for point, found in table.items():
        if of_layers(point) and point not in grid:
            continue
        times = [f"{n} {r.ms:.3f}" for n, r in sorted(found.items()) if r.measured]
        size = f"{point.head_size} x {point.heads}"
        rows.append([size, point.accounting, point.mode, "; ".join(times)])
    return rows


def trouble_rows(table: Table) -> list[list[str]]:
    """What was not timed, or is further from float64 than it should be; not what is unsupported."""
    return [
        [point.label, row.contender, row.status, _error(row), row.note.replace("|", "/")]
        for point, rows in table.items()
        for row in rows.values()
        if row.status not in ("ok", "unsupported", SAME)
    ]


def _error(row: Row) -> str:
    return "" if row.error != row.error else f"{row.error:.1e} (limit {row.limit:.0e})"


def cost_rows(table: Table) -> list[list[str]]:
    """Per contender: share of the floor, peak memory against torch.nn, longest first call."""
    rows = []
    for name in sorted({name for found in table.values() for name in found}):
        timed = {p: f[name] for p, f in table.items() if name in f and f[name].measured}
        if not timed:
            continue
        share = geometric_mean(row.share for row in timed.values())
        memory = geometric_mean(_memory(table, timed))
        seconds = [row.first_call_s for row in timed.values() if not math.isnan(row.first_call_s)]
        first = f"{max(seconds):.2f}" if seconds else ""
        rows.append([name, str(len(timed)), f"{share:.1%}", _ratio(memory), first])
    return rows


def _memory(table: Table, timed: dict[Point, Row]) -> list[float]:
    """Peak memory over torch.nn's, where both are known."""
    bases = {p: table[p].get(BASELINE, Row("", "")).peak_mib for p in timed}
    return [row.peak_mib / bases[p] for p, row in timed.items() if row.peak_mib > 0 < bases[p]]


# --- Markdown


def markdown(table: Table, about: dict) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in about["versions"].items())
    parts = [
        f"# Fused recurrent kernels on {about['device']}, {about['date']}",
        *([f"**{DRY}**"] if about["dry_run"] else []),
        f"{versions}. {len(table)} points. {_peaks(about)}",
        LEGEND,
        _section("Goals", GOALS, goal_rows(table, about)),
        _section("Times faster than torch.nn", MEANS, mean_rows(table)),
    ]
    for name in OURS:
        for mode in MODES:
            title = f"`{name}`, {mode}: times faster than torch.nn by batch size"
            parts.append(_section(title, *batch_rows(table, name, mode)))
    parts += [
        _section("Costs", COSTS, cost_rows(table)),
        _section("FlashRNN's grid, ms", ("D x N", "counted", "mode", "ms"), head_rows(table)),
        _section("torch.nn's path", ("cell", "type", "mode", "H", "points"), path_rows(table)),
        _section("Trouble", ("point", "contender", "status", "error", ""), trouble_rows(table)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _peaks(about: dict) -> str:
    if "peak_tflops" not in about:
        return ""
    flops = ", ".join(f"{name} {value:g}" for name, value in about["peak_tflops"].items())
    between = about.get("exchange_us")
    more = f", {between:g} us from processor to processor" if between else ""
    return f"Measured peaks: {flops} TFLOP/s, {about['bandwidth_gbs']:g} GB/s{more}."


def _section(title: str, header: list[str] | tuple[str, ...], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *rows]
    return f"## {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)
