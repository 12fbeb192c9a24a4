"""Cases one after another: each is caught, shown as soon as it is done, and counted.

A check on a GPU is cut short by whoever lends it, so what was not tried is counted, too: a check
that is not complete must not look as if it were.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape

from kernel_suite.deadline import FOREVER, Deadline
from kernel_suite.gpu import first_line, settle, still_alive
from kernel_suite.shown import MOST_CHARACTERS, Log, Rows, clipped

NOT_SERVED = "cannot serve this call"
TOLD = ("no room for all programs", "waited in vain", "too many blocks in cooperative launch")
"""How a scan over several processors says that it does not have the GPU to itself."""
HOLDS, FAILED, STOPPED, REFUSED = 0, 1, 3, 4
"""Exit statuses: all hold; some fail; some were not tried; all that failed said so (``TOLD``)."""
GRACE = 30.0
"""Seconds that a case may take beyond the deadline, before it counts as hanging."""


@dataclass(frozen=True)
class Verdict:
    """Of a case: whether it holds, its cells and what is said of it (rich markup)."""

    good: bool
    cells: list[str]
    more: str


@dataclass
class Part:
    """What became of the cases of a part: how many hold, and of all others which.

    ``told``: failed in words (``TOLD``). ``refused``: no kernel for it on this chip. ``skipped``:
    there is no room, no tool for it. ``left``: not tried.
    """

    name: str
    held: int = 0
    failed: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether dispatch serves none of its cases, which shows nothing."""
        others = self.failed or self.told or self.skipped or self.left
        return bool(self.refused) and not self.held and not others

    def __str__(self) -> str:
        names = {"failed": "fail", "told": "refused in words", "refused": "without a kernel"}
        names |= {"skipped": "skipped", "left": "NOT TRIED"}
        counted = [f"{len(getattr(self, n))} {text}" for n, text in names.items()]
        given = [text for text in counted if not text.startswith("0 ")]
        return ", ".join([f"{self.name}: {self.held} hold", *given])


class Trials:
    """All parts of a check, on one device, until time is up."""

    def __init__(self, out: Log, device: str, deadline: Deadline = FOREVER) -> None:
        self.out, self.device, self.deadline = out, device, deadline
        self.parts: dict[str, Part] = {}
        self.current = ""

    def part(self, name: str) -> Part:
        return self.parts.setdefault(name, Part(name))

    def run(
        self,
        name: str,
        title: str,
        cases: Sequence[Any],
        columns: Sequence[str],
        judge: Callable[[Any], Verdict],
    ) -> None:
        """Try cases, each ``judge``d in ``columns``.

        Raises:
            DeviceLostError: an error after which nothing more can be run.
        """
        part, done = self.part(name), 0
        if not self.deadline.over:
            width = max((len(named(case)) for case in cases), default=0)
            wide = [("case", width), *((c, max(len(c), 7)) for c in columns)]
            rows, task = Rows(self.out, title, wide), self.out.bar.add_task(name, total=len(cases))
        try:
            while done < len(cases) and not self.deadline.over:
                self.current = f"{name}: {named(cases[done])}"
                done += 1
                self._try(part, rows, cases[done - 1], judge)
                self.out.bar.advance(task)
        finally:  # also after an error that ends the check
            part.left += map(named, cases[done:])
            self.current = ""

    def _try(self, part: Part, rows: Rows, case: Any, judge: Callable[[Any], Verdict]) -> None:
        try:
            found = judge(case)
            settle(self.device)
        except Exception as error:  # whatever a kernel may do, the other cases are tried
            self._caught(part, rows, case, error)
            return
        rows.add([named(case), *found.cells], found.more)
        if found.good:
            part.held += 1
        else:
            part.failed.append(named(case))

    def _caught(self, part: Part, rows: Rows, case: Any, error: Exception) -> None:
        said, whole = first_line(error), f"{error} {error.__cause__ or ''}"
        line = f"{named(case)}: {said}"
        kind, style = (part.failed, "red")
        if isinstance(error, SkippedError):
            kind, style, said, line = part.skipped, "yellow", str(error), f"{named(case)}: {error}"
        elif NOT_SERVED in whole:
            kind, style = part.refused, "yellow"
        elif any(words in whole for words in TOLD):
            kind = part.told
        kind.append(line)
        rows.add([named(case)], f"[{style}]{escape(said)}[/]")
        still_alive(self.device, line)

    def summary(self) -> list[str]:
        """Counts by part, then what did not hold; short enough to come back from anywhere."""
        counts = [str(part) for part in self.parts.values()]
        lines = []
        for part in self.parts.values():
            lines += [f"FAILS {part.name}: {line}" for line in (*part.failed, *part.told)]
            if part.empty:
                lines.append(f"FAILS {part.name}: no case has a kernel: {part.refused[0]}")
        for part in self.parts.values():
            lines += [f"{part.name}: {line}" for line in part.skipped]
        left = [f"{p.name} ({len(p.left)})" for p in self.parts.values() if p.left]
        why = "time is up; " if self.deadline.over else ""
        stopped = [f"stopped: {why}NOT TRIED: {', '.join(left)}"] if left else []
        most = MOST_CHARACTERS - sum(map(len, (*counts, *stopped))) - 100
        return [*counts, *clipped(lines, most), *stopped]

    def status(self) -> int:
        """The exit status."""
        parts = self.parts.values()
        if any(part.failed or part.empty for part in parts):
            return FAILED
        if any(part.told for part in parts):
            return REFUSED
        return STOPPED if any(part.left for part in parts) else HOLDS

    @contextmanager
    def watched(self, end: Callable[[int], None] = os._exit) -> Iterator[None]:
        """Within it a case that hangs is named, and ends the process, when time is long up."""
        if self.deadline.left() == float("inf"):
            yield
            return
        timer = threading.Timer(self.deadline.left() + GRACE, self._hanging, [end])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _hanging(self, end: Callable[[int], None]) -> None:
        """No thread can be stopped that waits for a GPU: the process is."""
        line = f"not through {GRACE:.0f} s after time was up: {self.current or 'between cases'}"
        self.part("hangs").failed.append(line)
        for each in self.summary():
            self.out.say(each)
        end(self.status())


class SkippedError(Exception):
    """A case cannot be tried here, which is no fault of a kernel: the message says why."""


def named(case: Any) -> str:
    """A case as it is told."""
    if isinstance(case, str):
        return case
    return " ".join(filter(None, (getattr(case, "cell", ""), case.dtype, case.label)))
