"""What happens when training goes wrong, by policy."""

import json

import pytest
import torch

from lm_research.callbacks.checkpoint import Checkpoint
from lm_research.callbacks.divergence import taken_back
from lm_research.tasks.evaluation import DivergenceError
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tracking.checkpoint_store import CheckpointStore

OPTIONS = ("callbacks.metrics.every=1", "callbacks.checkpoint.every=5", "optimizer.lr=0.01")
ROLLBACK = (*OPTIONS, "callbacks.divergence.policy=rollback")


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def steps(folder):
    return [row["step"] for row in rows(folder) if "train/loss_nats" in row]


@pytest.fixture
def breaks(monkeypatch):
    """The loss of a step is multiplied, as long as the learning rate is above a bound."""

    def breaks(step, by, above=0.0):
        proper = LanguageModeling.training_step

        def training_step(self, batch, index):
            loss = proper(self, batch, index)
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            return loss * by if index + 1 == step and rate > above else loss

        monkeypatch.setattr(LanguageModeling, "training_step", training_step)

    return breaks


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_step_is_named_its_batch_kept_and_no_checkpoint_written(train, tmp_path, breaks, bad):
    breaks(7, bad)
    with pytest.raises(DivergenceError, match="at step 7"):
        train(*OPTIONS, output="run")
    run = tmp_path / "run"
    kept = torch.load(run / "divergence/step-00000007.pt", weights_only=True)
    assert kept["ids_BT"].shape == kept["targets_BT"].shape
    assert [entry.step for entry in CheckpointStore(run / "checkpoints").entries()][-1] == 5
    assert json.loads((run / "status.json").read_text())["state"] == "failed"


def test_a_leap_is_noticed_where_asked_for(train, tmp_path, breaks):
    breaks(13, 3.0)
    train(*OPTIONS, output="unasked")
    with pytest.raises(DivergenceError, match="leaps from about"):
        train(*OPTIONS, "callbacks.divergence.spike=4", output="asked")


def test_weights_that_are_not_finite_are_in_no_checkpoint(train, tmp_path, monkeypatch):
    proper = Checkpoint.on_train_batch_end

    def broken(self, trainer, module, outputs, batch, index):
        if index + 1 == 10:
            next(module.parameters()).data.fill_(float("nan"))
        proper(self, trainer, module, outputs, batch, index)

    monkeypatch.setattr(Checkpoint, "on_train_batch_end", broken)
    with pytest.raises(DivergenceError, match="weights are not finite after step 10"):
        train(*OPTIONS, output="run")
    store = CheckpointStore(tmp_path / "run/checkpoints")
    assert [entry.step for entry in store.entries()][-1] == 8
    kept = torch.load(tmp_path / "run/divergence/step-00000010.pt", weights_only=True)
    assert kept["step"] == 10
    assert kept["ids_BT"].shape == (4, 16)


def test_a_huge_finite_loss_is_a_divergence_unasked(train, tmp_path, breaks):
    breaks(7, 1e6)
    with pytest.raises(DivergenceError, match=r"train/loss_nats is 5\.\d+e\+06, above .*ceiling"):
        train(*OPTIONS, output="run")
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "failed"
    assert (tmp_path / "run/divergence/step-00000007.pt").exists()


@pytest.mark.slow
def test_the_ceiling_is_far_above_a_bad_start(train):
    """Logits of vectors drawn from N(0, 1): some tens of nats a token."""
    options = ("task.tie_weights=true", "budget.hidden_size=512", "callbacks.metrics.every=1")
    first = rows(train(*options, "vectorizer.scale=4"))[0]
    assert 10 < first["train/loss_nats"] < 100


def test_a_rollback_goes_on_with_a_lower_rate(train, breaks):
    breaks(8, float("nan"), above=0.006)
    run = train(*ROLLBACK, output="run")
    assert steps(run) == list(range(1, 17))
    rates = [row["train/learning_rate"] for row in rows(run) if "train/loss_nats" in row]
    assert rates == [0.01] * 5 + [0.005] * 11
    assert len(taken_back(run)) == 1
    assert json.loads((run / "summary.json").read_text())["train/rollbacks"] == 1


def test_a_rollback_before_the_first_checkpoint_starts_anew(train, breaks):
    breaks(2, float("nan"), above=0.006)
    run = train(*ROLLBACK, output="run")
    assert steps(run) == list(range(1, 17))


def test_rollbacks_come_to_an_end(train, tmp_path, breaks):
    breaks(8, float("nan"))
    with pytest.raises(DivergenceError):
        train(*ROLLBACK, "callbacks.divergence.rollbacks=2", output="run")
    assert len(taken_back(tmp_path / "run")) == 2


def test_a_run_that_was_taken_back_continues_as_it_was(train, breaks, cut, tmp_path):
    breaks(8, float("nan"), above=0.006)
    whole = train(*ROLLBACK, output="whole")
    cut(12, *ROLLBACK)
    cut_run = train(*ROLLBACK, output="cut")
    clock = ("seconds", "perf/tokens_per_s")
    timeless = [
        [{k: v for k, v in r.items() if k not in clock} for r in rows(f)] for f in (whole, cut_run)
    ]
    assert timeless[0] == timeless[1]


def test_an_attempt_cut_before_its_first_checkpoint_leaves_no_row_twice(train, monkeypatch):
    proper = Checkpoint.on_train_batch_end

    def cut(self, *args):
        raise RuntimeError("the machine is gone")

    monkeypatch.setattr(Checkpoint, "on_train_batch_end", cut)
    with pytest.raises(RuntimeError):
        train(*OPTIONS, output="run")
    monkeypatch.setattr(Checkpoint, "on_train_batch_end", proper)
    assert steps(train(*OPTIONS, output="run")) == list(range(1, 17))
