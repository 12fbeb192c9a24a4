"""Kernels compiled by all processors at once, before one process runs them after another.

Compiling takes seconds a kernel and running them milliseconds, so a check of some hundred cases
would spend its time on one core. Triton keeps what it compiled on disk, for any process. Has never
run on a GPU.
"""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from rich.console import Console
from rich.progress import track
from triton.runtime import JITFunction

from kernel_suite.cases import Case, inputs_of, results

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


def warm(out: Console, cases: Sequence[Case]) -> None:
    """Compile the kernels of all cases, side by side."""
    processes = min(os.cpu_count() or 1, MOST)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        done = pool.imap_unordered(compile_case, cases)
        for _ in track(done, "compiling", total=len(cases), console=out, transient=True):
            pass
