"""Freed memory stays with the process, where glibc would return it to the system at every step.

glibc takes large blocks from the system one by one and gives them back at once. The temporary
tensors of a training step are such blocks, so every step's memory is mapped, cleared and counted
in anew, page by page: a quarter of the time of a small model with a large vocabulary.
"""

import ctypes
import os
from collections.abc import Mapping

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Numbers of ``mallopt(3)``."""
_NEVER, _PAD_BYTES = 2**31 - 1, 1 << 26
_ONES_OWN = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Environment variables by which people choose for themselves."""


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Let the allocator keep what is freed, from now on, for what is asked for next.

    The process holds the most that it has held at once, and some more for gaps. Nothing is changed
    without glibc, or where the environment has settings of its own: ``MALLOC_TRIM_THRESHOLD_`` and
    its like, ``GLIBC_TUNABLES``, another allocator by ``LD_PRELOAD``.

    Returns:
        Whether it was done.
    """
    own = any(name.startswith(_ONES_OWN) and value for name, value in environment.items())
    if own or "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", ()):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    asked = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _PAD_BYTES))
    return all(mallopt(*setting) for setting in asked)
