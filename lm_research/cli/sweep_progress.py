"""What a running sweep shows: runs done, running, failed, to do, and the time left."""

import json
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lm_research.cli.tell import safe, tell

INTERVAL_S = 0.5


class SweepProgress:
    """Reads the runs' status files while they run, in whatever processes that happens.

    On a terminal: a live display. Elsewhere: one line for each run that ends.

    Args:
        folder: the sweep's folder.
        planned: how many runs there will be.
    """

    def __init__(self, folder: Path, planned: int) -> None:
        self.folder, self.planned = folder, planned
        self.started = time.monotonic()
        self.before = len(self._in_state("done"))
        self.told: set[str] = set(self._in_state("done"))
        self.console = Console(stderr=True)
        self.live = Live(get_renderable=self.render, console=self.console, refresh_per_second=2)
        self.over = threading.Event()
        self.teller = threading.Thread(target=self._tell, daemon=True)

    def states(self) -> dict[str, dict]:
        """Status per run folder name."""
        found = {}
        for file in self.folder.glob("*/status.json"):
            try:
                found[file.parent.name] = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # being replaced right now
        return found

    def _in_state(self, state: str) -> list[str]:
        return [name for name, status in self.states().items() if status["state"] == state]

    def time_left(self, states: dict[str, dict]) -> float | None:
        """Seconds, from the speed so far; partly done runs count in part. None: not known yet."""
        done = sum(_share(status) for status in states.values()) - self.before
        elapsed = time.monotonic() - self.started
        if done <= 0.2:
            return None
        return elapsed / done * max(self.planned - self.before - done, 0)

    def render(self) -> RenderableType:
        """The display."""
        states = self.states()
        counts = Counter(status["state"] for status in states.values())
        to_do = max(self.planned - len(states), 0) + counts["queued"]
        left = self.time_left(states)
        head = Text.assemble(
            (f"{safe(self.folder.name)}  ", "bold"),
            (f"{counts['done']} done", "green"),
            f"  {counts['running']} running  {to_do} to do  ",
            (f"{counts['failed']} failed", "red" if counts["failed"] else "dim"),
            f"  {counts['interrupted']} interrupted" if counts["interrupted"] else "",
            f"  {_clock(time.monotonic() - self.started)} so far",
            "" if left is None else f"  about {_clock(left)} left",
        )
        table = Table.grid(padding=(0, 2))
        for name, status in sorted(states.items()):
            if status["state"] == "running":
                total = max(status.get("steps") or 1, 1)
                table.add_row(
                    Text(safe(name)), ProgressBar(total=total, completed=status["step"], width=24)
                )
        done = sum(_share(status) for status in states.values())
        return Group(head, ProgressBar(total=self.planned, completed=done, width=60), table)

    def _tell(self) -> None:
        while not self.over.wait(INTERVAL_S):
            self._tell_ended()

    def _tell_ended(self) -> None:
        for name, status in sorted(self.states().items()):
            if status["state"] in ("done", "failed", "interrupted") and name not in self.told:
                self.told.add(name)
                remark = f": {status['error']}" if status.get("error") else ""
                line = f"[{len(self.told)}/{self.planned}] {name} {status['state']}{remark}"
                tell(line)

    def __enter__(self) -> "SweepProgress":
        if self.console.is_terminal:
            self.live.start()
        else:
            self.teller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self.live.stop()
        else:
            self.over.set()
            self.teller.join()
            self._tell_ended()


def _share(status: dict) -> float:
    if status["state"] != "running":
        return float(status["state"] in ("done", "failed"))
    return min(status["step"] / max(status.get("steps") or 1, 1), 0.95)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
