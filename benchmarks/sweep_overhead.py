"""What a study costs beside its training.

    python benchmarks/sweep_overhead.py --jobs 200

The same smoke-size runs twice, at the same time, so that both meet the same noise of the machine:
as a study (plan, launcher, a process a run, report), and one by one in processes that compose
nothing and report nothing, as little as they can cost. Both sides have one process a core,
and leave the same rows, which is checked first. Prints the CPU seconds of each and the share beside
training; writes benchmarks/results/sweep_overhead.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

from chaos_suite.equality import difference

STUDY = """
defaults:
  - override /budget: smoke
  - override /callbacks: quiet
  - override /trainer: cpu
  - override /tracking: disabled
  - override /hydra/launcher: joblib
  - override /hydra/hydra_logging: none
  - override /hydra/job_logging: none
sweep:
  {{name: overhead, title: Overhead, question: What does a study cost?,
  metric: val/bits_per_byte, direction: minimize, report: report.html, seeds: {seeds},
  grid: {{model: [rnn, lstm, gru, cnn], vectorizer: [embedding, one_hot]}}}}
trainer: {{threads: 1}}
output: study
"""
SETTINGS = 8
CORES = len(os.sched_getaffinity(0))
PLAN = """
import json
from lm_research.cli.sweep import planned_study
jobs = planned_study(["sweep=overhead", "cache=cache"]).planned
print(json.dumps([{"folder": one.job.folder, "config": one.config} for one in jobs]))
"""
BARE = """
import json, sys
from pathlib import Path
from lm_research.cli.job import run
jobs = json.loads(Path("jobs.json").read_text())
for job in jobs[int(sys.argv[1])::int(sys.argv[2])]:
    run(job["config"], Path(sys.argv[3]) / job["folder"])
"""
COMMAND = "from lm_research.cli.main import main; main()"
RESULT = Path(__file__).parent / "results/sweep_overhead.json"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=200, help=f"a multiple of {SETTINGS}")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    shares = []
    for number in range(options.rounds):
        study, bare = measured(options.jobs)
        shares.append(1 - bare / study)
        print(
            f"round {number + 1}: {study / options.jobs - bare / options.jobs:.2f} s a job beside "
            f"training: {shares[-1]:.1%}",
            flush=True,
        )
    keep(options.jobs, shares)
    print(f"{median(shares):.1%} of the CPU of {options.jobs} jobs is beside training")
    return 0


def measured(jobs: int) -> tuple[float, float]:
    """CPU seconds of the study, and of its runs alone, whose results are the same."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as name:
        place = Path(name)
        (place / "sweeps").mkdir()
        (place / "sweeps/overhead.yaml").write_text(STUDY.format(seeds=jobs // SETTINGS))
        (place / "jobs.json").write_text(started(place, PLAN).communicate()[0])
        # The text is prepared once, for both.
        cpu(place, [started(place, BARE, "0", str(jobs), "first")])
        study = [started(place, COMMAND, "sweep", "sweep=overhead", "cache=cache")]
        bare = [started(place, BARE, str(n), str(CORES), "bare") for n in range(CORES)]
        seconds = cpu(place, study), cpu(place, bare)
        for folder in sorted((place / "bare").iterdir()):
            if fault := difference(folder, place / "study" / folder.name):
                raise AssertionError(f"{folder.name}: {fault}")
        if (found := len(list((place / "bare").iterdir()))) != jobs:
            raise AssertionError(f"{found} jobs")
        print(f"study {seconds[0]:.1f} s, training alone {seconds[1]:.1f} s of CPU", flush=True)
        return seconds


def started(place: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with open(place / "complaints.txt", "a", encoding="utf-8") as complaints:
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=place, env=environment, text=True, stderr=complaints,
            stdout=subprocess.PIPE if code == PLAN else subprocess.DEVNULL,
        )  # fmt: skip


def cpu(place: Path, processes: list[subprocess.Popen[str]]) -> float:
    """User and system seconds of processes and all that they have started, once they have ended."""
    seconds = 0.0
    for process in processes:
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError((place / "complaints.txt").read_text(encoding="utf-8")[-4000:])
        seconds += usage.ru_utime + usage.ru_stime
    return seconds


def keep(jobs: int, shares: list[float]) -> None:
    RESULT.write_text(
        json.dumps(
            {
                "jobs": jobs,
                "share_beside_training": shares,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "python": platform.python_version(),
                "torch": version("torch"),
                "date": date.today().isoformat(),
            },
            indent=2,
        )
        + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
