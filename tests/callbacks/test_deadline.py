"""A run that stops in time, and goes on with a new budget as if nothing had been."""

import json
import os
import time

import pytest
import torch

from lm_research.callbacks import deadline as deadlines
from lm_research.callbacks.deadline import Deadline, deadline, slurm_seconds_left
from lm_research.callbacks.stop_signals import Stopped
from lm_research.tracking.checkpoint_store import CheckpointStore

CLOCK = ("seconds", "perf/tokens_per_s")
OPTIONS = ("callbacks.metrics.every=3", "model.dropout=0.3", "model.num_layers=2")


def rows(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]


def final(folder):
    return torch.load(CheckpointStore(folder / "checkpoints").path("last"), weights_only=True)


@pytest.fixture
def passes_at(monkeypatch):
    """The deadline passes when it is asked for the so-many-th time: once a step."""

    def passes_at(step):
        asked = []

        def passed(self):
            asked.append(step)
            return len(asked) >= step

        monkeypatch.setattr(Deadline, "passed", property(passed))

    return passes_at


def test_a_run_out_of_time_saves_says_so_and_goes_on_bit_for_bit(
    train, passes_at, monkeypatch, tmp_path, read_json
):
    whole, cut = train(*OPTIONS, output="whole"), tmp_path / "cut"
    for attempt, budget in enumerate(("max_time=1h", "max_time='00:30:00'"), start=1):
        passes_at(5)
        with pytest.raises(Stopped) as stopped:
            train(*OPTIONS, budget, output="cut")
        assert stopped.value.code == os.EX_TEMPFAIL
        assert stopped.value.by_time
        status = read_json(cut / "status.json")
        assert status["state"] == "interrupted"
        assert f"{budget.replace(chr(39), '')} is over" in status["error"]
        assert final(cut)["global_step"] == 5 * attempt
    train(*OPTIONS, output="cut")
    assert rows(cut) == rows(whole)
    for name, tensor in final(whole)["state_dict"].items():
        assert torch.equal(tensor, final(cut)["state_dict"][name]), name
    assert str(final(whole)["optimizer_states"]) == str(final(cut)["optimizer_states"])


def test_time_that_is_over_before_the_first_step_still_makes_one(train, tmp_path):
    with pytest.raises(Stopped):
        train("max_time=0.001")
    assert final(tmp_path / "run")["global_step"] == 1


def test_gradients_that_are_being_added_up_are_waited_for(train, passes_at, tmp_path):
    passes_at(1)
    with pytest.raises(Stopped):
        train("max_time=1h", "trainer.accumulate=4")
    assert final(tmp_path / "run")["global_step"] == 1  # four batches


def test_the_first_deadline_counts(monkeypatch):
    now = time.monotonic()
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": str(int(time.time()) + 1000)}
    assert deadline(None, 120, {}) is None
    found = deadline(None, 120, slurm)
    assert found.at == pytest.approx(now + 880, abs=2)
    assert found.reason == "the Slurm job ends in less than 120 s (end_margin)"
    assert deadline("10 min", 120, slurm).reason == "max_time=10 min is over"
    assert deadline("1h", 120, slurm).reason == found.reason
    monkeypatch.setattr(deadlines.time, "time", lambda: 0.0)  # a clock set back moves it no more
    assert found.at == pytest.approx(now + 880, abs=2)


@pytest.mark.parametrize(
    ("said", "seconds"), [("1-00:00:30", 86430), ("2:03", 123), ("UNLIMITED", None), ("", None)]
)
def test_an_older_slurm_is_asked(tmp_path, monkeypatch, said, seconds):
    squeue = tmp_path / "squeue"
    squeue.write_text(f'#!/bin/sh\ntest "$3" = 7 && echo "{said}"\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert slurm_seconds_left({"SLURM_JOB_ID": "7"}) == seconds
    assert slurm_seconds_left({"SLURM_JOB_ID": "8"}) is None


def test_outside_of_slurm_nobody_is_asked(monkeypatch):
    monkeypatch.setattr(deadlines.subprocess, "run", lambda *_: pytest.fail("asked"))
    assert slurm_seconds_left({"SLURM_JOB_END_TIME": "5"}) is None
