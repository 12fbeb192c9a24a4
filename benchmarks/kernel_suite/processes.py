"""Parts of the check that need processes of their own: the sanitizer, and two on one GPU.

Has never run on a GPU.
"""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kernel_suite.deadline import Deadline
from kernel_suite.trials import HOLDS, REFUSED, STOPPED, SkippedError, Trials, Verdict

SANITIZER_SECONDS = 480.0
SHARED_SECONDS = 480.0
SCRIPT = Path(__file__).parent.parent / "kernels.py"
TOO_LONG = "too long"


def limited(command: list[str], deadline: Deadline, most: float, **more: str) -> tuple[object, str]:
    """Exit status and output of a command with variables ``more``; "too long" after a while.

    With it end the processes that it began: they would go on using the GPU.
    """
    seconds = min(most, deadline.left())
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **more}, start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        return TOO_LONG, said
    return process.returncode, said


def check_command(part: str, seconds: float) -> list[str]:
    """This very check, of one part."""
    words = [sys.executable, str(SCRIPT), "check", "--device", "cuda", "--only", part]
    return words if seconds == float("inf") else [*words, "--seconds", f"{seconds:.0f}"]


# --- the sanitizer


def sanitizer() -> str | None:
    """Path of compute-sanitizer, or None."""
    beside = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin/compute-sanitizer"
    return shutil.which("compute-sanitizer") or (str(beside) if beside.exists() else None)


def check_sanitized(trials: Trials, tool: str | None) -> None:
    """Accesses out of bounds and racing ones in the small cases."""

    def judge(name: str) -> Verdict:
        if tool is None:
            raise SkippedError("compute-sanitizer is not installed: not looked for")
        return _sanitized(trials, tool, name)

    trials.run("sanitizer", "compute-sanitizer", ["memcheck", "racecheck"], [], judge)


def _sanitized(trials: Trials, tool: str, name: str) -> Verdict:
    """Every allocation is its own, so that one beyond it is seen."""
    options = ["--tool", name, "--error-exitcode", "9", "--target-processes", "all"]
    command = [tool, *options, *check_command("small", trials.deadline.left())]
    more = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    status, said = limited(command, trials.deadline, SANITIZER_SECONDS, **more)
    return _verdict(trials, status, said, "clean")


def _verdict(trials: Trials, status: object, said: str, good: str) -> Verdict:
    if status == HOLDS:
        return Verdict(True, [], f"[green]{good}[/]")
    if status == STOPPED or (status == TOO_LONG and trials.deadline.over):
        raise SkippedError("not through when time was up")
    trials.out.say(said[-3000:])
    return Verdict(False, [], f"[red]FAILS ({status})[/]")


# --- two processes


def check_shared(trials: Trials) -> None:
    """Two processes on the one GPU: each is right, or says that there is no room."""
    parts = ("spread", "gluon")
    with ThreadPoolExecutor(len(parts)) as pool:
        begun = {
            part: pool.submit(
                limited, check_command(part, trials.deadline.left()),
                trials.deadline, SHARED_SECONDS,
            )
            for part in ([] if trials.deadline.over else parts)
        }  # fmt: skip
        title = "Two processes on the GPU at once"
        judge = lambda part: _beside(trials, *begun[part].result())  # noqa: E731
        trials.run("shared", title, parts, [], judge)


def _beside(trials: Trials, status: object, said: str) -> Verdict:
    if status == REFUSED:
        return Verdict(True, [], "[green]refused, in words[/]")
    return _verdict(trials, status, said, "right")
