"""Files that nobody meant, read by everything that reads files.

    python benchmarks/fuzz.py --inputs 100000 --seconds 1200
    python benchmarks/fuzz.py --inputs 2000 --seconds 60 --only configs,vectors

Every target mutates real files, as bytes and as values (hypothesis draws the mutations), and reads
them. An error of ours, or one that the reader promises, is what should happen; anything else, a
reader that takes more than ten seconds, and a process that dies are findings. Each target runs in a
process of its own. Prints target, inputs, seconds and findings; exits with 1 if there are any.
"""

import argparse
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

PATIENCE_S = 10
BATCH = 50
MUTATIONS = 20
"""Inputs for each random generator that hypothesis draws: drawing costs more than most reading."""
MEMORY_DISK = Path("/dev/shm")
MEMORY = 8 << 30  # bytes of address space: an input that asks for more is a finding


class HangError(BaseException):
    """An input that was not read in time; not an Exception, so that nobody catches it."""


def hang(*_: Any) -> None:
    raise HangError


def fuzz(name: str, inputs: int, seconds: float, folder: Path, start: int = 0) -> dict[str, Any]:
    """Read ``inputs`` mutations, for ``seconds`` at most; returns counts and findings."""
    from fuzz_suite.targets import TARGETS

    target = TARGETS[name](folder)
    findings: dict[str, str] = {}
    done, begun = 0, time.monotonic()
    signal.signal(signal.SIGALRM, hang)

    def once(random: Any) -> None:
        for _ in range(MUTATIONS):
            if done < inputs and time.monotonic() - begun < seconds:
                one(random)

    def one(random: Any) -> None:
        nonlocal done
        done += 1
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
        try:
            target.once(random)
        except target.allowed:
            pass
        except BaseException as error:
            note(findings, error, folder)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    batch = start
    while done < inputs and time.monotonic() - begun < seconds:
        rules = settings(
            max_examples=BATCH, database=None, deadline=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        seed(batch)(rules(given(st.randoms(use_true_random=True))(once)))()
        batch += 1
    return {"inputs": done, "seconds": time.monotonic() - begun, "findings": findings}


def note(findings: dict[str, str], error: BaseException, folder: Path) -> None:
    """One finding a place in the code, with its first input kept beside the others."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "lm_research" in frame.filename] or frames
    place = f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"
    if place not in findings:
        findings[place] = str(error)[:200]
        keep = folder.parent / f"finding-{len(findings)}"
        keep.mkdir(exist_ok=True)
        os.system(f"cp -r '{folder}' '{keep}' 2>/dev/null")


def process(name: str, inputs: int, seconds: float, place: str, start: int) -> None:
    """A target's process; it leaves what it found in ``place``."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    folder = Path(place) / "files"
    folder.mkdir()
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        result = fuzz(name, inputs, seconds, folder, start)
    except BaseException as error:
        result = {"inputs": 0, "seconds": 0.0, "findings": {"the target": traceback.format_exc()}}
        del error
    (Path(place) / "result.json").write_text(json.dumps(result))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="a target")
    parser.add_argument("--seconds", type=float, default=600.0, help="a target, at most")
    parser.add_argument("--only", default="", help="targets, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="first batch of mutations")
    options = parser.parse_args()
    from fuzz_suite.targets import TARGETS

    names = [n.strip() for n in options.only.split(",") if n.strip()] or list(TARGETS)
    found = 0
    print(f"{'target':14}{'inputs':>9}{'seconds':>9}  findings")
    for name in names:
        place = tempfile.mkdtemp(prefix="fuzz-", dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None)
        arguments = (name, options.inputs, options.seconds, place, options.seed)
        child = multiprocessing.get_context("spawn").Process(target=process, args=arguments)
        child.start()
        child.join()
        file = Path(place) / "result.json"
        result = {
            "inputs": 0,
            "seconds": 0.0,
            "findings": {f"the process died: {child.exitcode}": ""},
        }
        if file.exists():
            result = json.loads(file.read_text())
        findings = result["findings"]
        found += len(findings)
        told = f"{len(findings)}, files in {place}" if findings else "none"
        print(f"{name:14}{result['inputs']:9,}{result['seconds']:9.0f}  {told}", flush=True)
        for where, what in findings.items():
            print(f"    {where}: {what}", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
