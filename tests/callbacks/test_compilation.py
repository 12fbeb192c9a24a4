"""A model that torch.compile has compiled for training: the same numbers, its cost told."""

import json

import pytest
import torch
from chaos_suite.equality import difference

from lm_research.callbacks.checkpoint import Checkpoint
from lm_research.config.problems import ConfigError

CNN = ("model=cnn", "model.num_layers=1")
COMPILED = ("trainer.compile=true", "callbacks.checkpoint.every=5")


@pytest.fixture
def traced(monkeypatch):
    """Graphs are taken and differentiated, and then run as they are: no C++ to wait for."""
    torch._dynamo.reset()
    monkeypatch.setattr("shutil.which", lambda program: program)
    proper = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: proper(*a, **k, backend="aot_eager"))


@pytest.fixture
def numbers(read_json):
    """(losses of training, bits per byte, seconds and graphs) of a run's folder."""

    def numbers(folder):
        rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        summary = read_json(folder / "summary.json")
        told = [row["train/loss_nats"] for row in rows if "train/loss_nats" in row]
        cost = summary.get("perf/compile_seconds"), summary.get("perf/compiled_graphs")
        return told, summary["val/bits_per_byte"], cost

    return numbers


@pytest.mark.parametrize(
    "model", [pytest.param("transformer", marks=pytest.mark.slow), "cnn", "gru"]
)
def test_it_trains_to_the_same_numbers_and_says_what_it_cost(train, numbers, traced, model):
    plain = numbers(train(f"model={model}", output="plain"))
    folder = train(f"model={model}", *COMPILED)
    compiled = numbers(folder)
    assert compiled[0] == pytest.approx(plain[0], rel=1e-5)
    assert compiled[1] == pytest.approx(plain[1], rel=1e-5)
    assert plain[2] == (None, None)
    assert compiled[2][0] > 0
    assert compiled[2][1] >= 1


@pytest.mark.slow
def test_an_encoder_and_a_decoder_train_to_the_same_numbers(train, read_json, traced):
    pairs = ("task=translation", "data=interface_en", "model=transformer", "task.epochs=1")
    short = ("budget.train_bytes=5000", "budget.eval_bytes=500", "task.beam=1")
    runs = (train(*pairs, *short, *more, output=f"{len(more)}") for more in ((), COMPILED))
    plain, compiled = (read_json(folder / "summary.json") for folder in runs)
    assert compiled["val/loss_nats"] == pytest.approx(plain["val/loss_nats"], rel=1e-5)
    assert compiled["perf/compiled_graphs"] >= 2


def test_evaluations_are_not_compiled(train, numbers, traced):
    graphs = set()
    for times in (1, 4):
        torch._dynamo.reset()
        options = *CNN, f"callbacks.evaluation.times={times}"
        graphs.add(numbers(train(*COMPILED, *options, output=str(times)))[2][1])
    assert len(graphs) == 1


def test_a_fault_leaves_nobody_listening(train, traced, monkeypatch):
    from torch._dynamo.callback import callback_handler

    def fail(*arguments):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(Checkpoint, "on_train_batch_end", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        train(*COMPILED, *CNN)
    assert not callback_handler.start_callbacks
    assert not callback_handler.end_callbacks


def test_a_machine_without_a_compiler_says_so_before_anything_is_prepared(train, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("lm_research.cli.job.assemble", None)
    with pytest.raises(ConfigError, match=r"(?s)trainer\.compile.*no-such-compiler.*g\+\+"):
        train(*COMPILED)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["transformer", "gru"])
def test_compiled_to_machine_code_a_run_that_was_cut_ends_bit_for_bit(train, numbers, cut, model):
    torch._dynamo.reset()
    options = (*COMPILED, f"model={model}", "callbacks.evaluation.times=3")
    whole, plain = train(*options, output="whole"), train(f"model={model}", output="plain")
    assert numbers(whole)[1] == pytest.approx(numbers(plain)[1], rel=1e-4)
    cut(7, *options)
    torch._dynamo.reset()
    assert difference(whole, train(*options, output="cut")) is None
