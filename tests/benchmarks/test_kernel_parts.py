"""Parts of the check on a GPU that need much memory, or processes of their own."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from kernel_suite import cases, huge, points, processes
from kernel_suite.deadline import Deadline
from kernel_suite.trials import FAILED, HOLDS, REFUSED


def shown(trials):
    return trials.out.screen.export_text()


# --- huge


@pytest.mark.parametrize("cell", points.CELLS)
def test_the_huge_case_is_compared_by_its_first_and_last_rows(cell):
    case = huge.huge_case(cell)
    assert 2**31 < case.batch * case.steps * case.hidden < 1.01 * 2**31
    assert case.batch % 16 == 0
    small = replace(case, batch=20, steps=3, hidden=8)
    for backward in (False, True):
        errors = huge.huge_errors(small, "cpu", backward)
        assert ("dweight" in errors) == backward
        assert cases.holds(small, errors)


def test_huge_cases_need_memory(trials):
    huge.check_huge(trials, lambda: 2**30)
    assert trials.status() == HOLDS
    assert shown(trials).count("not tried, needs") == 3
    case = huge.huge_case("lstm")
    elements = case.batch * case.steps * case.hidden
    # at the least: gates, y; with the gradient their gradients, kept gates and float32 cells
    assert huge.bytes_needed(case, False) > 2 * elements * 5
    assert huge.bytes_needed(case, True) > 2 * elements * (5 + 5 + 4 + 2)


# --- other processes


def test_without_a_sanitizer_it_says_so(trials, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert processes.sanitizer() is None
    processes.check_sanitized(trials, None)
    assert trials.status() == HOLDS
    assert shown(trials).count("not installed") == 2


def test_the_sanitizer_has_the_time_that_is_left(trials, monkeypatch):
    seen = []

    def limited(command, deadline, most, **more):
        seen.append((command, deadline.left() <= 100, more))
        return (HOLDS, "") if "memcheck" in command else (9, "an access out of bounds")

    monkeypatch.setattr(processes, "limited", limited)
    trials.deadline = Deadline(100)
    processes.check_sanitized(trials, "compute-sanitizer")
    part = trials.parts["sanitizer"]
    assert (part.held, part.failed) == (1, ["racecheck"])
    assert "an access out of bounds" in shown(trials)
    for command, bounded, more in seen:
        assert bounded
        assert command[command.index("--seconds") + 1] in ("99", "100")
        assert more == {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}


def test_a_command_that_takes_too_long_is_ended_with_what_it_began(tmp_path):
    code = f"""
import subprocess, sys, time
print("begun", flush=True)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
time.sleep(60)
"""
    status, said = processes.limited([sys.executable, "-c", code], Deadline(8), 90)
    assert (status, said) == (processes.TOO_LONG, "begun\n")
    state, until = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat"), time.monotonic() + 10
    while not _ended(state):  # it is killed, but may still be giving back what it holds
        assert time.monotonic() < until
        time.sleep(0.05)


def _ended(state):
    try:
        return state.read_text().split(")")[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([(HOLDS, ""), (REFUSED, "no room for all programs")], HOLDS),
        ([(HOLDS, ""), (FAILED, "wrong")], FAILED),
        ([(HOLDS, ""), (-11, "no room for all programs")], FAILED),
    ],
)
def test_two_processes_may_refuse_in_words_but_not_be_wrong(trials, monkeypatch, outcomes, status):
    given = dict(zip(("spread", "gluon"), outcomes, strict=True))
    monkeypatch.setattr(processes, "limited", lambda command, *_: given[command[-1]])
    processes.check_shared(trials)
    assert trials.status() == status
