"""NT-ASGD: when averaging begins, of what it is the mean, and after cuts."""

import json

import pytest
import torch
from chaos_suite.equality import difference
from hypothesis import given
from hypothesis import strategies as st

from lm_research.callbacks.averaging import Averaging, NonMonotonicAveraging
from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError
from lm_research.tracking.checkpoint_store import CheckpointStore

# 16 steps, each evaluated; a rate at which the loss goes up and down.
ROUGH = (
    "averaging=nt_asgd",
    "averaging.checks=2",
    "optimizer=sgd",
    "optimizer.lr=30",
    "callbacks.evaluation.times=16",
    "callbacks.checkpoint.every=5",
)


def begins_at(losses, checks):
    """Number of the evaluation that begins it, from 1, as the authors test it; None: none does."""
    logs = []
    for number, loss in enumerate(losses, start=1):
        if len(logs) > checks and loss > min(logs[:-checks]):
            return number
        logs.append(loss)
    return None


@given(st.lists(st.integers(0, 6), max_size=25), st.integers(1, 6))
def test_it_begins_where_an_evaluation_is_worse_than_the_best_before_the_last_few(losses, checks):
    average, begun = NonMonotonicAveraging(checks), None
    for number, loss in enumerate(losses, start=1):
        average.observe(float(loss))
        begun = begun or (number if average.begun else None)
    assert begun == begins_at(losses, checks)


def scores(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["val/loss_nats"] for row in rows if "val/loss_nats" in row]


def final(folder):
    return torch.load(CheckpointStore(folder / "checkpoints").path("last"), weights_only=True)


def flat(state):
    return torch.cat([value.double().flatten() for value in state.values()])


@pytest.fixture
def weights(monkeypatch):
    """The weights after every optimizer step."""
    seen, proper = {}, Averaging.on_train_batch_end

    def spy(self, trainer, module, *rest):
        seen.setdefault(trainer.global_step, flat(module.state_dict()))
        proper(self, trainer, module, *rest)

    monkeypatch.setattr(Averaging, "on_train_batch_end", spy)
    return seen


def test_the_average_is_the_mean_from_the_evaluated_weights_on(train, weights):
    folder = train(*ROUGH)
    begun = begins_at(scores(folder), 2)
    assert 3 < begun < 14
    mean = torch.stack([weights[step] for step in range(begun, 17)]).mean(0)
    saved = final(folder)
    torch.testing.assert_close(flat(saved["state_dict"]), mean, rtol=1e-5, atol=1e-6)
    assert torch.equal(flat(saved["current_model_state"]), weights[16])


def test_until_then_the_newest_weights_are_evaluated_and_from_then_on_the_average(train, weights):
    averaged = scores(train(*ROUGH))
    begun = begins_at(averaged, 2)
    plain = scores(train("averaging=none", *ROUGH[2:], output="plain"))
    assert averaged[:begun] == plain[:begun]
    assert all(a != b for a, b in zip(averaged[begun:], plain[begun:], strict=True))
    patient = train(*ROUGH, "averaging.checks=15", output="patient")
    assert torch.equal(flat(final(patient)["state_dict"]), weights[16])


@pytest.mark.parametrize("step", ["before", "at", "after", "last"])
def test_a_run_that_was_cut_ends_with_the_same_average_and_scores(train, cut, step):
    whole = train(*ROUGH, output="whole")
    begun = begins_at(scores(whole), 2)
    step = {"before": begun - 1, "at": begun, "after": begun + 2, "last": 16}[step]
    cut(step, *ROUGH)
    assert difference(whole, train(*ROUGH, output="cut")) is None


def test_without_evaluations_it_is_refused():
    with pytest.raises(ConfigError, match=r"averaging=NonMonotonicAveraging: begins by eval"):
        compose(["averaging=nt_asgd", "callbacks=none"])
