"""CPU seconds from the start of a study's command until the first training step of any run is done.

    python benchmarks/first_step.py                 # of the demonstration
    python benchmarks/first_step.py data=code       # of what is left of it, or of sweep=NAME

The command is the user's own, but that a row of metrics is written at every step; it is stopped as
soon as there is one. All its processes are counted, the runs beside the first included. Once with
an empty cache, which has the text to be prepared, and then with a full one. Linux only (/proc).
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; raise SystemExit(main())"]
POLL_S = 0.02
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Twice with one cache."""
    given = sys.argv[1:]
    study = [] if any(a.startswith("sweep=") for a in given) else ["sweep=demo"]
    with tempfile.TemporaryDirectory() as folder:
        for cache in ("empty", "full"):
            options = [f"output={folder}/{cache}", f"cache={folder}/cache"]
            cpu, wall = first_step(
                ["sweep", *study, *given, *options, "callbacks.metrics.every=1"],
                Path(folder) / cache,
            )
            print(f"{cache} cache: {cpu:.2f} s of CPU, {wall:.2f} s by the clock", flush=True)


def first_step(arguments: list[str], output: Path) -> tuple[float, float]:
    """CPU and wall-clock seconds.

    Raises:
        RuntimeError: the command ended without a step; with what it said.
    """
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [*COMMAND, *arguments], stdout=said, stderr=said, start_new_session=True
        ) as process,
    ):
        while not any(file.stat().st_size for file in output.glob("*/metrics.jsonl")):
            if process.poll() is not None:
                said.seek(0)
                raise RuntimeError(f"no training step: {said.read()[-2000:]}")
            time.sleep(POLL_S)
        found = cpu_seconds(process.pid), time.perf_counter() - began
        _end(process.pid)
    return found


def cpu_seconds(session: int) -> float:
    """Of the processes of a session, and of their children that have ended."""
    total = 0
    for fields in _processes(session):
        total += sum(map(int, fields[11:15]))  # utime, stime, and both of the children waited for
    return total / TICKS


def _processes(session: int) -> list[list[str]]:
    """Of each process in it: the fields of /proc/PID/stat behind its name; its PID in front."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if fields[3] == str(session):
            found.append([*fields, file.parent.name])
    return found


def _end(session: int) -> None:
    """All of them, at once: nothing that they would still write is wanted."""
    while processes := [p for p in _processes(session) if p[0] != "Z"]:
        for fields in processes:
            try:
                os.kill(int(fields[-1]), signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
