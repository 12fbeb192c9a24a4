"""Several processes of one run: they start, fail and end together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SMALL = [
    "budget=smoke",
    "budget.train_tokens=2048",
    "budget.train_bytes=20000",
    "budget.eval_bytes=2000",
    "tracking=disabled",
]
DDP = ["trainer=ddp", "trainer.accelerator=cpu"]
COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; main()", "train"]


@pytest.fixture
def start(tmp_path):
    """A command of two processes, ended with the test."""
    started = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [*COMMAND, *SMALL, *DDP, *arguments]
        started.append(subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def workers(parent: int) -> list[int]:
    """The run's processes, in the order of their ranks."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [
        int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()
    ]


def wait_for(condition, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def trains(folder: Path) -> bool:
    rows = folder / "metrics.jsonl"
    return rows.exists() and "train/loss_nats" in rows.read_text()


LONG = ["budget.train_tokens=50000000", "callbacks.metrics.every=5"]


@pytest.mark.slow
def test_a_multirun_of_two_processes_each(start, tmp_path, read_json):
    process = start("-m", "seed=1,2", f"output={tmp_path / 'm'}")
    said, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    found = [read_json(tmp_path / f"m/{job}/status.json") for job in "01"]
    assert [status["state"] for status in found] == ["done", "done"]
    assert found[0]["id"] != found[1]["id"]
    assert said.count("val/bits_per_byte") == 2


@pytest.mark.slow
def test_an_error_of_ours_is_told_once_without_a_traceback(start, tmp_path, read_json):
    (tmp_path / "empty.txt").write_text("")
    process = start("data=files", "data.paths=[empty.txt]", f"output={tmp_path / 'out'}")
    complaint = process.communicate(timeout=240)[1]
    assert process.returncode == 1
    assert "Traceback" not in complaint
    assert complaint.count("lm-research train:") == 1
    assert read_json(tmp_path / "out/status.json")["state"] == "failed"


@pytest.mark.slow
def test_a_killed_process_ends_the_run(start, tmp_path, read_json):
    out = tmp_path / "out"
    process = start(*LONG, f"output={out}")
    wait_for(lambda: trains(out))
    os.kill(workers(process.pid)[1], signal.SIGKILL)
    complaint = process.communicate(timeout=240)[1]
    assert process.returncode == 1
    assert "process 1 terminated with signal SIGKILL" in complaint
    assert read_json(out / "status.json")["state"] == "failed"


@pytest.mark.slow
def test_a_process_that_hangs_is_given_up_and_named(start, tmp_path, read_json):
    out = tmp_path / "out"
    process = start(*LONG, "process_timeout=5", f"output={out}")
    wait_for(lambda: trains(out))
    pids = workers(process.pid)
    os.kill(pids[1], signal.SIGSTOP)
    complaint = process.communicate(timeout=90)[1]
    assert process.returncode == 1
    assert "process 1 of 2 did not answer for 5 s (process_timeout)" in complaint.splitlines()[-1]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert read_json(out / "status.json")["state"] == "failed"
    assert "did not answer" in read_json(out / "status.json")["error"]


@pytest.mark.slow
def test_an_interrupt_reaches_every_process(start, tmp_path, read_json):
    out = tmp_path / "out"
    process = start(*LONG, f"output={out}")
    wait_for(lambda: trains(out))
    pids = workers(process.pid)
    os.kill(process.pid, signal.SIGINT)  # not the group, as a terminal would
    process.communicate(timeout=240)
    assert process.returncode == 130
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert read_json(out / "status.json")["state"] == "interrupted"


def rows(folder: Path) -> list[dict]:
    clock = ("seconds", "perf/tokens_per_s")
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in clock} for line in lines]


@pytest.mark.slow
@pytest.mark.slow
def test_a_cut_run_of_two_processes_continues_bit_for_bit(start, tmp_path, read_json):
    """SIGTERM to the parent alone: both save what they have, and go on as if nothing had been."""
    options = ["budget.train_tokens=100000", "callbacks.metrics.every=5", "model.dropout=0.2"]
    options += ["model.num_layers=2", "averaging=ema"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    start(*options, f"output={whole}").communicate(timeout=120)
    process = start(*options, f"output={cut}")
    wait_for(lambda: trains(cut))
    os.kill(process.pid, signal.SIGTERM)
    complaint = process.communicate(timeout=240)[1]
    assert process.returncode == os.EX_TEMPFAIL, complaint
    assert f"output={cut}" in complaint
    assert read_json(cut / "status.json")["state"] == "interrupted"
    complaint = start(*options, f"output={cut}").communicate(timeout=120)[1]
    assert read_json(cut / "status.json")["state"] == "done", complaint
    assert rows(cut) == rows(whole)
