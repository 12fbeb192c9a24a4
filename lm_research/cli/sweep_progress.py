"""What a running sweep shows: runs done, running, failed, to do, and the time left."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lm_research.cli.tell import safe, tell
from lm_research.studies.jobs import Job
from lm_research.studies.states import STATES, Standing, seconds_left, standings

INTERVAL_S = 1.0
ENDED = ("done", "failed", "interrupted")
STYLES = {"done": "green", "failed": "red", "stale": "yellow", "interrupted": "yellow"}


class SweepProgress:
    """Reads the jobs' folders while they run, in whatever processes that happens.

    On a terminal: a live display. Elsewhere: one line for each run that ends.

    Args:
        folder: the sweep's folder.
        jobs: its jobs.
    """

    def __init__(self, folder: Path, jobs: Sequence[Job]) -> None:
        self.folder, self.started = folder, time.monotonic()
        self.found = {s.job.identity: s for s in standings(folder, jobs)}
        self.told = {job for job, s in self.found.items() if s.state == "done"}
        # How a job ended before this command says nothing until the command has tried it again.
        self.earlier = {job for job, s in self.found.items() if s.state in ENDED}
        self.console = Console(stderr=True)
        self.live = Live(get_renderable=self.render, console=self.console, refresh_per_second=1)
        self.over = threading.Event()
        self.teller = threading.Thread(target=self._tell, daemon=True)

    def _look(self) -> list[Standing]:
        """Every job as it stands; what is done stays done, and is not read again."""
        rest = [s.job for s in self.found.values() if s.state != "done"]
        self.found |= {s.job.identity: s for s in standings(self.folder, rest)}
        return list(self.found.values())

    def render(self) -> RenderableType:
        """The display."""
        found = self._look()
        elapsed = clock(time.monotonic() - self.started)
        return overview(self.folder.name, found, f"  {elapsed} so far")

    def _tell(self) -> None:
        while not self.over.wait(INTERVAL_S):
            self._tell_ended()

    def _tell_ended(self, last: bool = False) -> None:
        for standing in self._look():
            job, state = standing.job, standing.state
            if state not in ENDED or state == "done" or last:
                self.earlier.discard(job.identity)
            if state in ENDED and job.identity not in self.told | self.earlier:
                self.told.add(job.identity)
                remark = f": {standing.error}" if standing.error and state != "done" else ""
                tell(f"[{len(self.told)}/{len(self.found)}] {job.folder} {state}{remark}")

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
            self._tell_ended(last=True)


def overview(name: str, found: Sequence[Standing], remark: str = "") -> Group:
    """Counts by state, the share done, the time left, and a bar for each run at work."""
    running = [s for s in found if s.state == "running"]
    left = seconds_left(found, len(running))
    head = Text.assemble(
        (f"{safe(name)}  ", "bold"), counts(found), remark,
        "" if left is None or not running else f"  about {clock(left)} left",
    )  # fmt: skip
    table = Table.grid(padding=(0, 2))
    for standing in running:
        bar = ProgressBar(total=1.0, completed=standing.share, width=24)
        table.add_row(Text(safe(standing.job.folder)), bar)
    done = sum(1.0 if s.state == "failed" else s.share for s in found)
    return Group(head, ProgressBar(total=max(len(found), 1), completed=done, width=60), table)


def counts(found: Sequence[Standing]) -> Text:
    """ "3 done  1 running  8 to do": the states that occur, and always what is done."""
    number = Counter(standing.state for standing in found)
    parts = [(f"{number[s]} {s}  ", STYLES.get(s, "")) for s in STATES if number[s] or s == "done"]
    return Text.assemble(*parts)


def clock(seconds: float) -> str:
    """Minutes and seconds, as 3:07; hours before them where there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
