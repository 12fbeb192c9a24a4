"""One run of several in a process of its own, so that its end is not the end of the others.

The process is forked: this one has imported what a run needs, but has touched no GPU, and lets the
threads that torch may have started end first. It leads a process group of its own, so that Ctrl-C
comes once, through here, and it is asked to save and end when this process dies.
"""

import atexit
import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from lm_research.callbacks.stop_signals import SIGNALS, Stopped
from lm_research.cli.imports import put_off_scipy_signal
from lm_research.cli.late_imports import LateImports
from lm_research.config.build import import_targets

_PR_SET_PDEATHSIG = 1
_OMP_PAUSE_HARD = 2
_asked: list[int] = []
"""Signals that this process was sent: who is asked to stop starts no further run."""
_watched = False
_kept_aside = False
_spared: set[int] = set()


def die_with_parent(parent: int | None = None, poll: float = 1.0) -> None:
    """End this worker of a launcher once the command that started it is gone.

    A worker of joblib's whose command was killed waits for ever for somebody to take its result.
    (The kernel's signal for it is bound to the thread that started the worker, which may end.)

    Args:
        parent: the command's process; by default whoever is this one's parent now.
        poll: seconds between two looks.
    """
    global _watched
    if _watched or not _is_worker():
        return
    _watched, command = True, parent or os.getppid()

    def watch() -> None:
        while os.getppid() == command:
            time.sleep(poll)
        os._exit(os.EX_TEMPFAIL)  # its run is told by the kernel, saves and ends

    threading.Thread(target=watch, daemon=True, name="die-with-parent").start()


def asked_to_stop() -> bool:
    """Whether this process was sent one of :data:`SIGNALS`."""
    return bool(_asked)


class Interrupted(Exception):  # noqa: N818 - it is no error
    """The run was not started, or has ended, because this process was asked to stop."""


def in_own_process(run: Callable[[], None], config: Mapping[str, Any]) -> int:
    """Call ``run`` in a process of its own.

    Args:
        config: of the run.

    Returns:
        Its exit status; negative: the signal that ended it.

    Raises:
        Interrupted: this process was asked to stop, now or before.
    """
    if not _asked:
        _ready_to_fork(config)
        _end_openmp_threads()
        late = LateImports()
        begin = partial(_begin, partial(late.telling, run))
        process = multiprocessing.get_context("fork").Process(target=begin)
        with _passing_on(process):
            with _set_aside():
                process.start()
            process.join()
        late.follow()
    if _asked:
        raise Interrupted(f"stopped by {signal.Signals(_asked[0]).name}")
    return int(process.exitcode or 0)


@contextmanager
def _set_aside() -> Iterator[None]:
    """What is there now is left alone by the collector of a process that is started in the block.

    To look it through would take time, and copy every page that the two processes share. In a
    worker of a launcher it stays so to the end: joblib calls the collector after each run.
    """
    global _kept_aside
    if _kept_aside:
        yield
        return
    gc.freeze()
    _kept_aside = _is_worker()
    if _kept_aside:
        atexit.register(gc.unfreeze)  # or libraries would tell of what nobody let go of
    try:
        yield
    finally:
        if not _kept_aside:
            gc.unfreeze()


def _is_worker() -> bool:
    """Whether this process is a launcher's, rather than a command."""
    return multiprocessing.current_process().name != "MainProcess"


def _ready_to_fork(config: Mapping[str, Any]) -> None:
    """Do once what one run after the other would: imports, and first calls."""
    if "lm_research.cli.job" not in sys.modules:
        put_off_scipy_signal()
        import lm_research.cli.job as _job  # noqa: F401

        gc.collect()
    import_targets(config)
    from lm_research.cli.first_calls import first_calls

    first_calls()


def _end_openmp_threads() -> None:
    """End the idle threads of GCC's OpenMP in this process; its next parallel region starts others.

    A forked process has none of them, but the library's word that they are there, and would wait
    for them for ever. (OpenMP 5.0, ``omp_pause_resource_all``; other libraries see to forks
    themselves.)
    """
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        return
    for library in {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "libgomp" in line}:
        with suppress(OSError, AttributeError):  # gone from the disk; of a GCC before 9
            ctypes.CDLL(library).omp_pause_resource_all(_OMP_PAUSE_HARD)


@contextmanager
def passing_to_workers() -> Iterator[None]:
    """In the block a first signal asks the worker processes to let their runs save and end.

    Those of joblib watch over this process from their first moment on.

    Raises:
        KeyboardInterrupt: a second one came, which waits for nobody.
        Stopped: at the end of the block, if one came.
    """

    def tell(number: int, frame: Any) -> None:
        if _asked:
            raise KeyboardInterrupt
        _asked.append(number)
        for child in _children() - _spared:
            # A terminal's Ctrl-C has reached them, too: a second one would be "at once".
            os.kill(child, signal.SIGTERM)

    with _handling(tell), _watching_workers():
        yield
    if _asked:
        raise Stopped.by(_asked[0])


@contextmanager
def _watching_workers() -> Iterator[None]:
    """Workers of joblib are told whose they are before anything else.

    Hydra's launcher names its backend and can give it nothing, so the name stands for ours.
    """
    from joblib.parallel import BACKENDS, register_parallel_backend

    plain = BACKENDS["loky"]
    watching = partial(die_with_parent, os.getpid())
    register_parallel_backend("loky", partial(plain, initializer=watching))
    try:
        yield
    finally:
        register_parallel_backend("loky", plain)


@contextmanager
def sparing() -> Iterator[None]:
    """Processes that are started in the block are no workers: no signal is passed on to them."""
    before = _children()
    try:
        yield
    finally:
        _spared.update(_children() - before)


def _children() -> set[int]:
    """Processes that this one has started and that are there still."""
    try:
        tasks = Path("/proc/self/task").glob("*/children")
        return {int(pid) for file in tasks for pid in file.read_text().split()}
    except OSError:
        return set()


def _begin(run: Callable[[], None]) -> None:
    """In the new process: as a command by itself."""
    os.setpgrp()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else _end)
    try:
        run()
    except KeyboardInterrupt:
        sys.exit(130)


def _end(number: int, frame: Any) -> None:
    sys.exit(os.EX_TEMPFAIL)


@contextmanager
def _passing_on(process: Any) -> Iterator[None]:
    """A signal of :data:`SIGNALS` to this process is for the run, and for those after it."""

    def tell(number: int, frame: Any) -> None:
        _asked.append(number)
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, number)

    if _is_worker():  # so between runs, too
        for number in SIGNALS:
            signal.signal(number, tell)
        yield
        return
    with _handling(tell):
        yield


@contextmanager
def _handling(tell: Callable[[int, Any], None]) -> Iterator[None]:
    before = {number: signal.signal(number, tell) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
