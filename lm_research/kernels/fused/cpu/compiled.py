"""Machine code of Python functions, kept for later processes, and what it takes of tensors."""

import hashlib
from collections.abc import Callable
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


def flat(tensor: Tensor) -> np.ndarray:
    """A tensor's numbers in order, not copied where they lie so: float32, or bfloat16's bits."""
    row = tensor.detach().contiguous().reshape(-1)
    if row.dtype == torch.bfloat16:
        return row.view(torch.int16).numpy().view(np.uint16)
    return row.numpy()
