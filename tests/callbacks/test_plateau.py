"""A rate that falls by evaluations: in runs, after cuts and rollbacks, and where it ends them."""

import json
from itertools import pairwise

import pytest
from chaos_suite.equality import difference

from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tracking.checkpoint_store import CheckpointStore

FALLS = (
    "scheduler=plateau",
    "scheduler.min_gain=0.02",
    "optimizer.lr=0.004",
    "callbacks.evaluation.times=8",
    "callbacks.metrics.every=1",
)
LONG = (*FALLS, "scheduler.stop=false")
ENDS = (*FALLS, "scheduler.min_gain=0.5")


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def rates(folder):
    return [row["train/learning_rate"] for row in rows(folder) if "train/learning_rate" in row]


def by_hand(folder, min_gain, rate):
    """The rate in each step's row, which is written before the step's evaluation, if it has one."""
    losses = [row["val/loss_nats"] for row in rows(folder) if "val/loss_nats" in row]
    assert len(losses) == 8  # every second step
    falls, found = 0, [0] * 4
    for before, now in pairwise(losses[:-1]):
        falls += falls > 0 or before < (1 + min_gain) * now
        found += [falls, falls]
    return [rate * 0.5**n for n in found]


def test_the_rate_falls_as_the_evaluations_say(train):
    folder = train(*LONG, "scheduler.min_gain=0.03", "optimizer.lr=0.03")
    expected = by_hand(folder, 0.03, 0.03)
    assert 1 < len(set(expected)) < 7
    assert rates(folder) == pytest.approx(expected)


@pytest.mark.parametrize("step", [3, 8, 13])
def test_a_cut_run_has_the_rates_of_an_undisturbed_one(train, cut, step):
    whole = train(*LONG, output="whole")
    cut(step, *LONG)
    assert difference(whole, train(*LONG, output="cut")) is None


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_ends_training_and_the_run_is_done(train, read_json, accumulate):
    """The second evaluation gains too little, and so does the third, of eight."""
    folder = train(*ENDS, f"trainer.accumulate={accumulate}")
    whole = train(*LONG, f"trainer.accumulate={accumulate}", output="whole")
    flops = [read_json(f / "summary.json")["train/flops"] for f in (folder, whole)]
    assert flops[0] == flops[1] * 6 / 16
    status = read_json(folder / "status.json")
    assert (status["state"], status["step"]) == ("done", 6)
    assert [entry.step for entry in CheckpointStore(folder / "checkpoints").entries()][-1] == 6
    scores = [row["val/loss_nats"] for row in rows(folder) if "val/loss_nats" in row]
    assert len(scores) == 3
    assert read_json(folder / "summary.json")["val/loss_nats"] == scores[-1]


@pytest.mark.parametrize("step", [5, 6])
def test_a_run_cut_where_it_would_end_ends_there(train, cut, step):
    whole = train(*ENDS, output="whole")
    cut(step, *ENDS)
    assert difference(whole, train(*ENDS, output="cut")) is None


def test_after_a_rollback_the_falls_are_kept_over_a_cut(train, cut, monkeypatch):
    proper = LanguageModeling.training_step

    def breaks(self, batch, index):
        loss = proper(self, batch, index)
        broken = index + 1 == 9 and self.trainer.lr_scheduler_configs[0].scheduler.base_lrs == [
            0.004
        ]
        return loss * float("nan") if broken else loss

    monkeypatch.setattr(LanguageModeling, "training_step", breaks)
    options = (*LONG, "scheduler.min_gain=0.5", "callbacks.divergence.policy=rollback")
    whole = train(*options, output="whole")
    found = rates(whole)
    assert found[8] == 0.5 * 0.004 * 0.5**3
    assert found[-1] == 0.5 * 0.004 * 0.5**6
    cut(12, *options)
    assert difference(whole, train(*options, output="cut")) is None


def test_without_evaluations_it_is_refused():
    with pytest.raises(ConfigError, match=r"scheduler=Plateau: goes by ev(?s:.*)default or quiet"):
        compose(["scheduler=plateau", "callbacks=none"])
