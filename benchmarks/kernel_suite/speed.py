"""How fast: a point at a time, all contenders side by side, each through the gate before.

With device="cpu" a dry run: it exercises all of this on tiny points and says nothing of a GPU. With
device="cuda" it has never run.
"""

import datetime
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from rich.console import Console

from kernel_suite import report
from kernel_suite.check_gpu import needs_gpu
from kernel_suite.contenders import Builder, Contender, UnsupportedError
from kernel_suite.floor import Peaks, floor_ms, measured_peaks, pin_tf32
from kernel_suite.paths import described, kernels_of, path_of
from kernel_suite.peers import builders
from kernel_suite.points import DTYPES, Point, dry_grid, full_grid, quick_grid
from kernel_suite.problem import LIMITS, Problem, worst
from kernel_suite.ratios import OURS
from kernel_suite.store import Row, append, missing, read
from kernel_suite.timing import clock_of, interleaved
from kernel_suite.warm import compile_point, warm
from lm_research.kernels.measured import slug

PATIENCE = 10
"""A peer further than so many limits from float64 is wrong, not inexact."""


class Session:
    """What all points share: device, contenders, clock, peaks.

    Args:
        warmed: kernels are compiled already, so a first call says nothing of how long that takes.
    """

    def __init__(
        self,
        device: str,
        contenders: dict[str, Builder],
        dtypes: tuple[str, ...],
        warmed: bool = False,
    ):
        self.device, self.contenders, self.warmed = device, contenders, warmed
        self.clock = clock_of(device)
        self.peaks: Peaks = measured_peaks(device, dtypes)

    def rows(self, point: Point) -> list[Row]:
        """Of all contenders, timed or not."""
        pin_tf32(point.dtype == "tf32")
        problem = Problem(point, self.device)
        expected = problem.expected()
        rows, ready = {}, {}
        for name, build in self.contenders.items():
            rows[name], contender = admitted(name, build, problem, expected)
            if self.warmed and name in OURS:
                rows[name].first_call_s = math.nan
            if contender:
                ready[name] = getattr(contender, point.mode)
        for name, timing in interleaved(ready, self.clock).items():
            row, floor = rows[name], floor_ms(point, self.peaks)
            row.ms, row.low_ms, row.high_ms = timing.ms, timing.low, timing.high
            row.samples, row.floor_ms, row.share = timing.samples, floor, floor / timing.ms
        return list(rows.values())


def admitted(
    name: str, build: Builder, problem: Problem, expected: dict[str, torch.Tensor]
) -> tuple[Row, Contender | None]:
    """The contender, if it serves the point and agrees with float64; its row in any case."""
    row = Row(name, "ok", date=datetime.date.today().isoformat())
    try:
        contender = build(problem)
        contender.take(problem)
        _first_call(row, contender, problem)
        _gate(row, contender, problem, expected)
        if row.measured:
            _observe(row, contender, problem)
    except UnsupportedError as error:
        row.status, row.note = "unsupported", str(error)
    except Exception as error:  # a peer may fail in any way; the others are timed all the same
        row.status, row.note = "failed", f"{type(error).__name__}: {str(error)[:200]}"
        row.note = " ".join(row.note.split())
        _still_alive(problem.device)
    else:
        row.note = contender.note
    return row, contender if row.measured else None


def _still_alive(device: str) -> None:
    """An illegal access ends all that a process can do on a GPU: let it be seen."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


def _first_call(row: Row, contender: Contender, problem: Problem) -> None:
    """Seconds with all that is compiled or loaded at the first call of this shape."""
    started = time.perf_counter()
    getattr(contender, problem.point.mode)(0)
    if problem.device == "cuda":
        torch.cuda.synchronize()
    row.first_call_s = time.perf_counter() - started


def _gate(
    row: Row, contender: Contender, problem: Problem, expected: dict[str, torch.Tensor]
) -> None:
    """The limit is of one scan: errors of two layers add up."""
    row.limit = LIMITS[problem.point.dtype] * problem.point.layers
    row.error = worst(contender.found(problem), expected)
    if not row.error <= row.limit:
        patient = row.contender not in OURS and row.error <= PATIENCE * row.limit
        row.status = "inexact" if patient else "wrong"


def _observe(row: Row, contender: Contender, problem: Problem) -> None:
    """Peak memory of a call beyond what was there, and the kernels that it launched."""
    point, call = problem.point, getattr(contender, problem.point.mode)
    if problem.device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call(1)
        torch.cuda.synchronize()
        row.peak_mib = (torch.cuda.max_memory_allocated() - before) / 2**20
    kernels = kernels_of(lambda: call(2), problem.device)
    row.path = path_of(kernels, point.steps, point.layers)
    row.launches, row.kernels = kernels.total(), described(kernels)


# --- the run


def description(device: str, peaks: Peaks) -> dict:
    """Device, versions, date, and the peaks that the floor was taken from."""
    cuda = device == "cuda"
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("triton", "flashrnn", "torchrl", "haste-pytorch"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if cuda:
        versions |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    more = {"exchange_us": round(1e6 * peaks.exchange, 3)} if peaks.exchange else {}
    return {
        "device": torch.cuda.get_device_name() if cuda else "CPU",
        "dry_run": not cuda,
        "date": datetime.date.today().isoformat(),
        "versions": versions,
        "peak_tflops": {name: round(value / 1e12, 3) for name, value in peaks.flops.items()},
        "bandwidth_gbs": round(peaks.bandwidth / 1e9, 1),
        **more,
    }


def chosen(only: list[str] | None) -> dict[str, Builder]:
    """Installed contenders, all or those named; says which are not installed.

    Raises:
        ValueError: a name is not among them.
    """
    found, absent = builders()
    for line in absent:
        print(line)
    unknown = set(only or ()) - set(found)
    if unknown:
        raise ValueError(f"--contenders {sorted(unknown)}: here there are {sorted(found)}")
    return {name: build for name, build in found.items() if not only or name in only}


def measure(
    session: Session, points: list[Point], path: Path, seconds: float | None,
    now: Callable[[], float] = time.monotonic, started: float | None = None,
) -> int:  # fmt: skip
    """Time points until time is up; each is written as it is done. Returns how many."""
    started = now() if started is None else started
    longest = 0.0
    for done, point in enumerate(points):
        before = now()
        if seconds is not None and before - started + longest > seconds:
            print(f"stopped after {done} of {len(points)} points: time is up; go on with --resume")
            return done
        rows = session.rows(point)
        append(path, point, rows)
        print(point.label, "|", "  ".join(map(brief, rows)), flush=True)
        longest = max(longest, now() - before)
    return len(points)


def brief(row: Row) -> str:
    return f"{row.contender} {row.ms:.3f} ms" if row.measured else f"{row.contender} {row.status}"


def main(
    device: str, quick: bool, resume: bool, seconds: float | None, only: list[str] | None,
    folder: Path, warmed: bool = False,
) -> int:  # fmt: skip
    """Returns the exit status."""
    started = time.monotonic()
    obstacle = needs_gpu() if device == "cuda" else None
    if obstacle:
        print(obstacle, file=sys.stderr)
        return 1
    if device == "cpu":
        torch.set_num_threads(1)
        print("DRY RUN on a CPU: exercises the code; its figures say nothing of the kernels")
    points = dry_grid() if device == "cpu" else quick_grid() if quick else full_grid()
    dtypes = ("fp32",) if device == "cpu" else DTYPES
    session = Session(device, chosen(only), dtypes, warmed)
    about = description(device, session.peaks)
    path = folder / f"kernels-{slug(about['device'])}.csv"
    if path.exists() and not resume:
        print(f"{path} exists: --resume goes on with it; move it away to begin anew")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    left = missing(points, read(path), list(session.contenders))
    print(f"{len(points) - len(left)} of {len(points)} points are done")
    if warmed:
        warm(Console(), compile_point, left)
    measure(session, left, path, seconds, started=started)
    report.write(path)
    return 0
