"""AWD-LSTM's options in runs: each update's rate, tokens that are counted, and after cuts."""

import json

import pytest
import torch
from chaos_suite.equality import difference

from lm_research.config.compose import compose
from lm_research.config.problems import ConfigError
from lm_research.data.document import DataError
from lm_research.tasks import lean_loop
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tracking.checkpoint_store import CheckpointStore

LENGTHS = (
    "task.window_lengths=random",
    "optimizer=sgd",
    "optimizer.lr=0.5",
    "budget.train_tokens=1500",
    "callbacks.metrics.every=3",
    "callbacks.checkpoint.every=5",
)
RECIPE = (
    *LENGTHS,
    "optimizer.lr=30",
    "trainer.gradient_clip=0.25",
    "vectorizer.dim=6",
    "vectorizer.dropout=0.1",
    "model.num_layers=3",
    "model.last_hidden_size=6",
    "model.dropout_kind=variational",
    "model.input_dropout=0.4",
    "model.dropout=0.25",
    "model.output_dropout=0.4",
    "model.weight_drop=0.5",
    "task.tie_weights=true",
    "task.activation_regularization=2.0",
    "task.temporal_activation_regularization=1.0",
    "averaging=nt_asgd",
    "averaging.checks=1",
    "callbacks.evaluation.times=6",
)
SINGLE = {
    "weight drop": ("model.weight_drop=0.5", "callbacks.checkpoint.every=5"),
    "words dropped": ("vectorizer.dropout=0.3", "callbacks.checkpoint.every=5"),
    "penalties": (
        "model.output_dropout=0.4",
        "task.activation_regularization=2.0",
        "task.temporal_activation_regularization=1.0",
    ),
    "lengths": LENGTHS,
    "lengths and a falling rate": (*LENGTHS, "scheduler=plateau", "scheduler.stop=false"),
    "recipe": RECIPE,
}


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def final(folder):
    return torch.load(CheckpointStore(folder / "checkpoints").path("last"), weights_only=True)


@pytest.fixture
def updates(monkeypatch):
    """(rate of the update, shape of its window), in order."""
    seen, proper, train_step = [], torch.optim.SGD.step, LanguageModeling.training_step

    def look(self, batch, index):
        seen.append([batch.ids_BT.shape, None])
        return train_step(self, batch, index)

    def step(self, *arguments, **options):
        seen[-1][1] = self.param_groups[0]["lr"]
        return proper(self, *arguments, **options)

    monkeypatch.setattr(LanguageModeling, "training_step", look)
    monkeypatch.setattr(torch.optim.SGD, "step", step)
    return seen


@pytest.mark.parametrize("scheduler", ["constant", "stepped"])
def test_each_update_has_its_windows_share_of_the_rate(train, updates, scheduler):
    steps = ("scheduler.hold_steps=6", "scheduler.every_steps=4") if scheduler == "stepped" else ()
    folder = train(*LENGTHS, f"scheduler={scheduler}", *steps, "callbacks.metrics.every=1")
    lengths = [shape[1] for shape, _ in updates]
    assert len(set(lengths)) > 4
    falls = [0 if not steps or n < 6 else 1 + (n - 6) // 4 for n in range(len(updates))]
    expected = [0.5 * 0.5**fall * length / 16 for fall, length in zip(falls, lengths, strict=True)]
    assert [rate for _, rate in updates] == pytest.approx(expected)
    # What is recorded is the schedule's rate for the next update.
    recorded = [row["train/learning_rate"] for row in rows(folder) if "train/loss_nats" in row]
    assert recorded[0] == 0.5
    assert set(recorded) <= {0.5 * 0.5**fall for fall in range(9)}


def test_tokens_are_those_that_were_read_and_as_many_as_the_budget_says(train, updates, read_json):
    folder = train(*LENGTHS, "callbacks.metrics.every=1")
    read = [shape.numel() for shape, _ in updates]
    assert sum(read[:-1]) < 1500 <= sum(read)
    counted = [row["tokens"] for row in rows(folder) if "train/loss_nats" in row]
    assert counted == [sum(read[: n + 1]) for n in range(len(read))]
    summary = read_json(folder / "summary.json")
    assert summary["train/flops"] == 3 * summary["model/flops_per_token"] * sum(read)


@pytest.mark.parametrize("options", SINGLE.values(), ids=SINGLE)
@pytest.mark.parametrize("step", [4, 11])
def test_a_cut_run_ends_like_an_undisturbed_one(train, cut, options, step):
    whole = train(*options, output="whole")
    cut(step, *options)
    assert difference(whole, train(*options, output="cut")) is None


def test_the_lean_loop_and_lightnings_own_agree(train, monkeypatch):
    """Penalties and rates are in both: the weights are the same to the bit."""
    folder = train(*RECIPE, output="lean")
    monkeypatch.setattr(lean_loop, "allows", lambda trainer, module: False)
    other = train(*RECIPE, output="own")
    one, own = (final(f)["state_dict"] for f in (folder, other))
    assert all(torch.equal(one[name], own[name]) for name in one)
    reported = [[row.get("train/loss_nats") for row in rows(f)] for f in (folder, other)]
    assert reported[0] == reported[1]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["trainer.accumulate=2"], r"trainer\.accumulate=2: scales each window's rate"),
        (["task.windows=random", "task.carry_state=false"], r"window_lengths=random: is for windo"),
        (["trainer.find_batch_size=largest"], r"trainer\.find_batch_size=largest: tries out two"),
    ],
)
def test_what_does_not_go_with_random_lengths(overrides, told):
    with pytest.raises(ConfigError, match=told):
        compose(["task.window_lengths=random", *overrides])


def test_sums_of_layers_of_other_sizes_are_refused():
    told = r"model\.last_hidden_size=5: is another size(?s:.*)null, or 32"
    with pytest.raises(ConfigError, match=told):
        compose(["budget=smoke", "model.residual=true", "model.last_hidden_size=5"])


def test_a_mixture_that_is_sampled_while_training_has_windows_of_its_own(train):
    mixture = ("data=mixture", "data.weights={code: 1, bbc_news: 1}", "data.temperature=0.5")
    with pytest.raises(DataError, match=r"task\.window_lengths=random is for one(?s:.*)=fixed"):
        train(*mixture, "task.window_lengths=random")
