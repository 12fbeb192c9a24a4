"""What is seen while a text is prepared."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lm_research.cli.tell import safe
from lm_research.data.preparation import Tell

QUIET_S = 2.0
"""A text that is ready within so many seconds needs no bar."""
WORDS = {"vocabulary": "learning the vocabulary", "tags": "learning the tags", "ids": "encoding"}


@contextmanager
def preparing(name: str) -> Iterator[Tell]:
    """A line on a terminal that counts the megabytes, once it takes long; elsewhere nothing.

    How much there is in all nobody knows before it has been read.
    """
    bar = _Bar(name)
    try:
        yield bar.tell
    finally:
        bar.close()


class _Bar:
    def __init__(self, name: str) -> None:
        self.name, self.began = safe(name), time.monotonic()
        self.shown: Any = None
        self.tasks: dict[str, Any] = {}
        self.waiting: dict[str, int] = {}

    def tell(self, what: str, utf8_bytes: int) -> None:
        """Count; the line appears after :data:`QUIET_S`."""
        self.waiting[what] = self.waiting.get(what, 0) + utf8_bytes
        if self.shown is None:
            if not sys.stderr.isatty() or time.monotonic() - self.began < QUIET_S:
                return
            self.shown = _progress()
            self.shown.start()
        for told, size in self.waiting.items():
            if told not in self.tasks:
                text = f"{self.name}: {WORDS.get(told, told)}"
                self.tasks[told] = self.shown.add_task(text, total=None)
            self.shown.advance(self.tasks[told], size)
        self.waiting.clear()

    def close(self) -> None:
        """Take the line away."""
        if self.shown is not None:
            self.shown.stop()


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import (
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), SpinnerColumn(), DownloadColumn())
    return Progress(
        *columns,
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
