"""A W&B server on loopback, a disk that fills up, and git repositories."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from wandb_server import WandbServer, variables_apart  # beside this file


@pytest.fixture
def wandb_server():
    server = WandbServer()
    yield server
    server.stop()
    assert not server.errors


@pytest.fixture
def apart():
    """Variables that keep the SDK to a server and a home of its own: apart(folder, url, key)."""
    return variables_apart


@pytest.fixture
def full_disk(monkeypatch):
    """A switch: ``full_disk(room)`` lets ``room`` more bytes be written, ``None`` any number."""
    left = {"room": None}
    real = os.write

    def write(descriptor, data):
        if left["room"] is None:
            return real(descriptor, data)
        if left["room"] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(descriptor, bytes(data)[: left["room"]])
        left["room"] -= written
        return written

    def fsync(descriptor):
        if left["room"] is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def switch(room=0):
        left["room"] = room

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "fsync", fsync)
    return switch


@pytest.fixture
def git():
    """Runs ``git(folder, *arguments)`` apart from this machine's settings."""
    names = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    apart = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def run(folder, *arguments):
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | dict.fromkeys(names, "a@b") | apart,
        ).stdout.strip()

    return run


@pytest.fixture
def repository(tmp_path, git):
    """A git repository on branch trunk with one commit of a.py."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "a.py").write_text("x = 1\n")
    git(folder, "add", "a.py")
    git(folder, "commit", "-q", "-m", "first")
    return folder
