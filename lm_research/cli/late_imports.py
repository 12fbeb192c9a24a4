"""What a run imports only once it needs it is imported where the next run is forked, too.

A forked run starts with what its worker has imported. What a model, a tracker or a metric brings in
later (numba is 0.15 s of CPU, wandb more) would be imported in every run anew. No list of such
modules can be kept by hand, so each run tells what it had to import.
"""

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress

MOST = 1 << 15
"""Bytes of names that are told: a pipe holds them while nobody reads."""


class LateImports:
    """One run's word to the process that forks it. Make it before the fork."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._before = frozenset(sys.modules)

    def telling(self, run: Callable[[], None]) -> None:
        """In the run's process: do ``run``; if it ends well, tell what it has imported."""
        os.close(self._reader)
        run()
        new = [name for name in list(sys.modules) if name not in self._before]
        told = "".join(f"{name}\n" for name in new).encode(errors="replace")[:MOST]
        os.set_blocking(self._writer, False)  # less is told where a pipe holds less
        with suppress(OSError):  # the worker is gone
            os.write(self._writer, told)

    def follow(self) -> None:
        """In the worker, once the run has ended: import the same."""
        os.close(self._writer)
        os.set_blocking(self._reader, False)  # processes that the run left behind hold the pipe
        text = b""
        with suppress(BlockingIOError):
            text = os.read(self._reader, MOST)
        os.close(self._reader)
        for name in text.decode(errors="replace").split("\n")[:-1]:
            # Some are made by hand and not to be imported, others have gone since.
            with suppress(Exception):
                importlib.import_module(name)
