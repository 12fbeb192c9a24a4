"""A study whose processes are killed at random times must end as if nothing had happened.

    python benchmarks/sweep_chaos.py --kills 100

A study of twenty small runs is started again and again; at random moments kill -9 meets the command
itself, one of its workers, or one of its runs. Started once more whenever it has ended, it must end
with every job done, once, each step in metrics.jsonl once, and rows, scores and checkpoints bit for
bit those of a study that was left alone, clocks aside. Where a study is done before all kills are
spent, another one begins. Prints a line a kill and the sum; exits with 1 if anything differs.
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
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from chaos_suite.equality import difference

STUDY = """
defaults:
  - override /budget: smoke
  - override /callbacks: quiet
  - override /trainer: cpu
  - override /tracking: disabled
  - override /data: files
  - override /hydra/launcher: joblib
  - override /hydra/hydra_logging: none
  - override /hydra/job_logging: none
sweep:
  {name: chaos, title: Chaos, question: Does it end?, metric: val/bits_per_byte,
  direction: minimize, report: report.html, seeds: 2,
  grid: {model: [rnn, lstm, gru, cnn, ngram], vectorizer: [embedding, one_hot]}}
data: {paths: [text.txt], document: paragraph}
budget: {train_tokens: 12800, batch_size: 4, window: 16, hidden_size: 16, eval_bytes: 1000}
callbacks: {metrics: {every: 7}, checkpoint: {every: 25}, samples: {length: 5}}
trainer: {threads: 1}
output: chaos
"""
TEXT = "\n\n".join(
    f"On day {i} the cat saw {i * i} mice, and {i % 7} got away." for i in range(900)
)
COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; main()"]
JOBS = 20
MOST_STARTS = 50
"""A study that is left alone and still not done after so many starts never will be."""


@dataclass(frozen=True)
class Victim:
    """A process of the study."""

    pid: int
    kind: str


def main() -> int:
    options = arguments()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="sweep-chaos-") as name:
        place = Path(name)
        (place / "sweeps").mkdir()
        (place / "sweeps/chaos.yaml").write_text(STUDY)
        (place / "text.txt").write_text(TEXT)
        began = time.monotonic()
        finish(place, "whole")
        alone = time.monotonic() - began
        print(f"left alone: {alone:.0f} s, {JOBS} jobs", flush=True)
        faults, kills, number = [], 0, 0
        while kills < options.kills:
            number += 1
            kills = disturbed(place, f"study-{number}", kills, options.kills, alone / 2, rng)
            found = compared(place / "whole", place / f"study-{number}")
            print(*(found or [f"study-{number}: as it should be"]), sep="\n", flush=True)
            faults += found
            shutil.rmtree(place / f"study-{number}")
    sound = "every job done once, bitwise equal" if not faults else f"{len(faults)} faults"
    print(f"{kills} kills over {number} studies of {JOBS} jobs: {sound}")
    return 1 if faults else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the victims")
    return parser.parse_args()


def start(place: Path, output: str) -> subprocess.Popen[str]:
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [*COMMAND, "sweep", "sweep=chaos", f"output={output}"]
    return subprocess.Popen(
        command, cwd=place, env=environment, text=True, start_new_session=True, **streams
    )


def finish(place: Path, output: str) -> None:
    """Start the study until it says that all is done."""
    for _ in range(MOST_STARTS):
        process = start(place, output)
        _, complaint = process.communicate()
        if process.returncode == 0:
            return
    raise RuntimeError(f"never done: {complaint}")


def disturbed(
    place: Path, output: str, kills: int, most: int, life: float, rng: random.Random
) -> int:
    """One study from its beginning to its end; how many kills there were by then.

    Args:
        life: seconds to the next kill, at most. It goes by the machine's pace: where nothing lives
            long enough to begin a run, nothing is tried.
    """
    while True:
        process, began = start(place, output), time.monotonic()
        while process.poll() is None and kills < most:
            time.sleep(rng.uniform(0.2, life))
            if victim := chosen(process.pid, rng):
                os.kill(victim.pid, signal.SIGKILL)
                kills += 1
                after = time.monotonic() - began
                states = dict(Counter(states_of(place / output)))
                print(f"{kills:3} {victim.kind} after {after:.1f} s, {states}", flush=True)
        _, complaint = process.communicate()
        if process.returncode == 0:
            return kills
        if process.returncode > 0:  # it was not killed itself: it says why it ended
            print("    ".join(["", *complaint.splitlines(True)[-3:]]).rstrip(), flush=True)
        if kills >= most:
            finish(place, output)
            return kills


def chosen(session: int, rng: random.Random) -> Victim | None:
    """A living process of the session: a kind first, as runs are more than commands."""
    found = list(processes(session))
    kinds = sorted({victim.kind for victim in found})
    if not kinds:
        return None
    kind = rng.choice(kinds)
    return rng.choice([victim for victim in found if victim.kind == kind])


def processes(session: int) -> list[Victim]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # pid (name) state parent group session: the name may hold anything
            state, _, group, own = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        pid = int(folder.name)
        if int(own) == session and state != "Z":
            kind = "the command" if pid == session else "a run" if int(group) == pid else "a worker"
            found.append(Victim(pid, kind))
    return found


def states_of(folder: Path) -> list[str]:
    found = []
    for file in folder.glob("*/status.json"):
        try:
            found.append(json.loads(file.read_text())["state"])
        except (OSError, ValueError):
            continue
    return found


def compared(whole: Path, study: Path) -> list[str]:
    """What is not as it is in the study that was left alone."""
    names = sorted(folder.name for folder in whole.iterdir() if folder.is_dir())
    own = sorted(folder.name for folder in study.iterdir() if folder.is_dir())
    if names != own or len(names) != JOBS:
        return [f"{study.name}: jobs {sorted(set(names) ^ set(own))}"]
    faults = []
    for name in names:
        if fault := difference(whole / name, study / name) or doubled(study / name):
            faults.append(f"{study.name}/{name}: {fault}")
    return faults


def doubled(run: Path) -> str | None:
    """A step has one row of each kind, told by the names of its numbers."""
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    seen = Counter((row["step"], *sorted(row)) for row in rows)
    twice = [str(step) for (step, *_), count in seen.items() if count > 1]
    return f"steps twice: {', '.join(twice)}" if twice else None


if __name__ == "__main__":
    sys.exit(main())
