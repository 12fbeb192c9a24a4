"""Where a run trains: in this process, or in one process a device, which end together.

Each process starts from the finished config, so that this works under a Hydra multirun too, where
running the command line again in every process would start the sweep again.
"""

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from lm_research.callbacks.stop_signals import INTERRUPTED, Stopped
from lm_research.cli.batch_size import settle
from lm_research.cli.memory import KILLED, OutOfMemory, oom_kills
from lm_research.tracking.errors import RunFolderError
from lm_research.tracking.json_files import read_json
from lm_research.tracking.run_folder import RunFolder

PATIENCE_S = 10.0
"""How long the other processes may take to end by themselves once one has failed."""


class ProcessError(Exception):
    """A process of a data-parallel run ended with an error; says which, and why."""

    def __init__(self, reason: str, exit_code: int = 1) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


def train(config: dict[str, Any], output: str | Path) -> None:
    """Train ``config`` in the folder ``output``, in as many processes as it asks for.

    Raises:
        ProcessError: one of several processes failed.
    """
    config = settle(config, output)
    devices = config["trainer"]["devices"]
    if devices > 1:
        launch(config, output, devices)
        return
    from lm_research.cli.job import run

    run(config, output)


def launch(config: dict[str, Any], output: str | Path, processes: int) -> None:
    """Train ``config`` in ``processes`` processes; the first owns the folder ``output``.

    Raises:
        ProcessError: with what stopped the process that failed first.
    """
    from torch.multiprocessing.spawn import ProcessException, start_processes

    from lm_research.cli.worker import work

    with TemporaryDirectory(prefix="lm-research-") as place:
        job = (config, str(Path(output).absolute()), processes, free_port(), place)
        kills = oom_kills()
        context: Any = start_processes(work, job, processes, join=False)
        try:
            with _passing_on(context.processes):
                while not context.join(grace_period=PATIENCE_S):
                    pass
        except ProcessException as error:
            told = reason_told(Path(place)) or _killed(str(error), oom_kills() - kills)
            code = getattr(error, "exit_code", None)
            if code in (os.EX_TEMPFAIL, INTERRUPTED):
                raise _stopped(told, code) from error
            if told and told.get("late"):
                told["error"] = _naming(Path(place), processes, told["error"])
            note(config, output, told["error"] if told else str(error))
            if told:
                raise ProcessError(told["error"], told["code"]) from error
            raise  # with the traceback of the process
        except KeyboardInterrupt:
            _end(context.processes)
            raise


@contextmanager
def _passing_on(processes: Sequence[Any]) -> Iterator[None]:
    """A scheduler's signals may reach this process alone: tell the others."""

    def tell(number: int, frame: Any) -> None:
        for process in processes:
            if process.is_alive():
                os.kill(process.pid, number)

    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def free_port() -> int:
    """A port of this machine where the processes may meet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def reason_file(place: Path, rank: int) -> Path:
    """Where a process leaves word of an error of ours, which says all there is to say."""
    return place / f"error-{rank}.json"


def reason_told(place: Path) -> dict[str, Any] | None:
    """What the first process that left word was stopped by, ``error``, and its exit ``code``."""
    files = sorted(place.glob("error-*.json"), key=lambda file: file.stat().st_mtime_ns)
    return read_json(files[0]) if files else None


def _naming(place: Path, processes: int, said: str) -> str:
    """Who has left no word, when the others gave up waiting for them."""
    silent = [str(rank) for rank in range(processes) if not reason_file(place, rank).exists()]
    who = f"process {', '.join(silent)} of {processes}"
    return said.replace("another process of the run", who, 1) if silent else said


def _stopped(told: dict[str, Any] | None, code: int) -> Stopped:
    """What the process that stopped said, with its exit status."""
    if told is None:
        return Stopped("stopped", code)
    return Stopped(told["error"], code, told.get("by_time", False))


def _killed(said: str, kills: int) -> dict[str, Any] | None:
    """A process that a signal ended leaves no word; the kernel counts whom it killed itself."""
    if "signal" not in said:
        return None
    if kills and "SIGKILL" in said:
        return {"error": f"{said}: {KILLED}", "code": OutOfMemory.exit_code}
    return {"error": f"{said}; somebody, or a scheduler for want of memory, ended it", "code": 1}


def _end(processes: Sequence[Any]) -> None:
    """A terminal tells all processes of Ctrl-C; who does not end by itself has not heard."""
    for demand in (None, signal.SIGINT, signal.SIGKILL):
        for process in processes:
            if demand and process.is_alive():
                os.kill(process.pid, demand)
        for process in processes:
            process.join(PATIENCE_S / 2)


def note(
    config: dict[str, Any],
    output: str | Path,
    reason: str,
    state: Literal["failed", "interrupted"] = "failed",
) -> None:
    """Write the failure down for a process that could not do it itself."""
    with suppress(RunFolderError), RunFolder.create(output, config) as folder:
        if folder.status.state == "running":
            folder.finish(state, reason)
