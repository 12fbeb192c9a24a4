"""What a run shows as it goes: lines at once, the same in a file, and how long it will take."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

WIDTH = 200
MOST_CHARACTERS = 10_000
"""Of a summary: from some machines no more than the last 12,000 that were printed come back."""


def console() -> Console:
    """Wide enough for a row of errors where the output is a file."""
    return Console(width=None if sys.stdout.isatty() else WIDTH)


class Log:
    """A console, and a file with all that it shows.

    ``bar`` shows how far a run is and about how long it will take yet: entered once, on a terminal
    alone.
    """

    def __init__(self, screen: Console | None = None, path: Path | None = None) -> None:
        self.screen = screen or console()
        self.bar = _bar(self.screen)
        self._copy: Console | None = None
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a", encoding="utf-8", buffering=1)  # kept when the process is killed
            self._copy = Console(file=file, width=WIDTH)

    def print(self, *what: Any, **options: Any) -> None:
        """As ``Console.print``; on the screen at once, also where that is a pipe."""
        for each in (self.screen, self._copy):
            if each:
                each.print(*what, **options)
                each.file.flush()

    def say(self, line: str, style: str | None = None) -> None:
        """A line of plain text, never broken."""
        self.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def _bar(screen: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    left, hidden = TimeRemainingColumn(elapsed_when_finished=True), not screen.is_terminal
    return Progress(*columns, left, console=screen, transient=True, disable=hidden)


class Rows:
    """A table whose rows are shown as they come: widths are fixed before the first is known.

    Args:
        columns: heading and width of each.
    """

    def __init__(self, out: Log, title: str, columns: Sequence[tuple[str, int]]) -> None:
        self.out, self.widths = out, [width for _, width in columns]
        out.print()
        out.print(title, style="italic", highlight=False)
        self.add([f"[bold]{name}[/]" for name, _ in columns], "")
        out.print("─" * (sum(self.widths) + 2 * len(self.widths) + 20), highlight=False)

    def add(self, cells: Sequence[str], more: str) -> None:
        """Rich markup: the first cell from the left, the others from the right, then ``more``.

        Where cells are fewer than columns, ``more`` stands in place of the others.
        """
        line = Text()
        for place, (cell, width) in enumerate(zip(cells, self.widths, strict=False)):
            text = Text.from_markup(cell)
            text.align("right" if place else "left", width)
            line.append_text(text).append("  ")
        line.append_text(Text.from_markup(more)).rstrip()
        self.out.print(line, soft_wrap=True)


def minutes(seconds: float) -> str:
    """75 s as 1:15."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def clipped(lines: Sequence[str], most: int) -> list[str]:
    """As many of the lines as have ``most`` characters, and how many more there are."""
    kept: list[str] = []
    for line in lines:
        if sum(map(len, kept)) + len(kept) + len(line) > most:
            return [*kept, f"... and {len(lines) - len(kept)} more: see the log, the table"]
        kept.append(line)
    return kept
