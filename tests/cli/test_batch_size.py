"""The search for a batch size, and that it leaves no trace in the run."""

import json
import os
import resource
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm_research.cli import batch_size, batch_trial
from lm_research.cli.batch_size import Trials, largest, search
from lm_research.cli.launch import train
from lm_research.cli.memory import OutOfMemory
from lm_research.config.compose import compose
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tracking.checkpoint_store import CheckpointStore

COMMAND = [sys.executable, "-c", "from lm_research.cli.main import main; main()", "train"]
CLOCK = ("seconds", "perf/tokens_per_s")
FIND = "trainer.find_batch_size=largest"


@given(st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 5000))
def test_it_finds_the_largest_but_for_a_sixteenth(limit, start, most):
    tried = []

    def fits(size):
        assert 1 <= size <= most
        tried.append(size)
        return size <= limit

    found, true = largest(fits, start, most), min(limit, most)
    assert found <= true <= found + found // 16
    assert len(tried) <= 2 * most.bit_length() + 2
    assert len(set(tried)) == len(tried)


@pytest.fixture
def config(tiny):
    def config(*overrides):
        return compose([*tiny, *overrides]).config

    return config


@given(batch=st.integers(1, 64), accumulate=st.integers(1, 8), limit=st.integers(1, 200))
def test_kept_tokens_are_kept_exactly(batch, accumulate, limit):
    trainer = {"find_batch_size": "keep_tokens", "accumulate": accumulate, "devices": 1}
    budget = {"batch_size": batch, "train_tokens": 1 << 20, "window": 16}
    found = search({"budget": budget, "trainer": trainer}, lambda size: size <= limit)
    size, times = found["budget"]["batch_size"], found["trainer"]["accumulate"]
    assert size * times == batch * accumulate
    assert size <= limit


def test_every_process_gets_as_many_lanes(config):
    two = {**config(FIND), "trainer": {**config(FIND)["trainer"], "devices": 2}}
    assert search(two, lambda size: size <= 27)["budget"]["batch_size"] == 26


def test_if_nothing_fits_it_says_so(config):
    with pytest.raises(OutOfMemory, match=r"try budget\.window=8, or"):
        search(config(FIND), lambda size: False)


def test_a_batch_is_never_larger_than_the_budget(config):
    assert search(config(FIND), lambda size: True)["budget"]["batch_size"] == 1024 // 16


@pytest.fixture
def allocator(monkeypatch):
    """As if the memory held so many lanes."""

    def holds(lanes):
        step = LanguageModeling.training_step

        def bounded(self, batch, index):
            if len(batch.ids_BT) > lanes:
                raise RuntimeError(
                    "DefaultCPUAllocator: can't allocate memory: you tried to "
                    "allocate 123 bytes. Error code 12"
                )
            return step(self, batch, index)

        monkeypatch.setattr(LanguageModeling, "training_step", bounded)

    return holds


def test_a_trial_takes_steps_and_tells_memory_from_mistakes(config, allocator, monkeypatch):
    allocator(37)
    assert batch_trial.answer(config(), 37) is True
    assert batch_trial.answer(config(), 38) is False
    monkeypatch.setattr(LanguageModeling, "training_step", lambda *_: 1 / 0)
    assert batch_trial.answer(config(), 4) == "ZeroDivisionError: division by zero"


def rows(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]


def weights(folder):
    return torch.load(CheckpointStore(folder / "checkpoints").path("last"), weights_only=True)


def same(one, other):
    assert rows(one) == rows(other)
    first, second = weights(one), weights(other)
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    assert str(first["optimizer_states"]) == str(second["optimizer_states"])


def test_a_run_with_it_equals_one_that_was_given_that_size(config, monkeypatch, tmp_path):
    options = ("callbacks.metrics.every=1", "model.dropout=0.3", "model.num_layers=2")
    monkeypatch.setattr(Trials, "fits", lambda self, size: size <= 6)
    train(config(FIND, *options), tmp_path / "found")
    train(config("budget.batch_size=6", *options), tmp_path / "given")
    same(tmp_path / "found", tmp_path / "given")


def test_a_run_that_is_continued_keeps_what_was_found(config, monkeypatch, tmp_path):
    options = (FIND, "callbacks.checkpoint.every=3")
    monkeypatch.setattr(Trials, "fits", lambda self, size: size <= 6)
    train(config(*options), tmp_path / "whole")
    step, cut = LanguageModeling.training_step, []

    def once(self, batch, index):
        if index == 7 and not cut:
            cut.append(index)
            raise ValueError("cut")
        return step(self, batch, index)

    monkeypatch.setattr(LanguageModeling, "training_step", once)
    with pytest.raises(ValueError, match="cut"):
        train(config(*options), tmp_path / "cut")
    monkeypatch.setattr(Trials, "fits", lambda self, size: pytest.fail("searched again"))
    train(config(*options), tmp_path / "cut")
    same(tmp_path / "whole", tmp_path / "cut")
    assert batch_size.adopt(config(*options), tmp_path / "cut")["budget"]["batch_size"] == 6


@pytest.mark.slow
def test_a_trial_that_is_killed_did_not_fit_and_the_next_is_tried(config):
    with Trials(config(FIND)) as trials:
        assert trials.fits(4)
        trials.process.kill()
        trials.process.join()
        assert not trials.fits(8)
        assert trials.fits(2)


@pytest.mark.slow
def test_the_command_finds_what_a_real_allocator_allows(tmp_path, tiny):
    """And the run, in the same memory, equals one that was given the size."""
    more = ["budget.window=512", "budget.hidden_size=256", "budget.train_tokens=600000"]
    limit = 1500 << 20

    def run(*overrides, **variables):
        done = subprocess.run(
            [*COMMAND, *tiny, *more, *overrides],
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
            env=os.environ | variables,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = run(FIND, f"output={tmp_path / 'found'}")
    assert "does not fit" in said
    found = json.loads(said.partition("budget.batch_size=")[2].split()[0])
    assert 4 < found < 600000 // 512
    gives_back = {"MALLOC_TRIM_THRESHOLD_": "131072"}  # freed memory, as a run that has searched
    run(f"budget.batch_size={found}", f"output={tmp_path / 'given'}", **gives_back)
    same(tmp_path / "found", tmp_path / "given")
