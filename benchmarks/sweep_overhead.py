"""What a study costs beside its training.

    python benchmarks/sweep_overhead.py --jobs 200

The same smoke-size runs, in alternation: as a study (plan, launcher, a process a run, report), and
one after the other in processes that compose nothing and report nothing, which is as little as they
can cost. Both sides use one process a core, as cores at work slow each other down, and both leave
the same rows, which is checked. Prints the CPU seconds of each round, and the share beside
training; writes benchmarks/results/sweep_overhead.json.
"""

import argparse
import json
import os
import platform
import resource
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
BARE = """
import sys
from pathlib import Path
from lm_research.cli.job import run
from lm_research.tracking.config_file import read_config
for folder in sorted(Path("study").glob("*/config.yaml"))[int(sys.argv[1])::int(sys.argv[2])]:
    run(read_config(folder), Path("bare") / folder.parent.name)
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
        command = [COMMAND, "sweep", "sweep=overhead", f"cache={place / 'cache'}"]
        shares = [[BARE, str(number), str(CORES)] for number in range(CORES)]
        seconds = [cpu(place, command), cpu(place, *shares)]
        print(f"study {seconds[0]:.1f} s, training alone {seconds[1]:.1f} s of CPU", flush=True)
        for folder in sorted((place / "bare").iterdir()):
            if fault := difference(folder, place / "study" / folder.name):
                raise AssertionError(f"{folder.name}: {fault}")
        if (found := len(list((place / "bare").iterdir()))) != jobs:
            raise AssertionError(f"{found} jobs")
        return seconds[0], seconds[1]


def cpu(place: Path, *commands: list[str]) -> float:
    """User and system seconds of commands side by side, and of all that they start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with open(place / "said.txt", "w+", encoding="utf-8") as said:
        places = {"cwd": place, "env": environment, "stdout": said, "stderr": said}
        started = [subprocess.Popen([sys.executable, "-c", *c], **places) for c in commands]
        codes = [process.wait() for process in started]
        if any(codes):
            raise RuntimeError((place / "said.txt").read_text()[-4000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


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
