"""How fast: a point at a time, all contenders side by side, each through the gate before.

Points are timed by a process of their own (measuring.py), another looks what they launch; whatever
ends one of them is told as the failure of the contender whose turn it was, and the others are tried
again. With device="cpu" a dry run: it exercises all of this on tiny points and says nothing of a
GPU. With device="cuda" it has never run.
"""

import datetime
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

from kernel_suite import report
from kernel_suite.deadline import Deadline
from kernel_suite.floor import Peaks
from kernel_suite.gpu import needs_gpu
from kernel_suite.measuring import Session, Settings
from kernel_suite.peers import builders
from kernel_suite.points import DTYPES, Point, dry_grid, full_grid, quick_grid
from kernel_suite.ratios import BASELINE
from kernel_suite.shown import Log, minutes
from kernel_suite.store import Row, Table, append, missing, read
from kernel_suite.warm import compile_point, warm
from kernel_suite.workers import LostError, TimeUpError, UnusableError, Worker
from lm_research.kernels.measured import slug

STOPPED = 3
"""Exit status of a run that was stopped before its last point."""
FINISHING = 10.0
"""Seconds kept for the report."""


def chosen(only: list[str] | None, out: Log) -> list[str]:
    """Installed contenders, all or those named; says which are not installed.

    Raises:
        ValueError: a name is not among them.
    """
    found, absent = builders()
    for line in absent:
        out.say(line)
    unknown = set(only or ()) - set(found)
    if unknown:
        raise ValueError(f"--contenders {sorted(unknown)}: here there are {sorted(found)}")
    return [name for name in found if not only or name in only]


def rows_of(worker: Worker, point: Point, names: list[str], peaks: Peaks) -> list[Row]:
    """Of all contenders: who ends the worker has failed, and the others are timed without it.

    Raises:
        TimeUpError: before the point was done.
    """
    failed: dict[str, Row] = {}
    timed: list[Row] = []
    while left := [name for name in names if name not in failed]:
        try:
            timed = worker.ask("timed", point, left, peaks)
            break
        except LostError as lost:  # before anybody's turn it is the point's own fault
            date = datetime.date.today().isoformat()
            blamed = [lost.current] if lost.current in left else left
            failed |= {name: Row(name, "failed", note=lost.reason, date=date) for name in blamed}
    rows = failed | {row.contender: row for row in timed}
    return [rows[name] for name in names]


@dataclass
class Looks:
    """Which kernels calls launch: torch.nn's at every point, since cuDNN chooses anew; ours, which
    we know, once for each cell, type and mode."""

    worker: Worker
    known: set[tuple[str, ...]] = field(default_factory=set)

    def remember(self, table: Table) -> None:
        """What an earlier run has seen."""
        for point, rows in table.items():
            self.known |= {self._kind(point, name) for name, row in rows.items() if row.launches}

    def at(self, point: Point, rows: list[Row]) -> None:
        """Note it in the rows of those timed; a failure costs the figure, not the row."""
        named = {row.contender: row for row in rows if row.measured}
        names = [n for n in named if n == BASELINE or self._kind(point, n) not in self.known]
        self.known |= {self._kind(point, name) for name in names}
        try:
            seen = self.worker.ask("launched", point, names) if names else {}
        except TimeUpError:
            return
        except LostError as lost:
            told = named[lost.current] if lost.current in named else next(iter(named.values()))
            told.note = f"{told.note} (its launches were not seen: {lost.reason})".strip()
            return
        for name, values in seen.items():
            for key, value in values.items():
                setattr(named[name], key, value)

    def _kind(self, point: Point, name: str) -> tuple[str, ...]:
        return name, point.cell, point.dtype, point.mode, str(point.layers)


@dataclass
class Run:
    """Points, one after another, until the deadline; each is written as it is done."""

    out: Log
    path: Path
    deadline: Deadline
    rows: Callable[[Point], list[Row]]
    now: Callable[[], float] = time.monotonic

    def measure(self, points: list[Point]) -> int:
        """How many were done."""
        task = self.out.bar.add_task("timing", total=len(points))
        took: list[float] = []
        for done, point in enumerate(points):
            before, usual = self.now(), median(took) if took else 0.0
            if self.deadline.over or self.deadline.left() < usual:
                return self._stopped(done, len(points), "time is up")
            try:
                rows = self.rows(point)
            except TimeUpError:
                return self._stopped(done, len(points), f"time is up in the midst of {point.label}")
            append(self.path, point, rows)
            took.append(self.now() - before)
            left = minutes(fmean(took) * (len(points) - done - 1))
            self.out.say(f"{done + 1}/{len(points)}, {left} left: {told(point, rows)}")
            self.out.bar.advance(task)
        return len(points)

    def _stopped(self, done: int, of: int, why: str) -> int:
        self.out.say(f"stopped after {done} of {of} points: {why}; go on with --resume")
        return done


def told(point: Point, rows: Iterable[Row]) -> str:
    """A line of all that have something for the point."""
    served = [row for row in rows if row.status != "unsupported"]
    return " | ".join([point.label, "  ".join(map(brief, served))])


def brief(row: Row) -> str:
    return f"{row.contender} {row.ms:.3f} ms" if row.measured else f"{row.contender} {row.status}"


def prepared(worker: Worker, folder: Path, resume: bool) -> tuple[Path, Peaks] | None:
    """The CSV, its device and peaks, told beside it; None if there is one that is not resumed."""
    about, peaks = worker.ask("about")
    path = folder / f"kernels-{slug(about['device'])}.csv"
    if path.exists() and not resume:
        print(f"{path} exists: --resume goes on with it; move it away to begin anew")
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return path, peaks


def main(
    device: str, quick: bool, resume: bool, seconds: float | None, only: list[str] | None,
    folder: Path, warmed: bool = False, log: bool = False, **more: Any,
) -> int:  # fmt: skip
    """Returns the exit status.

    Args:
        log: whether ``speed.log`` is written, too.
        more: of ``Settings``.
    """
    deadline = Deadline(None if seconds is None else seconds - FINISHING)
    obstacle = needs_gpu() if device == "cuda" else None
    if obstacle:
        print(obstacle, file=sys.stderr)
        return 1
    out = Log(path=folder / "speed.log" if log else None)
    dtypes = ("fp32",) if device == "cpu" else DTYPES
    settings = Settings(device, dtypes, warmed, **more)
    workers = [Worker(Session, settings, deadline) for _ in range(2)]
    if device == "cpu":
        out.say("DRY RUN on a CPU: exercises the code; its figures say nothing of the kernels")
    points = dry_grid() if device == "cpu" else quick_grid() if quick else full_grid()
    try:
        with out.bar:
            return measured(out, deadline, workers, points, chosen(only, out), folder, resume)
    finally:
        for worker in workers:
            worker.stop()


def measured(
    out: Log, deadline: Deadline, workers: list[Worker], points: list[Point], names: list[str],
    folder: Path, resume: bool,
) -> int:  # fmt: skip
    """The run itself, and its report; returns the exit status."""
    timing, looking = workers
    try:
        found = prepared(timing, folder, resume)
    except (LostError, UnusableError, TimeUpError) as error:
        out.say(f"the device's peaks were not measured: {str(error) or 'time is up'}", style="red")
        return 1
    if found is None:
        return 1
    path, peaks = found
    table, looks = read(path), Looks(looking)
    looks.remember(table)
    left = missing(points, table, names)
    out.say(f"{len(points) - len(left)} of {len(points)} points are done")
    if timing.settings.warmed:
        warm(out, compile_point, left, deadline.share(0.5))

    def rows(point: Point) -> list[Row]:
        made = rows_of(timing, point, names, peaks)
        looks.at(point, made)
        return made

    try:
        done = Run(out, path, deadline, rows).measure(left)
        status = 0 if done == len(left) else STOPPED
    except UnusableError as error:
        out.say(f"stopped: no process can begin on this device: {error}", style="red")
        status = 1
    report.write(path, out)
    return status
