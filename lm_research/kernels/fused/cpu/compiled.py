"""Machine code of Python functions, kept for later processes, and threads that run it on rows."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor


@cache
def _sources() -> str:
    """Of the folder: numba asks only whether the file of the function itself has changed."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(map(Path.read_bytes, files))).hexdigest()[:12]


def compiled(function: Callable[..., Any]) -> Any:
    """``function`` as machine code, which lets other threads run meanwhile.

    It is kept beside the module, or in the user's cache folder; where neither can be written, it is
    compiled once a process.
    """
    function.__qualname__ += f"_{_sources()}"
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # no place for a cache
        return numba.njit(**settings)(function)


_pools: dict[int, ThreadPoolExecutor] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # threads stay behind


def over_rows(walk: Callable[[int, int], None], rows: int) -> None:
    """``walk(first, end)`` of all rows, shared out among as many threads as PyTorch uses."""
    count = max(1, min(torch.get_num_threads(), rows))
    if count == 1:
        walk(0, rows)
        return
    if count not in _pools:
        _pools[count] = ThreadPoolExecutor(count - 1, thread_name_prefix="scan")
    ends = [rows * part // count for part in range(count + 1)]
    others = [_pools[count].submit(walk, *ends[part : part + 2]) for part in range(1, count)]
    walk(*ends[:2])
    for other in others:
        other.result()


def flat(tensor: Tensor) -> np.ndarray:
    """A tensor's numbers in order, not copied where they lie so: float32, or bfloat16's bits."""
    row = tensor.detach().contiguous().reshape(-1)
    if row.dtype == torch.bfloat16:
        return row.view(torch.int16).numpy().view(np.uint16)
    return row.numpy()
