"""What 10,000 runs cost to list, compare, export and report.

    python benchmarks/ledger.py [--runs 10000] [--folder FOLDER] [--json FILE]

One tiny run is trained by the real command. Its folder is copied, with other options, seeds, times
and numbers from a known model: 5 sources x 4 vectorizers x 5 models x 10 learning rates x seeds.
Every figure is of a process of its own, imports included: CPU seconds, wall seconds, peak memory.
On a busy machine CPU seconds grow, too: `yaml_ms`, what one of the configurations takes to be read
as a whole, is measured before each, and says by how much.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ledger_suite.folders import make_folders

from lm_research.config.untrusted import load_yaml

COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; main()"]
LIMIT_S, LIMIT_MB = 5.0, 500.0


def measured(name: str, *arguments: str) -> dict:
    """Run one command; its output is thrown away."""
    busy = yaml_ms(arguments)
    began = time.perf_counter()
    child = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    result = {
        "what": name,
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "wall_s": round(time.perf_counter() - began, 2),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "yaml_ms": busy,
    }
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{name}: exit code {os.waitstatus_to_exitcode(status)}")
    print("  ".join(f"{key} {value}" for key, value in result.items()), flush=True)
    return result


def yaml_ms(arguments: Sequence[str]) -> float | None:
    """CPU milliseconds of reading one configuration: the median of 50."""
    folders = [Path(a.removeprefix("runs=")) for a in arguments if a.startswith("runs=")]
    if not folders:
        return None
    text = next(folders[0].glob("*/config.yaml")).read_bytes()
    times = []
    for _ in range(50):
        began = time.process_time()
        load_yaml(text)
        times.append(time.process_time() - began)
    return round(1000 * statistics.median(times), 2)


def measure(folder: Path, out: Path) -> list[dict]:
    """Cold and warm figures for the runs in ``folder``."""
    runs, ledger = f"runs={folder}", folder / "ledger.sqlite"
    ledger.unlink(missing_ok=True)
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    found = [
        measured("imports alone", "runs", "--help"),
        measured("cold: list", "runs", "list", runs),
        measured("list", "runs", "list", runs),
        measured("list, sorted", "runs", "list", runs, "model=lstm", "sort=val/bits_per_byte"),
        measured("list, all", "runs", "list", runs, "limit=null"),
        measured("compare", "runs", "compare", names[0], names[-1], runs),
    ]
    for form in ("csv", "json", "parquet"):
        file = out / f"runs.{form}"
        found.append(measured(f"export {form}", "runs", "export", runs, f"output={file}"))
    file = out / "metrics.csv"
    found.append(
        measured("export metrics", "runs", "export", runs, "rows=metrics", f"output={file}")
    )
    found.append(measured("report", "report", runs, f"output={out / 'report.html'}"))
    return [*found, {"what": "ledger file", "mb": round(ledger.stat().st_size / 1e6, 1)}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="keep the folders here, or use those there")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "runs"
        if not folder.exists():
            make_folders(folder, options.runs)
        found = measure(folder, Path(scratch))
    late = [
        row["what"]
        for row in found
        if row.get("cpu_s", 0) > LIMIT_S or row.get("peak_mb", 0) > LIMIT_MB
    ]
    print(f"over {LIMIT_S} CPU s or {LIMIT_MB} MB: {', '.join(late) or 'none'}")
    if options.json:
        where = {"python": platform.python_version(), "cores": os.cpu_count()}
        record = {"runs": options.runs, "date": time.strftime("%Y-%m-%d"), **where, "rows": found}
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
