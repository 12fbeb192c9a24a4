"""Runs killed at random moments must end as if nothing had happened.

    python benchmarks/chaos.py --kills 20 --terms 5
    python benchmarks/chaos.py --kills 200 --terms 50      # the long form

Each trial is a small run, ended once by SIGKILL or SIGTERM: at a random time of its life, or inside
a checkpoint, a row, a rename, an evaluation, a sample or a call of W&B (offline); then it is
started again. Runs are forked from a process that has done the imports, but those that were ended
at a random time go on by the command itself. All that it leaves (rows, samples, predictions,
summary, every checkpoint) must be what an undisturbed run leaves, bit for bit, clocks aside. The
runs are made of conf/: every option of data, text, task, vectorizer, model, optimizer, scheduler
and averaging occurs; in the long form, every two ways of training meet, in each task. Prints a line
a trial and the sum; exits with 1 if one differs.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from chaos_suite.equality import difference
from chaos_suite.forked import Forked
from chaos_suite.jobs import (
    FILE,
    TAGGED,
    TAGGED_FILE,
    TEXT,
    axes,
    classifiers,
    covering,
    dealt_out,
    every_two,
    once,
    taggers,
    writers,
)

SMALL = [
    "budget=smoke",
    "budget.train_tokens=3200",
    "budget.batch_size=4",
    "budget.window=16",
    "budget.hidden_size=16",
    "budget.train_bytes=8000",
    "budget.eval_bytes=1000",
    "callbacks=quiet",
    "callbacks.metrics.every=7",
    "callbacks.checkpoint.every=11",
    "callbacks.samples.length=5",
    "trainer=cpu",
    "trainer.threads=1",
]
COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; main()"]
ANY_TIME = "any time"
TIMEOUT_S = 600

Process = subprocess.Popen[str] | Forked


@dataclass
class Job:
    """A run left alone: its overrides and folder, how long it took, and the calls it made."""

    overrides: list[str]
    folder: Path
    seconds: float = 0.0
    calls: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    number: int
    job: Job
    how: signal.Signals
    moment: str


def main() -> int:
    arguments = options()
    signals = [signal.SIGKILL] * arguments.kills + [signal.SIGTERM] * arguments.terms
    random.Random(arguments.seed).shuffle(signals)
    os.environ |= {"OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        place = Path(name)
        (place / FILE).write_text(TEXT, encoding="utf-8")
        (place / TAGGED_FILE).write_text(TAGGED, encoding="utf-8")
        others = (classifiers(), taggers(), writers())
        rows = [*covering(axes()), *(row for made in others for row in every_two(made))]
        if len(signals) < len(rows):
            rows = [*once(axes()), *(row for made in others for row in dealt_out(made))]
        jobs = [Job(row, place / f"whole-{n}") for n, row in enumerate(rows[: len(signals)])]
        print(f"{len(signals)} trials over {len(jobs)} jobs, seed {arguments.seed}", flush=True)
        with ThreadPoolExecutor(arguments.parallel) as pool:
            list(pool.map(leave_alone, jobs))
            moments = [ANY_TIME, *sorted({place for job in jobs for place in job.calls})]
            dealt = zip(cycle(jobs), signals, cycle(moments), strict=False)
            trials = [Trial(number, *dealt_to) for number, dealt_to in enumerate(dealt)]
            told = pool.map(lambda trial: attempt(trial, place, arguments.seed), trials)
            equal = sum(told)
    print(f"{equal} of {len(signals)} bitwise equal")
    return 0 if equal == len(signals) else 1


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--kills", type=int, default=20, help="trials with SIGKILL")
    parser.add_argument("--terms", type=int, default=5, help="trials with SIGTERM")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--parallel", type=int, default=cores, help="runs at a time")
    return parser.parse_args()


def command(job: Job, folder: Path) -> subprocess.Popen[str]:
    """The run as its user starts it."""
    environment = dict(os.environ)
    # Without compiled modules most of a run's life is imports, and so would be what is killed.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [*COMMAND, *arguments_of(job, folder)],
        start_new_session=True,
        env=environment,
        cwd=folder.parent,
        **streams,
    )


def forked(job: Job, folder: Path, **moment: Any) -> Forked:
    """The same without imports, and a moment at which it signals itself."""
    return Forked(arguments_of(job, folder), moment, folder.parent, folder.with_suffix(".txt"))


def arguments_of(job: Job, folder: Path) -> list[str]:
    return ["train", *SMALL, *job.overrides, f"output={folder}"]


def finish(process: Process) -> None:
    said, complaint = process.communicate(timeout=TIMEOUT_S)
    if process.returncode:
        raise RuntimeError(f"{process.args} ended with {process.returncode}:\n{said}{complaint}")


def leave_alone(job: Job) -> None:
    """Run ``job`` undisturbed, counting its calls."""
    counts = job.folder.with_suffix(".json")
    began = time.monotonic()
    finish(forked(job, job.folder, count=str(counts)))
    job.seconds = time.monotonic() - began
    job.calls = json.loads(counts.read_text())


def attempt(trial: Trial, place: Path, seed: int) -> bool:
    """End the run once, let the same command finish it, and compare."""
    rng = random.Random(f"{seed} {trial.number}")
    job, folder = trial.job, place / f"trial-{trial.number}"
    calls = job.calls.get(trial.moment)
    if calls is None:
        process, told = at_any_time(trial, folder, rng.random())
    else:
        process, told = at_a_call(trial, folder, calls, rng)
    said, complaint = process.communicate(timeout=TIMEOUT_S)
    expected = (-trial.how, *([0, os.EX_TEMPFAIL] if trial.how == signal.SIGTERM else []))
    if process.returncode not in expected:
        fault: str | None = f"exit {process.returncode}:\n{said}{complaint}"
    else:
        reached = rows_in(folder)
        finish(forked(job, folder) if calls else command(job, folder))
        fault = difference(job.folder, folder)
        told += f", {reached} rows"
    shutil.rmtree(folder)
    row = " ".join(text for text in job.overrides if text.startswith(("model=", "data=", "task=")))
    print(f"{trial.number + 1:3} {trial.how.name}, {told}: {fault or 'equal'} ({row})", flush=True)
    return fault is None


def at_a_call(trial: Trial, folder: Path, calls: int, rng: random.Random) -> tuple[Forked, str]:
    """Signal a process inside a call; an earlier one if it had ended by then.

    The undisturbed run, which counted, may have prepared text that this one finds ready.
    """
    most = calls
    while True:
        call = rng.randint(1, most)
        moment = {"place": trial.moment, "call": call, "signal": int(trial.how)}
        process = forked(trial.job, folder, **moment)
        if process.wait(TIMEOUT_S) or trial.how != signal.SIGKILL or call == 1:
            return process, f"{trial.moment} ({call} of {calls})"
        process.communicate(timeout=TIMEOUT_S)
        shutil.rmtree(folder)
        most = call - 1


def at_any_time(trial: Trial, folder: Path, share: float) -> tuple[Forked, str]:
    """Signal a process after a share of its life; the next one sooner if it had ended by then."""
    after = share * trial.job.seconds
    while True:
        process = forked(trial.job, folder)
        time.sleep(after)
        if process.poll() is None:
            process.send_signal(trial.how)
            return process, f"after {after:.2f} s"
        process.communicate(timeout=TIMEOUT_S)
        shutil.rmtree(folder)
        after *= 0.8


def rows_in(folder: Path) -> int:
    rows = folder / "metrics.jsonl"
    return len(rows.read_text(errors="replace").splitlines()) if rows.exists() else 0


if __name__ == "__main__":
    sys.exit(main())
