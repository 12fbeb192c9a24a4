import json
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from lm_research.tracking.errors import RunFolderBusyError, RunFolderError
from lm_research.tracking.folder_lock import FolderLock

HOLDER = """
import sys, time
from pathlib import Path
from lm_research.tracking.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_holds_it(tmp_path, holder):
    lock = FolderLock(tmp_path)
    with pytest.raises(RunFolderBusyError, match=f"in use by process {holder.pid} on .*output="):
        lock.acquire()
    assert lock.holder()["pid"] == holder.pid
    assert not lock.held


def test_kill_minus_nine_frees_it(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    lock = FolderLock(tmp_path)
    assert lock.holder() is None
    lock.acquire()
    assert lock.held
    assert lock.holder()["pid"] == os.getpid()
    lock.release()
    assert lock.holder() is None


def test_two_of_one_process_exclude_each_other_too(tmp_path):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    with pytest.raises(RunFolderBusyError, match=str(os.getpid())):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_a_forked_child_neither_holds_nor_frees_it(tmp_path):
    lock = FolderLock(tmp_path)
    lock.acquire()
    context = multiprocessing.get_context("fork")
    child = context.Process(target=lock.release)
    child.start()
    child.join(10)
    assert child.exitcode == 0
    assert lock.holder() is not None

    stay = context.Event()
    orphan = context.Process(target=stay.wait, args=(10,))
    orphan.start()
    lock.release()
    assert lock.holder() is None  # though the child lives
    stay.set()
    orphan.join(10)


def test_somebody_who_looks_does_not_hinder(tmp_path):
    lock = FolderLock(tmp_path)
    lock.acquire()
    lock.release()
    for _ in range(50):
        assert lock.holder() is None
        lock.acquire()
        lock.release()


def test_a_missing_folder_is_an_error_of_ours(tmp_path):
    with pytest.raises(RunFolderError, match="cannot be written"):
        FolderLock(tmp_path / "nowhere").acquire()
    assert FolderLock(tmp_path / "nowhere").holder() is None


UNLOCKED = """
import fcntl
def flock(descriptor, kind):
    raise OSError(37, "No locks available")
fcntl.flock = flock
"""


def no_locks(descriptor, kind):
    raise OSError(37, "No locks available")


@pytest.fixture
def without_locks(tmp_path, monkeypatch):
    """A file system as some network mounts are, here and in a process that holds the folder."""
    monkeypatch.setattr("fcntl.flock", no_locks)
    process = subprocess.Popen(
        [sys.executable, "-c", UNLOCKED + HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_without_locks_a_living_process_counts_and_a_dead_one_does_not(
    tmp_path, without_locks, caplog
):
    lock = FolderLock(tmp_path)
    with pytest.raises(RunFolderBusyError, match=f"in use by process {without_locks.pid} on "):
        lock.acquire()
    assert lock.holder()["pid"] == without_locks.pid
    assert "no locks" in caplog.text
    without_locks.kill()
    without_locks.wait()
    assert lock.holder() is None
    lock.acquire()
    lock.release()
    lock.acquire()
    lock.release()


def test_without_locks_a_number_that_came_again_is_another_process(tmp_path, without_locks):
    file = tmp_path / ".lock"
    signed = json.loads(file.read_text())
    file.write_text(json.dumps({**signed, "ticks": signed["ticks"] - 1}))
    assert FolderLock(tmp_path).holder() is None
    FolderLock(tmp_path).acquire()


def test_without_locks_another_machine_is_let_through(tmp_path, without_locks):
    """Whether its process lives cannot be known, and a dead one must not block for ever."""
    file = tmp_path / ".lock"
    file.write_text(json.dumps({**json.loads(file.read_text()), "host": "elsewhere"}))
    FolderLock(tmp_path).acquire()
