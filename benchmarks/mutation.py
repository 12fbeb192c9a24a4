"""Would a fault in the numbers be noticed? Mutation testing of what computes them.

    python benchmarks/mutation.py              continues where it was stopped
    python benchmarks/mutation.py --survivors  tests again what survived, after tests were written

mutmut changes one operator, constant or argument at a time in the modules that `[tool.mutmut]` of
pyproject.toml names and runs the tests that reach the changed function; a change that no test
notices survives. Prints killed of all by module and by group, and writes results/mutation.json;
exits with 1 where a group is below its goal. To begin anew, delete mutants/. What the survivors
are: docs/mutation.md; `mutmut show NAME` shows one.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import sysconfig
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path

from lm_research.tracking.environment import environment
from lm_research.tracking.git_state import git_state

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks/results/mutation.json"
MUTMUT = Path(sysconfig.get_path("scripts")) / "mutmut"
STATS = ROOT / "mutants/mutmut-stats.json"
GOAL = 0.8
GROUPS = {
    "metrics": "lm_research.metrics.",
    "statistics": "lm_research.analysis.",
    "batching": "lm_research.data.",
    "vectorizers": "lm_research.vectorizers.",
}
NOTICED = ("killed", "timeout", "segfault")

Counts = dict[str, Counter[str]]


def mutmut(*arguments: str, capture: bool = False) -> str:
    found = subprocess.run(
        [MUTMUT, *arguments],
        cwd=ROOT,
        # numba cannot compile what mutmut has changed; as Python its loops are tried, too.
        env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_DISABLE_JIT": "1"},
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=True,
    )
    return found.stdout or ""


def verdicts() -> dict[str, str]:
    """Mutants by name (module.function__mutmut_number) -> killed, survived, no tests, ..."""
    lines = mutmut("results", "--all", "true", capture=True).splitlines()
    return dict(line.strip().split(": ", 1) for line in lines if ": " in line)


def survivors(verdicts: dict[str, str]) -> list[str]:
    return [name for name, verdict in verdicts.items() if verdict not in (*NOTICED, "not checked")]


def counts_by(verdicts: dict[str, str], key) -> Counts:
    counts: Counts = defaultdict(Counter)
    for name, verdict in verdicts.items():
        counts[key(name)][verdict] += 1
    return dict(sorted(counts.items()))


def module_of(name: str) -> str:
    return name.rpartition(".")[0].removeprefix("lm_research.")


def group_of(name: str) -> str:
    return next(group for group, prefix in GROUPS.items() if name.startswith(prefix))


def noticed_share(counts: Counter[str]) -> float:
    """Of those tried: a run that was stopped leaves some "not checked"."""
    tried = counts.total() - counts["not checked"]
    return sum(counts[verdict] for verdict in NOTICED) / max(tried, 1)


def show(counts: Counts) -> None:
    for name, some in counts.items():
        noticed = sum(some[verdict] for verdict in NOTICED)
        left = f"  {some['not checked']} not yet tried" if some["not checked"] else ""
        tried = some.total() - some["not checked"]
        print(f"{name:32} {noticed:5} of {tried:5}  {noticed_share(some):6.1%}{left}")


def record(verdicts: dict[str, str], by_module: Counts, by_group: Counts) -> None:
    git = git_state(ROOT) or {}
    result = {
        "date": datetime.date.today().isoformat(),
        "command": "python benchmarks/mutation.py",
        "commit": git.get("commit"),
        "uncommitted_changes": git.get("dirty"),
        "machine": environment()["cpu"]["model"],
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("mutmut", "pytest", "hypothesis", "torch")},
        },
        "noticed": {name: round(noticed_share(some), 4) for name, some in by_group.items()},
        "by_group": by_group,
        "by_module": by_module,
        "survivors": survivors(verdicts),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--survivors", action="store_true")
    parser.add_argument("--processes", default="1", help="at a time (default 1)")
    arguments = parser.parse_args()
    if not MUTMUT.exists():
        parser.error("mutmut is not installed: ./install.sh dev,mutation")
    again = survivors(verdicts()) if arguments.survivors else []
    if again:
        STATS.unlink(missing_ok=True)  # which tests reach which function is measured anew
    mutmut("run", "--max-children", arguments.processes, *again)

    found = verdicts()
    by_module, by_group = counts_by(found, module_of), counts_by(found, group_of)
    for counts in (by_module, by_group, counts_by(found, lambda name: "all")):
        print()
        show(counts)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"\n{(used.ru_utime + used.ru_stime) / 60:.0f} CPU minutes; {RESULT.relative_to(ROOT)}")
    record(found, by_module, by_group)
    return int(min(map(noticed_share, by_group.values())) < GOAL)


if __name__ == "__main__":
    sys.exit(main())
