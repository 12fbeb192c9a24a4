"""Runs killed at random moments must end as if nothing had happened.

    python benchmarks/chaos.py --kills 20 --terms 5
    python benchmarks/chaos.py --kills 200 --terms 50      # the long form

Each trial is a small run, ended once by SIGKILL or SIGTERM at a random moment of its life (imports,
training, checkpoints, evaluation, the last lines), then started again by the same command. Its
metrics.jsonl (clocks aside), samples, and last checkpoint (weights, optimizer, everything) must be
those of an undisturbed run, bit for bit. Models, vectorizers and sources take turns. Prints a line
a trial and the sum; exits with 1 if one differs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from lm_research.tracking.checkpoint_store import CheckpointStore

COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; main()", "train"]
SMALL = [
    "budget=smoke",
    "budget.train_tokens=20000",
    "budget.batch_size=4",
    "budget.window=16",
    "budget.hidden_size=16",
    "budget.train_bytes=40000",
    "budget.eval_bytes=4000",
    "callbacks=quiet",
    "callbacks.metrics.every=7",
    "callbacks.checkpoint.every=11",
    "callbacks.samples.length=20",
    "trainer=cpu",
    "trainer.threads=1",
]
JOBS = [
    ["model=rnn", "vectorizer=embedding", "model.dropout=0.2", "model.num_layers=2"],
    ["model=lstm", "vectorizer=one_hot", "scheduler=cosine", "trainer.accumulate=3"],
    ["model=gru", "vectorizer=bag_of_words", "trainer.precision=bf16-mixed"],
    ["model=cnn", "vectorizer=tfidf", "optimizer=sgd"],
    ["model=transformer", "vectorizer=embedding", "data=mixture_en"],
    ["model=lstm", "vectorizer=embedding", "text=word", "task.tie_weights=true"],
    ["model=ngram"],
]
CLOCK = {"seconds", "perf/tokens_per_s"}


def main() -> int:
    arguments = options()
    rng = random.Random(arguments.seed)
    signals = [signal.SIGKILL] * arguments.kills + [signal.SIGTERM] * arguments.terms
    rng.shuffle(signals)
    jobs = list(islice(cycle(range(len(JOBS))), len(signals)))
    print(f"{len(signals)} trials over {len(JOBS)} jobs, seed {arguments.seed}")
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        place = Path(name)
        whole = {job: undisturbed(job, place) for job in track(sorted(set(jobs)), "undisturbed")}
        equal = 0
        for number, (job, how) in enumerate(zip(jobs, signals, strict=True)):
            folder = place / f"trial-{number}"
            reference, seconds = whole[job]
            told = disturb(job, folder, how, rng.uniform(0, seconds))
            difference = differs(reference, folder)
            equal += difference is None
            print(f"{number + 1:3} {JOBS[job][0]:18} {told}: {difference or 'equal'}", flush=True)
    print(f"{equal} of {len(signals)} bitwise equal")
    return 0 if equal == len(signals) else 1


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, help="trials with SIGKILL")
    parser.add_argument("--terms", type=int, default=5, help="trials with SIGTERM")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    return parser.parse_args()


def start(job: int, folder: Path) -> subprocess.Popen[str]:
    command = [*COMMAND, *SMALL, *JOBS[job], f"output={folder}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
    # Without compiled modules most of a run's life is imports, and so would be what is killed.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, start_new_session=True, env=environment, **streams)


def undisturbed(job: int, place: Path) -> tuple[Path, float]:
    """The folder of a run left alone, and how long it took once its text was prepared."""
    for name in (f"first-{job}", f"whole-{job}"):
        began = time.monotonic()
        finish(start(job, place / name))
    return place / name, time.monotonic() - began


def finish(process: subprocess.Popen[str]) -> None:
    said, complaint = process.communicate(timeout=300)
    if process.returncode:
        raise RuntimeError(f"{process.args} ended with {process.returncode}:\n{said}{complaint}")


def disturb(job: int, folder: Path, how: signal.Signals, after: float) -> str:
    """End the run after so many seconds, then let the same command finish it."""
    process = start(job, folder)
    time.sleep(after)
    process.send_signal(how)
    said, complaint = process.communicate(timeout=300)
    step = reached(folder)
    if how == signal.SIGTERM and process.returncode not in (0, os.EX_TEMPFAIL, -signal.SIGTERM):
        raise RuntimeError(f"SIGTERM gave exit {process.returncode}:\n{said}{complaint}")
    finish(start(job, folder))
    return f"{how.name} after {after:5.2f} s, {step}"


def reached(folder: Path) -> str:
    rows = folder / "metrics.jsonl"
    lines = rows.read_text(errors="replace").splitlines() if rows.exists() else []
    return f"{len(lines)} rows written"


def differs(one: Path, other: Path) -> str | None:
    """What is not the same in two finished runs, or None."""
    states = [json.loads((folder / "status.json").read_text())["state"] for folder in (one, other)]
    if states != ["done", "done"]:
        return f"ended as {states[1]}"
    if rows(one) != rows(other):
        return "metrics.jsonl differs"
    if (one / "samples.jsonl").read_bytes() != (other / "samples.jsonl").read_bytes():
        return "samples.jsonl differs"
    return checkpoints_differ(one / "checkpoints", other / "checkpoints")


def rows(folder: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]


def checkpoints_differ(one: Path, other: Path) -> str | None:
    counts = "counts.npz"
    if (one / counts).exists():
        same = (one / counts).read_bytes() == (other / counts).read_bytes()
        return None if same else f"{counts} differs"
    saved = [torch.load(CheckpointStore(f).path("last"), weights_only=True) for f in (one, other)]
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "stream")
    unequal = [part for part in parts if not same_values(*(s.get(part) for s in saved))]
    return f"{', '.join(unequal)} differ" if unequal else None


def same_values(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_values(v, other[k]) for k, v in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_values, one, other))
    return bool(one == other)


if __name__ == "__main__":
    sys.exit(main())
