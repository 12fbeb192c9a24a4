"""The runs of a study in one folder for `wandb leet`: links to W&B's files, and real ones in it."""

import fcntl
import os
import pty
import select
import shutil
import struct
import sys
import termios
import time
from pathlib import Path

import pytest

from lm_research.tracking.links import refuse_links_of_all
from lm_research.tracking.wandb_leet import leet_command

CLI = [sys.executable, "-c", "from wandb.cli.cli import cli; cli()", "leet"]


@pytest.fixture
def study(tmp_path):
    for number in (1, 2):
        place = (
            tmp_path / f"study/seed-{number}/wandb/offline-run-20261128_12000{number}-abc{number}"
        )
        place.mkdir(parents=True)
        (place / f"run-abc{number}.wandb").write_bytes(b"")
        (place.parent / "latest-run").symlink_to(place.name)
    (tmp_path / "study/seed-3").mkdir()
    return tmp_path / "study"


def names(study: Path) -> list[str]:
    return sorted(entry.name for entry in (study / "wandb").iterdir())


def test_every_run_that_wandb_has_is_linked_once_and_what_is_gone_is_not(study):
    first = ["offline-run-20261128_120001-abc1", "offline-run-20261128_120002-abc2"]
    for _ in range(2):
        assert leet_command(study) == f"wandb leet {study / 'wandb'}"
        assert names(study) == first
    assert (study / "wandb" / first[0] / "run-abc1.wandb").is_file()
    refuse_links_of_all(study)  # a study that has them goes on
    shutil.rmtree(study / "seed-1")
    study = study.rename(study.parent / "moved")
    assert leet_command(study)
    assert names(study) == first[1:]
    assert (study / "wandb" / first[1] / "run-abc2.wandb").is_file()


def test_one_run_has_its_own_folder_and_without_files_there_is_nothing_to_say(study, tmp_path):
    run = study / "seed-1"
    assert leet_command(run) == f"wandb leet {run / 'wandb'}"
    assert leet_command(study / "seed-3") is None
    assert leet_command(tmp_path / "absent") is None
    assert leet_command(study.parent)  # a folder of studies


def on_a_terminal(command: list[str], until: bytes) -> bytes:
    """What the command draws on a terminal of 150 x 45, until that is there or time is up."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "WANDB_MODE": "offline"}
        os.execv(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 45, 150, 0, 0))
    drawn, deadline = b"", time.monotonic() + 60
    while until not in drawn and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            chunk = os.read(terminal, 65536)
            if b"\x1b]11;?" in chunk:  # it asks for the colour behind it
                os.write(terminal, b"\x1b]11;rgb:0000/0000/0000\x1b\\")
            drawn += chunk
    os.write(terminal, b"q")
    os.kill(pid, 15)
    os.waitpid(pid, 0)
    os.close(terminal)
    return drawn


@pytest.mark.slow
def test_leet_draws_the_runs_of_a_study(tmp_path, train):
    for seed in (1, 2):
        train("tracking=offline", f"seed={seed}", output=f"study/seed-{seed}")
    command = leet_command(tmp_path / "study")
    drawn = on_a_terminal([*CLI, command.split()[-1]], b"train/loss_nats")  # on the first page
    assert b"[2 items]" in drawn
    assert b"train/loss_nats" in drawn
