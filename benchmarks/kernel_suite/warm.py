"""Kernels compiled by all processors at once, before one process runs them after another.

Compiling takes seconds a kernel and running them milliseconds, so a check of some hundred cases
would spend its time on one core. Triton keeps what it compiled on disk, for any process, and the C
code of its launches, too. What is not compiled in time, or fails, is compiled where it is run. Has
never run on a GPU.
"""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from triton.runtime import JITFunction

from kernel_suite.cases import Case, inputs_of, results
from kernel_suite.contenders import UnsupportedError, fused
from kernel_suite.deadline import FOREVER, Deadline
from kernel_suite.gpu import first_line
from kernel_suite.points import Point
from kernel_suite.problem import Problem
from kernel_suite.ratios import FUSED_NAMES
from kernel_suite.shown import Log
from kernel_suite.trials import NOT_SERVED

MOST = 16
"""Processes; each has a context on the GPU, of some hundred MB."""
LOST = "a process that compiled died; what is left is compiled where it is run"
UP = "time for compiling is up; what is left is compiled where it is run"


@contextmanager
def compile_only(launchers: bool = False) -> Iterator[None]:
    """Within it a launch compiles its kernel and runs nothing; outputs are what memory held.

    Args:
        launchers: load it and build the C code of its launch, too, which takes a real driver.
    """
    launch = JITFunction.run

    def compiled(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        made = launch(self, *args, grid=grid, warmup=True, **kwargs)
        if launchers and made is not None:
            made._init_handles()
        return made

    with mock.patch.object(JITFunction, "run", compiled):
        yield


def shortened(steps: int) -> int:
    """So few that are a multiple of 16 if ``steps`` is: no kernel is compiled for more of them."""
    return steps if steps <= 32 else 16 + steps % 16


def short(wanted: Case | Point) -> Any:
    """The same kernels over few steps."""
    return replace(wanted, steps=shortened(wanted.steps))


def compile_case(case: Case) -> None:
    """The kernels of a case, forward and backward."""
    tensors, options = inputs_of(case, "cuda")
    with compile_only(launchers=True):
        results(case, tensors, options, case.backend)


def compile_point(point: Point) -> None:
    """The fused kernels of a point, of every form that serves it; raises what the last raised."""
    problem, raised = Problem(point, "cuda"), None
    with compile_only(launchers=True):
        for form in FUSED_NAMES:
            try:
                contender = fused(problem, form)
                contender.take(problem)
                getattr(contender, point.mode)(0)
            except UnsupportedError:
                continue
            except Exception as error:  # told when it is timed; the other forms are compiled
                raised = error
    if raised:
        raise raised


def attempted(compiled: Callable[[Any], None], wanted: Any) -> str:
    """What it raised, as text (not every exception can be sent from process to process); or ""."""
    try:
        compiled(wanted)
    except Exception as error:
        return "" if NOT_SERVED in str(error) else first_line(error)
    return ""


def warm(
    out: Log,
    compiled: Callable[[Any], None],
    wanted: Sequence[Any],
    deadline: Deadline = FOREVER,
    processes: int = MOST,
) -> Counter[str]:
    """Compile what cases or points need, side by side, until the deadline; what was raised.

    Nothing that fails here ends the run: it meets the failure again where it is told whose it is.
    """
    few, started = [*dict.fromkeys(map(short, wanted))], time.monotonic()
    if not few or deadline.over:
        return Counter()
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(os.cpu_count() or 1, processes, len(few)), multiprocessing.get_context("spawn")
    )
    said = _collected(out, [pool.submit(attempted, compiled, each) for each in few], deadline)
    through = not said[LOST] and not said[UP]
    pool.shutdown(wait=through, cancel_futures=True)
    for process in set(multiprocessing.active_children()) - before:  # one may hang
        process.kill()
    seconds = time.monotonic() - started
    out.say(f"compiled {said.pop('', 0)} of {len(few)} beforehand in {seconds:.0f} s")
    for line, count in said.most_common(3):
        out.say(f"  {count} times: {line}", style="yellow")
    return said


def _collected(out: Log, begun: list[Future[str]], deadline: Deadline) -> Counter[str]:
    """What each said that is through by the deadline."""
    said: Counter[str] = Counter()
    left, task = deadline.left(), out.bar.add_task("compiling", total=len(begun))
    try:
        for each in as_completed(begun, None if left == float("inf") else left):
            said[each.result()] += 1
            out.bar.advance(task)
    except TimeoutError:
        said[UP] += 1
    except BrokenProcessPool:
        said[LOST] += 1
    out.bar.remove_task(task)
    return said
