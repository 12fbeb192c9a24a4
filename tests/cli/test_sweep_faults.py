"""Sweeps whose runs are killed, stopped or out of time: the others go on, and so does the sweep."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; main()"]
STUDY = ["sweep=demo", "data=code", "vectorizer=embedding", "model=rnn", "evaluate_on=[]"]
LASTING = ["budget.train_tokens=30000", "callbacks.checkpoint.every=40"]


@pytest.fixture
def start(tmp_path, tiny):
    started = []

    def begin(verb: str, *arguments: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [*COMMAND, verb, *tiny, *arguments, "output=out"]
        started.append(subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def statuses(tmp_path):
    def statuses() -> dict[str, dict]:
        files = sorted((tmp_path / "out").glob("*/status.json"))
        return {file.parent.name: json.loads(file.read_text()) for file in files}

    return statuses


@pytest.fixture
def running(tmp_path, statuses):
    """Wait until so many runs train, and return their folders' names."""

    def running(process, count: int) -> list[str]:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "it did not happen"
            busy = [name for name, status in statuses().items() if status["state"] == "running"]
            found = [n for n in busy if list((tmp_path / "out" / n).glob("checkpoints/*.ckpt"))]
            if len(found) >= count:
                return found
            time.sleep(0.05)

    return running


def ended(process, code: int) -> str:
    said, complaint = process.communicate(timeout=240)
    assert process.returncode == code, said + complaint
    assert "Traceback" not in complaint
    assert "leaked" not in complaint
    return complaint


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.slow
def test_a_killed_run_is_told_the_others_go_on_and_it_alone_is_repeated(start, statuses, running):
    sweep = ["sweep", *STUDY, *LASTING, "seed=1,2,3", "hydra.launcher.n_jobs=2"]
    process = start(*sweep)
    killed = running(process, 2)[0]
    os.kill(statuses()[killed]["pid"], signal.SIGKILL)
    complaint = ended(process, 1)
    line = next(line for line in complaint.splitlines() if line.startswith("not done: "))
    assert killed in line
    assert "killed by SIGKILL (exit 137)" in line
    assert "the same command runs what is not done, and nothing else" in complaint
    states = {name: status["state"] for name, status in statuses().items()}
    assert sorted(states.values()) == ["done", "done", "interrupted"]
    assert states[killed] == "interrupted"
    ended(start(*sweep), 0)
    attempts = {name: status["attempts"] for name, status in statuses().items()}
    assert attempts == {**dict.fromkeys(attempts, 1), killed: 2}
    assert {status["state"] for status in statuses().values()} == {"done"}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
@pytest.mark.parametrize("launcher", ["joblib", "basic"])
def test_a_sweep_that_is_stopped_saves_its_runs(start, statuses, running, number, code, launcher):
    """SIGTERM to the command alone, as a scheduler may do; SIGINT to all, as a terminal does."""
    count = 2 if launcher == "joblib" else 1
    jobs = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    sweep = ["sweep", *STUDY, *LASTING, "seed=1,2,3", f"hydra/launcher={launcher}", *jobs]
    process = start(*sweep)
    running(process, count)
    pids = [status["pid"] for status in statuses().values()]
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    complaint = ended(process, code)
    assert f"lm-research sweep: stopped by {number.name}; the same command runs" in complaint
    assert all(map(gone, pids))
    found = statuses()
    assert [status["state"] for status in found.values()] == ["interrupted"] * count
    ended(start(*sweep), 0)
    assert {status["state"] for status in statuses().values()} == {"done"}
    assert len(statuses()) == 3


@pytest.mark.slow
def test_two_commands_share_the_work_and_no_job_runs_twice(start, statuses, running):
    sweep = ["sweep", *STUDY, *LASTING, "seed=1,2,3,4", "hydra.launcher.n_jobs=1"]
    first = start(*sweep)
    running(first, 1)
    second = start(*sweep)
    for process in (first, second):
        ended(process, 0)
    found = statuses()
    assert len(found) == 4
    assert {status["state"] for status in found.values()} == {"done"}
    assert {status["attempts"] for status in found.values()} == {1}
    assert len({status["pid"] for status in found.values()}) == 4


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["all", "worker"])
def test_what_kill_9_takes_is_gone_on_with(start, statuses, running, victim):
    sweep = ["sweep", *STUDY, *LASTING, "seed=1,2,3", "hydra.launcher.n_jobs=2"]
    process = start(*sweep)
    running(process, 2)
    if victim == "all":
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    else:  # the launcher's own: the command goes on with a new one
        os.kill(_parent(statuses()), signal.SIGKILL)
    again = start(*sweep) if victim == "all" else process
    complaint = ended(again, 0)
    assert ("the launcher ended" in complaint) == (victim == "worker")
    assert {status["state"] for status in statuses().values()} == {"done"}
    assert len(statuses()) == 3


def _parent(found: dict[str, dict]) -> int:
    pid = next(status["pid"] for status in found.values() if status["state"] == "running")
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
def test_a_run_out_of_time_leaves_the_others_theirs(start, statuses):
    several = ["train", "-m", *LASTING, "seed=1,2"]
    complaint = ended(start(*several, "max_time=0.1"), 1)
    assert complaint.count("stopped: max_time=0.1 is over") == 2
    assert {status["state"] for status in statuses().values()} == {"interrupted"}
    ended(start(*several), 0)
    assert {status["state"] for status in statuses().values()} == {"done"}


@pytest.mark.slow
def test_runs_do_not_outlive_a_sweep_that_is_killed(start, statuses, running):
    process = start("train", "-m", *LASTING, "budget.train_tokens=50000000", "seed=1,2")
    running(process, 1)
    pid = statuses()["0"]["pid"]
    process.kill()
    deadline = time.monotonic() + 30
    while not gone(pid):
        assert time.monotonic() < deadline, "it trains on"
        time.sleep(0.1)
    assert statuses()["0"]["state"] == "interrupted"


@pytest.mark.slow
def test_workers_do_not_outlive_a_command_that_is_killed(start, running):
    process = start("sweep", *STUDY, *LASTING, "seed=1,2,3", "hydra.launcher.n_jobs=2")
    running(process, 2)
    found = Path("/proc").glob("[0-9]*/stat")
    workers = [int(stat.parent.name) for stat in found if _of(stat, process.pid)]
    workers.remove(process.pid)
    assert len(workers) >= 4  # two of joblib's, a run each
    process.kill()
    deadline = time.monotonic() + 60
    while not all(map(gone, workers)):
        assert time.monotonic() < deadline, "they wait for somebody to take their result"
        time.sleep(0.1)


@pytest.mark.slow
def test_workers_that_wait_for_their_first_run_do_not_outlive_it_either(start):
    process = start("sweep", *STUDY, *LASTING, "seed=1", "hydra.launcher.n_jobs=2")
    deadline = time.monotonic() + 60
    while not (workers := _loky(process.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(1)  # they have been told whose they are, and import what a run needs
    process.kill()
    while not all(map(gone, workers + _loky(process.pid))):
        assert time.monotonic() < deadline, "they wait for a run that never comes"
        time.sleep(0.1)


def _loky(session: int) -> list[int]:
    found = [stat for stat in Path("/proc").glob("[0-9]*/stat") if _of(stat, session)]
    return [
        int(s.parent.name) for s in found if b"popen_loky" in (s.parent / "cmdline").read_bytes()
    ]


def _of(stat: Path, session: int) -> bool:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[3]) == session
    except OSError:
        return False
