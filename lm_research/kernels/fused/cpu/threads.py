"""Work for the threads that PyTorch has.

PyTorch's threads (GNU's OpenMP on Linux) wait for their next work in a loop that keeps a core busy.
Threads of our own would share those cores with them: a training step of a GRU took a quarter more.
So the work goes to PyTorch's own, where its library is the GNU one; elsewhere to a pool.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

import torch

Walk = Callable[[int, int], None]
_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


ALONE = 1 << 23
"""So few products are done before another thread has woken up and asked Python for its part."""
_pools: dict[int, ThreadPoolExecutor] = {}
_forked = False
"""Threads stay behind, and GNU's library waits for them for ever."""


def _in_child() -> None:
    global _forked
    _forked = True
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def over_rows(walk: Walk, rows: int, products: float = inf) -> None:
    """``walk(first, end)`` of all rows, shared out among as many threads as PyTorch uses.

    Args:
        products: of two numbers, that all rows take together; few are done by one thread.
    """
    threads = max(1, min(torch.get_num_threads(), rows))
    if threads == 1 or products < ALONE:
        walk(0, rows)
        return
    ends = [rows * part // threads for part in range(threads + 1)]
    parallel = None if _forked else _of_pytorch()
    if parallel is None:
        _by_pool(walk, ends)
    else:
        _by_openmp(parallel, walk, ends)


@cache
def _of_pytorch() -> Any:
    """GNU OpenMP's way into a parallel region, from the library that PyTorch runs on; or None."""
    loaded: int | None = getattr(os, "RTLD_NOLOAD", None)
    if loaded is None:
        return None
    files = (Path(torch.__file__).parent / "lib").glob("libgomp*.so*")
    for name in [*sorted(file.name for file in files), "libgomp.so.1"]:
        try:
            found = ctypes.CDLL(name, mode=loaded).GOMP_parallel
        except (OSError, AttributeError):
            continue
        found.argtypes = (_CALLBACK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        found.restype = None
        return found
    return None


def _by_openmp(parallel: Any, walk: Walk, ends: list[int]) -> None:
    """A part for each thread of a region; if there are fewer threads, they take several."""
    numbers, failed = count(), list[BaseException]()

    def work(_: Any) -> None:
        try:
            while (part := next(numbers)) < len(ends) - 1:
                walk(*ends[part : part + 2])
        except BaseException as error:  # ctypes would print it and go on
            failed.append(error)

    parallel(_CALLBACK(work), None, len(ends) - 1, 0)
    if failed:
        raise failed[0]


def _by_pool(walk: Walk, ends: list[int]) -> None:
    threads = len(ends) - 1
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads - 1, thread_name_prefix="scan")
    others = [_pools[threads].submit(walk, *ends[part : part + 2]) for part in range(1, threads)]
    walk(*ends[:2])
    for other in others:
        other.result()
