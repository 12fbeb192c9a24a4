"""Work on the shards of a stage by several processes, the results in order.

The processes are forked, so that what they work with need not be sent: rules and tokenizers are
where they were. This process goes on making work, at most a few shards ahead of the slowest.
"""

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, count, islice
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_PR_SET_PDEATHSIG = 1
HERE = 2
"""Pieces of work that this process does itself, before it starts others."""
AHEAD = 2
"""Pieces of work that wait beside those that are under way."""

_functions: dict[int, Callable[[Any], Any]] = {}
"""What the processes call, by a number; those of one stage may be forked while another works."""
_numbers = count()


def default_workers(text_bytes: int, worth: int = 64 << 20) -> int:
    """Processes for so much text: one a processor of this process's, if that is worth its while.

    Args:
        text_bytes: bytes of text, or more.
        worth: bytes below which starting processes costs more than it saves.
    """
    return 1 if text_bytes < worth else len(os.sched_getaffinity(0))


def in_order(function: Callable[[T], R], work: Iterable[T], workers: int) -> Iterator[R]:
    """``map(function, work)``, by so many processes where ``workers`` is above 1.

    Args:
        function: called in processes forked when there is work for them.
    """
    if workers <= 1:
        yield from map(function, work)
        return
    pieces = iter(work)
    yield from map(function, islice(pieces, HERE))
    for piece in pieces:  # there is a first one more
        yield from _by_processes(function, chain([piece], pieces), workers)


def _by_processes(function: Callable[[T], R], work: Iterable[T], workers: int) -> Iterator[R]:
    number, fork = next(_numbers), multiprocessing.get_context("fork")
    _functions[number] = function
    waiting: deque[Future[R]] = deque()
    try:
        with ProcessPoolExecutor(workers, fork, initializer=_begin) as pool:
            for piece in work:
                waiting.append(pool.submit(_call, number, piece))
                if len(waiting) >= workers + AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        del _functions[number]


def _begin() -> None:
    """In a new process: it ends with its parent, which is the one that is told to stop."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)


def _call(number: int, piece: Any) -> Any:
    return _functions[number](piece)
