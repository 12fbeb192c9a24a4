"""Kernels compiled by all processors at once, before one process runs them after another.

Compiling takes seconds a kernel and running them milliseconds, so a check of some hundred cases
would spend its time on one core. Triton keeps what it compiled on disk, for any process. Has never
run on a GPU.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from rich.console import Console
from rich.progress import track
from triton.runtime import JITFunction

from kernel_suite.cases import Case, inputs_of, results
from kernel_suite.contenders import UnsupportedError, fused
from kernel_suite.points import Point
from kernel_suite.problem import Problem
from kernel_suite.ratios import FUSED_NAMES

MOST = 16
"""Processes; each has a context on the GPU, of some hundred MB."""


@contextmanager
def compile_only() -> Iterator[None]:
    """Within it a launch compiles its kernel and runs nothing; outputs are what memory held."""
    launch = JITFunction.run

    def compiled(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        return launch(self, *args, grid=grid, warmup=True, **kwargs)

    with mock.patch.object(JITFunction, "run", compiled):
        yield


def compile_case(case: Case) -> None:
    """The kernels of a case, forward and backward; nothing where no kernel serves it."""
    tensors, options = inputs_of(case, "cuda")
    with compile_only():
        try:
            results(case, tensors, options, case.backend)
        except RuntimeError:  # told when the case itself is tried
            return


def compile_point(point: Point) -> None:
    """The fused kernels of a point, of every form that serves it."""
    problem = Problem(point, "cuda")
    with compile_only():
        for form in FUSED_NAMES:
            try:
                contender = fused(problem, form)
                contender.take(problem)
                getattr(contender, point.mode)(0)
            except (UnsupportedError, RuntimeError):  # told when it is timed
                continue


def warm(out: Console, compiled: Callable[[Any], None], wanted: Sequence[Any]) -> None:
    """Compile what cases or points need, side by side."""
    processes = min(os.cpu_count() or 1, MOST)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        done = pool.imap_unordered(compiled, wanted)
        for _ in track(done, "compiling", total=len(wanted), console=out, transient=True):
            pass
