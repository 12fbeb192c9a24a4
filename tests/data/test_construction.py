"""Folders under construction: leftovers of the dead go, the living stay; fsync, then rename."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lm_research.data import construction
from lm_research.data.construction import begin, clear_leftovers
from lm_research.data.token_store import StoreWriter

BUILDER = """
import sys, time
from pathlib import Path
import numpy as np
from lm_research.data.token_store import StoreWriter
writer = StoreWriter(Path(sys.argv[1]) / "store", 300, 0)
writer.add("train", np.arange(1, 200), 199, 1, 0.0)
print(writer.folder.name, flush=True)
sys.stdin.readline()
print(writer.finish({}).folder.name, flush=True)
"""


def start_builder(folder: Path) -> tuple[subprocess.Popen, str]:
    """A process that builds a store and waits for a line before it finishes."""
    command = [sys.executable, "-c", BUILDER, str(folder)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    return process, process.stdout.readline().strip()


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_killed_builders_folder_goes_and_a_living_ones_stays(tmp_path: Path) -> None:
    (dead, killed), (living, stays) = start_builder(tmp_path), start_builder(tmp_path)
    try:
        assert {killed, stays} <= set(names(tmp_path))
        dead.send_signal(signal.SIGKILL)
        assert dead.wait(timeout=30) == -signal.SIGKILL
        StoreWriter(tmp_path / "another", 300, 0).discard()
        assert names(tmp_path) == [stays]
        output, _ = living.communicate("go on\n", timeout=30)
        assert output.strip() == "store"
        assert names(tmp_path) == ["store"]
    finally:
        for process in (dead, living):
            process.kill()
            process.communicate()


def test_what_is_not_under_construction_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "mine.tmp").mkdir()
    (tmp_path / "store.12345678.tmp").write_text("a file")
    clear_leftovers(tmp_path, "lock")
    assert names(tmp_path) == ["mine.tmp", "store", "store.12345678.tmp"]


@pytest.mark.parametrize("files", [[], ["lock"], ["lock", "other"]], ids=str)
def test_a_leftover_goes_whenever_its_builder_died(tmp_path: Path, files: list[str]) -> None:
    leftover = tmp_path / "store.12345678.tmp"
    leftover.mkdir()
    for name in files:
        (leftover / name).write_text("half")
    clear_leftovers(tmp_path, "lock")
    assert names(tmp_path) == []


def test_a_folder_that_another_builder_clears_too_early_is_made_again(
    tmp_path: Path, monkeypatch
) -> None:
    lock, times = construction._lock, []

    def late(file) -> None:
        if not times:  # between making the file and locking it, another builder begins
            times.append(1)
            clear_leftovers(tmp_path, "lock")
        lock(file)

    monkeypatch.setattr(construction, "_lock", late)
    folder, file = begin(tmp_path / "store", "lock")
    with file:
        assert times
        assert names(tmp_path) == [folder.name]
        clear_leftovers(tmp_path, "lock")
        assert names(tmp_path) == [folder.name]


def test_everything_is_on_the_disk_before_the_store_has_its_name(
    tmp_path: Path, monkeypatch
) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        size = path.stat().st_size if path.is_file() else 0
        events.append(f"{path.name} {size}" if path.is_file() else path.name)
        fsync(descriptor)

    def note_rename(source: Path, target: Path) -> None:
        events.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    writer = StoreWriter(tmp_path / "store", 300, 0)
    writer.add("train", np.arange(1, 200), 199, 1, 0.0)
    writer.write_json("tokenizer", {"pieces": []})
    folder = writer.folder.name
    store = writer.finish({})
    files = {f"{p.name} {p.stat().st_size}" for p in store.folder.iterdir()}
    moment = events.index("rename")
    assert set(events[: moment - 1]) == files  # each with all its bytes
    assert events[moment - 1 :] == [folder, "rename", tmp_path.name]
