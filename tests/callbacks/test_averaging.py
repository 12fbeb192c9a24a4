"""Averaged weights: by hand, in evaluations and samples, in checkpoints, and after a cut."""

import pytest
import torch
from chaos_suite.equality import difference

from lm_research.callbacks.averaging import Averaging
from lm_research.callbacks.evaluation import Evaluation
from lm_research.cli.saved import load
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tracking.checkpoint_store import CheckpointStore

EMA = ("averaging=ema", "averaging.decay=0.75", "callbacks.checkpoint.every=5")


def final(folder):
    return torch.load(CheckpointStore(folder / "checkpoints").path("last"), weights_only=True)


def flat(state):
    return torch.cat([value.double().flatten() for value in state.values()])


@pytest.fixture
def weights(monkeypatch):
    """The weights after every optimizer step, each once."""
    seen, proper = {}, Averaging.on_train_batch_end

    def spy(self, trainer, module, *rest):
        seen.setdefault(trainer.global_step, flat(module.state_dict()))
        proper(self, trainer, module, *rest)

    monkeypatch.setattr(Averaging, "on_train_batch_end", spy)
    return seen


def exponential(weights, decay, start=0):
    average = weights[start + 1]
    for step in range(start + 2, max(weights) + 1):
        average = decay * average + (1 - decay) * weights[step]
    return average


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("trainer.accumulate=3",),
        ("trainer.precision=bf16-mixed",),
        ("trainer.precision=64-true",),
    ],
    ids=str,
)
def test_the_exponential_average_is_that_of_a_hand(train, weights, options):
    saved = final(train(*EMA, *options))
    assert torch.equal(flat(saved["current_model_state"]), weights[max(weights)])
    by_hand = exponential(weights, 0.75)
    torch.testing.assert_close(flat(saved["state_dict"]), by_hand, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(by_hand, weights[max(weights)], atol=1e-4)


def test_the_uniform_average_is_the_mean(train, weights):
    saved = final(train("averaging=uniform", "averaging.start=6"))
    mean = torch.stack([weights[step] for step in range(7, 17)]).mean(0)
    torch.testing.assert_close(flat(saved["state_dict"]), mean, rtol=1e-5, atol=1e-6)


def test_before_the_start_the_average_is_the_weights(train, weights):
    saved = final(train("averaging=ema", "averaging.start=16"))
    assert torch.equal(flat(saved["state_dict"]), weights[16])
    later = final(train("averaging=ema", "averaging.decay=0.5", "averaging.start=10", output="b"))
    by_hand = exponential(weights, 0.5, start=10)
    torch.testing.assert_close(flat(later["state_dict"]), by_hand, rtol=1e-5, atol=1e-6)


def test_what_was_fitted_is_not_averaged(train):
    """An integer that is averaged may be cut to the one below."""
    folder = train(*EMA, "text=word_tagged", "vectorizer=tfidf")
    saved = final(folder)
    model = load(folder).model
    buffers = [name for name, _ in model.named_buffers()]
    assert any(not saved["state_dict"][name].is_floating_point() for name in buffers)
    for name in buffers:
        assert torch.equal(saved["state_dict"][name], saved["current_model_state"][name])


def test_tied_weights_stay_tied(train):
    saved = final(train(*EMA, "task.tie_weights=true"))["state_dict"]
    shared = saved["vectorizer.weight"]
    assert any(torch.equal(v, shared) for k, v in saved.items() if k.startswith("head"))


def test_evaluations_and_the_final_scores_are_of_the_average(train, read_json, monkeypatch):
    proper, seen = Evaluation.on_train_batch_end, []

    def spy(self, trainer, module, *rest):
        before = flat(module.state_dict())
        proper(self, trainer, module, *rest)
        assert torch.equal(flat(module.state_dict()), before)

    advance = LanguageModeling.advance

    def see(self, *arguments):
        seen.append(flat(self.state_dict()))
        return advance(self, *arguments)

    monkeypatch.setattr(Evaluation, "on_train_batch_end", spy)
    monkeypatch.setattr(LanguageModeling, "advance", see)
    folder = train(*EMA)
    average = flat(final(folder)["state_dict"])
    assert torch.equal(seen[-1], average)
    assert torch.equal(flat(load(folder).model.state_dict()), average)
    plain = train("callbacks.checkpoint.every=5", output="plain")
    scores = [read_json(f / "summary.json")["val/bits_per_byte"] for f in (folder, plain)]
    assert scores[0] != scores[1]


def test_training_itself_is_as_without_it(train):
    averaged, plain = final(train(*EMA)), final(train(*EMA[2:], output="plain"))
    assert torch.equal(flat(averaged["current_model_state"]), flat(plain["state_dict"]))


@pytest.mark.parametrize("step", [7, 16])
def test_a_run_that_was_stopped_ends_with_the_same_average_and_scores(train, cut, step):
    """After the last step, too, when there is nothing left to train."""
    whole = train(*EMA, output="whole")
    cut(step, *EMA)
    assert difference(whole, train(*EMA, output="cut")) is None
