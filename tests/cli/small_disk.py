"""Runs on a disk of a few kilobytes; a script for tests, in a mount namespace of its own.

    unshare -Urm python tests/cli/small_disk.py PLACE FREE_KIB,FREE_KIB,... OVERRIDE ...

For each amount of free space the run is tried, then tried again with room enough. Prints one JSON
object an amount: exit codes, what was said, and the folder's content each time.
"""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import torch

from lm_research.cli import job as _imported_once  # noqa: F401 - heavy, shared by the forks
from lm_research.cli import train
from lm_research.cli.main import main as main_of_command
from lm_research.tracking.checkpoint_store import CheckpointStore

CLOCK = ("seconds", "perf/tokens_per_s")


def main() -> None:
    place, sizes, *overrides = sys.argv[1:]
    disk = Path(place)
    train.ROOM = 0  # the look before the start would meet every disk that is full from the start
    for size in map(int, sizes.split(",")):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", place], check=True)
        tries = [attempt(disk / "run", overrides)]
        subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
        tries.append(attempt(disk / "run", overrides))
        subprocess.run(["umount", place], check=True)
        print(json.dumps({"size": size, "tries": tries}), flush=True)


def attempt(folder: Path, overrides: list[str]) -> dict:
    """The command in a process of its own, which has its imports already."""
    said = folder.parent.with_suffix(".said")
    child = os.fork()
    if not child:
        with said.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os._exit(command([*overrides, f"output={folder}"]))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"code": code, "said": said.read_text(), **content(folder)}


def command(arguments: list[str]) -> int:
    try:
        main_of_command(["train", *arguments])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 70


def content(folder: Path) -> dict:
    store = CheckpointStore(folder / "checkpoints")
    status = folder / "status.json"
    return {
        "state": json.loads(status.read_text())["state"] if status.exists() else None,
        "rows": rows(folder / "metrics.jsonl"),
        "samples": rows(folder / "samples.jsonl"),
        "checkpoints": [[entry.step, fault] for entry, fault in store.whole()],
        "parts": [file.name for file in folder.rglob("*.part")],
        "weights": weights(store) if store.entries() else None,
    }


def rows(file: Path) -> list[dict]:
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [{key: value for key, value in row.items() if key not in CLOCK} for row in found]


def weights(store: CheckpointStore) -> str:
    saved = torch.load(store.path("last"), weights_only=True)
    return str(
        [(name, tensor.double().sum().item()) for name, tensor in saved["state_dict"].items()]
    )


if __name__ == "__main__":
    main()
