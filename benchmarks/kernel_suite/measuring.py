"""A point timed: every contender built, held against float64, then all side by side.

This runs in a process of its own (workers.py), which says whose turn it is: a kernel that ends the
process, hangs or spoils the GPU takes nobody with it.
"""

import datetime
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any

import torch

from kernel_suite.contenders import Builder, Contender, UnsupportedError
from kernel_suite.floor import Peaks, floor_ms, measured_peaks, pin_tf32
from kernel_suite.gpu import first_line, settle, still_alive
from kernel_suite.paths import described, kernels_of, path_of
from kernel_suite.peers import builders
from kernel_suite.points import Point
from kernel_suite.problem import LIMITS, Problem, worst
from kernel_suite.ratios import BASELINE, OURS
from kernel_suite.store import SAME, Row
from kernel_suite.timing import BLOCK_MS, BLOCKS, Timing, clock_of, interleaved
from kernel_suite.workers import Tell

PATIENCE = 10
"""A peer further than so many limits from float64 is wrong, not inexact."""


def installed() -> dict[str, Builder]:
    """All contenders that there are here."""
    return builders()[0]


@dataclass(frozen=True)
class Settings:
    """What all points share.

    Attributes:
        device: cuda, or cpu for a dry run.
        dtypes: of which peaks are measured.
        warmed: kernels are compiled already, so a first call says nothing of how long that takes.
        found: gives the contenders; at the top of a module.
        blocks: of each contender, and their milliseconds.
    """

    device: str
    dtypes: tuple[str, ...] = ("fp32",)
    warmed: bool = False
    found: Callable[[], dict[str, Builder]] = installed
    blocks: int = BLOCKS
    block_ms: float = BLOCK_MS


class Session:
    """Contenders, clock, device: what a worker is asked."""

    def __init__(self, settings: Settings, tell: Tell) -> None:
        self.settings, self.device, self.tell = settings, settings.device, tell
        if self.device == "cpu":
            torch.set_num_threads(1)
        self.contenders, self.clock = settings.found(), clock_of(self.device)

    def about(self) -> tuple[dict, Peaks]:
        """The device and the versions, and its peaks."""
        peaks = measured_peaks(self.device, self.settings.dtypes)
        return description(self.device, peaks), peaks

    def timed(self, point: Point, names: list[str], peaks: Peaks) -> list[Row]:
        """Rows of those contenders, timed or not.

        Raises:
            DeviceLostError: whose turn it is has ended all that can be run here.
        """
        round_ = Round(self.device, self.tell, point)
        for name in names:
            same = name == "ours" and BASELINE in round_.ready
            round_.admit(name, self.contenders[name], same)
        settings = self.settings
        round_.time(self.clock, settings.blocks, settings.block_ms, peaks)
        if settings.warmed:
            for name in set(OURS) & set(round_.rows):
                round_.rows[name].first_call_s = math.nan
        return list(round_.rows.values())

    def launched(self, point: Point, names: list[str]) -> dict[str, dict[str, Any]]:
        """What the profiler sees of a call: ``path``, ``launches`` and ``kernels`` by contender.

        In another process than what is timed: a profiler that was loaded once slows launches.
        """
        pin_tf32(point.dtype == "tf32")
        problem, seen = Problem(point, self.device), {}
        for name in names:
            self.tell(name)
            contender = self.contenders[name](problem)
            contender.take(problem)
            call = getattr(contender, point.mode)
            call(0)
            kernels = kernels_of(partial(call, 1), self.device)
            path = path_of(kernels, point.steps, point.layers)
            told = {"launches": kernels.total(), "kernels": described(kernels)}
            seen[name] = {"path": path, **told}
        return seen


class Round:
    """One point: rows by contender, and who is ready to be timed."""

    def __init__(self, device: str, tell: Tell, point: Point) -> None:
        pin_tf32(point.dtype == "tf32")
        self.device, self.tell, self.point = device, tell, point
        self.problem = Problem(point, device)
        self.expected = self.problem.expected()
        self.rows: dict[str, Row] = {}
        self.ready: dict[str, Contender] = {}

    def attempt(self, name: str, step: Callable[[], object]) -> bool:
        """A step of a contender's; False if it failed, which its row then tells.

        Raises:
            DeviceLostError: the device cannot be used any more.
        """
        self.tell(name)
        row = self.rows[name]
        try:
            step()
            settle(self.device)
        except UnsupportedError as error:
            row.status, row.note = "unsupported", str(error)
        except Exception as error:  # a peer may fail in any way; the others are timed all the same
            row.status, row.note = "failed", " ".join(first_line(error).split())
            still_alive(self.device, row.note)
        return row.measured

    def admit(self, name: str, build: Builder, may_be_same: bool = False) -> None:
        """The contender, if it serves the point and agrees with float64; its row in any case.

        Args:
            may_be_same: if dispatch hands it to torch.nn, it is not tried: torch.nn is.
        """
        self.rows[name] = Row(name, "ok", date=datetime.date.today().isoformat())
        made: list[Contender] = []
        if not self.attempt(name, lambda: made.append(build(self.problem))):
            return
        [contender], row = made, self.rows[name]
        row.note = contender.note
        if may_be_same and contender.note.startswith("torch:"):
            row.status = SAME
        elif self.attempt(name, lambda: self._try(row, contender)):
            self.ready[name] = contender

    def _try(self, row: Row, contender: Contender) -> None:
        contender.take(self.problem)
        started = time.perf_counter()
        getattr(contender, self.point.mode)(0)
        settle(self.device)
        row.first_call_s = time.perf_counter() - started
        gate(row, contender, self.problem, self.expected)

    def time(self, clock: Any, blocks: int, block_ms: float, peaks: Peaks) -> None:
        """All that are ready, side by side; then the memory of a call of each."""
        calls = {name: getattr(each, self.point.mode) for name, each in self.ready.items()}
        found = interleaved(calls, clock, blocks, block_ms, self.attempt)
        floor = floor_ms(self.point, peaks)
        for name, timing in found.items():
            note(self.rows[name], timing, floor)
            self.attempt(name, partial(self._remember, name, calls[name]))

    def _remember(self, name: str, call: Callable[[int], object]) -> None:
        """Peak memory of a call beyond what was there."""
        if self.device != "cuda":
            return
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call(1)
        torch.cuda.synchronize()
        self.rows[name].peak_mib = (torch.cuda.max_memory_allocated() - before) / 2**20


def gate(
    row: Row, contender: Contender, problem: Problem, expected: dict[str, torch.Tensor]
) -> None:
    """The limit is of one scan: errors of two layers add up."""
    row.limit = LIMITS[problem.point.dtype] * problem.point.layers
    row.error = worst(contender.found(problem), expected)
    if not row.error <= row.limit:
        patient = row.contender not in OURS and row.error <= PATIENCE * row.limit
        row.status = "inexact" if patient else "wrong"


def note(row: Row, timing: Timing, floor: float) -> None:
    """A contender's figures in its row."""
    row.ms, row.low_ms, row.high_ms, row.samples = (
        timing.ms,
        timing.low,
        timing.high,
        timing.samples,
    )
    row.host_us, row.wall_ms = timing.host_us, timing.wall_ms
    row.floor_ms, row.share = floor, floor / timing.ms


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
        versions |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    more = {"exchange_us": round(1e6 * peaks.exchange, 3)} if peaks.exchange else {}
    return {
        "device": torch.cuda.get_device_name() if cuda else "CPU",
        "dry_run": not cuda,
        "date": datetime.date.today().isoformat(),
        "cores": os.cpu_count(),
        "versions": versions,
        "peak_tflops": {name: round(value / 1e12, 3) for name, value in peaks.flops.items()},
        "bandwidth_gbs": round(peaks.bandwidth / 1e9, 1),
        **more,
    }
