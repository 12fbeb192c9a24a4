"""Benchmarks compare before they time, take turns, and say what they found."""

import json
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lm_research.bench import (
    NAMES,
    cross_entropy,
    founding_example,
    generation,
    operators,
    recurrent,
    runner,
    shown,
    time_to_loss,
)
from lm_research.bench.case import Case, Plan, in_turns, ratios
from lm_research.bench.founding_model import ours
from lm_research.bench.founding_torch import Bare, Ours
from lm_research.bench.founding_worker import Shape
from lm_research.bench.machine import Machine
from lm_research.cli.main import main

MACHINE = Machine(gemm_gflops=100.0, bfloat16_gflops=200.0, copy_gbs=10.0, spread=1.5)


def test_sides_take_turns_and_a_ratio_is_the_peer_over_ours():
    order, seconds = [], {"ours": iter([9, 1, 2, 3, 4, 5]), "peer": iter([9, 4, 4, 6, 8, 10])}

    def side(name):
        order.append(name)
        return float(next(seconds[name]))

    times = in_turns({name: partial(side, name) for name in seconds}, 0.0)
    assert order[:6] == ["ours", "peer", "ours", "peer", "peer", "ours"]
    assert times == {"ours": [1, 2, 3, 4, 5], "peer": [4, 4, 6, 8, 10]}
    (ratio,) = ratios(times).values()
    assert ratio.median == 2.0
    assert (ratio.low, ratio.high) == (2.0, 3.0)


def test_sides_that_differ_are_not_timed_and_are_let_go():
    told = []

    def differ():
        raise AssertionError("the sides differ")

    case = Case(
        {"ours": lambda: told.append(1) or 1.0}, differ, close=lambda: told.append("closed")
    )
    with pytest.raises(AssertionError, match="the sides differ"):
        runner.row_of(Plan({}, lambda: case), 0.0, MACHINE)
    assert told == ["closed"]


def test_a_row_holds_ratios_and_the_share_of_the_peak():
    case = Case({"ours": lambda: 2.0, "peer": lambda: 3.0}, lambda: None, flops=100e9)
    row = runner.row_of(Plan({"cell": "gru"}, lambda: case), 0.0, MACHINE)
    assert row["ratios"] == {"peer": {"median": 1.5, "low": 1.5, "high": 1.5}}
    assert row["share_of_peak"] == 0.5
    row = {**row, "machine": MACHINE.columns()}
    table = shown.table("bench", [row])
    assert [column.header for column in table.columns] == [
        "cell", "times as fast as peer", "of GEMM peak",
    ]  # fmt: skip
    assert "noisy at 1 of 1 rows" in table.caption


def event(name, microseconds, parent=None):
    return SimpleNamespace(name=name, self_cpu_time_total=microseconds, cpu_parent=parent)


def test_seconds_inside_operators_leave_out_what_the_profiler_adds():
    step = event("Optimizer.step#AdamW.step", 500)
    node = event("autograd::engine::evaluate_function: MmBackward0", 70)
    linear = event("aten::linear", 10)
    inner = [event("aten::addmm", 200, linear), event("aten::t", 4, linear)]
    others = [event("aten::_fused_adamw_", 90, step), event("aten::mm", 300, node)]
    events = [step, node, linear, *inner, *others, event("lm_research::scan", 50)]
    measured = 10 + 200 + 4 + 90 + 300 + 50
    assert operators.seconds_inside(events, 0.0) == pytest.approx(measured / 1e6)
    slowdown = 8 * 3e-6  # three microseconds for each of the eight; two lie within an operator
    assert operators.seconds_inside(events, slowdown) == pytest.approx((measured - 6) / 1e6)


@pytest.mark.parametrize(("sleep", "low", "high"), [(0.0, 0.6, 1.0), (0.2, 0.0, 0.5)])
def test_what_is_between_operators_is_no_part_of_their_share(sleep, low, high):
    a = torch.randn(700, 700)

    def work(watch):
        watch.start()
        for _ in range(3):
            torch.mm(a, a)
        time.sleep(sleep)
        watch.stop()

    assert low <= operators.share_in_operators(work) <= high


def test_rows_are_chosen_by_their_words():
    plans = list(recurrent.plans(quick=False))
    found = runner.chosen(plans, "gru hidden=512 both")
    assert found
    assert {(p.what["cell"], p.what["hidden"], p.what["mode"]) for p in found} == {
        ("gru", 512, "both")
    }
    assert runner.chosen(plans, "") == plans


@pytest.mark.parametrize("cell", recurrent.LAYERS)
@pytest.mark.parametrize("dtype", recurrent.NEAR)
@pytest.mark.parametrize(("inputs", "batch"), [("vectors", 2), ("rows", 64)])
def test_layers_are_compared_before_they_are_timed(cell, dtype, inputs, batch):
    case = recurrent.case(cell, "both", 8, batch, 40, dtype, inputs)
    case.equal()
    assert all(seconds > 0 for seconds in (side() for side in case.sides.values()))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("streams", [1, 3])
def test_both_sides_read_tokens_alike(cell, streams):
    case = generation.case(cell, 16, streams)
    case.equal()
    assert all(side() > 0 for side in case.sides.values())


def test_another_loss_would_be_seen(monkeypatch):
    monkeypatch.setattr(cross_entropy, "peak_of", lambda side, shape: 1_000_000)
    cross_entropy.case(30, 8, 50, "float32").equal()
    monkeypatch.setitem(
        cross_entropy.SIDES, "blocks", lambda *given: 2 * cross_entropy.plain(*given)
    )
    with pytest.raises(AssertionError, match="loss: the sides are"):
        cross_entropy.case(30, 8, 50, "float32").equal()


def test_peak_memory_is_that_of_the_logits():
    """2000 x 5000 float32 logits and their gradient are 80 MB."""
    assert 40e6 < cross_entropy.peak_of("all at once", [2000, 16, 5000, "float32"]) < 200e6


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize(
    "more", [{}, {"layers": 2}, {"predict": "last"}, {"dtype": "bfloat16"}], ids=str
)
def test_bare_pytorch_is_the_same_model(cell, more):
    shape = Shape(cell, batch=4, steps=40, hidden=16, embedding=8, vocabulary=30, **more)
    weights = {k: v.numpy() for k, v in ours(shape).state_dict().items()}
    found = [side(shape, weights).losses(6) for side in (Ours, Bare)]
    assert found[0] == pytest.approx(found[1], rel=founding_example.NEAR[shape.dtype])
    assert found[0][-1] != found[0][0]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize(
    "more", [{}, {"layers": 2, "predict": "last"}, {"dtype": "bfloat16"}], ids=str
)
def test_keras_is_the_same_model_in_a_process_of_its_own(cell, more, monkeypatch):
    pytest.importorskip("keras")
    small = {"batch": 4, "steps": 7, "hidden": 16, "embedding": 8, "vocabulary": 30}
    monkeypatch.setitem(founding_example.SHAPES, "tiny", small)
    what = {"shape": "tiny", "cell": cell, **more}
    case = founding_example.case(what, ("keras-torch",))
    try:
        case.equal()
        peers = ["torch", "keras-torch"]
        full = [f"{peer} float32" for peer in peers] if "dtype" in more else []
        assert list(case.sides) == ["ours", *peers, *full]
    finally:
        case.close()


def test_a_loss_is_reached_by_both_sides(monkeypatch):
    small = {"batch": 16, "steps": 40, "hidden": 16, "embedding": 8, "vocabulary": 100}
    monkeypatch.setitem(founding_example.SHAPES, "A", small)
    monkeypatch.setitem(time_to_loss.TARGET, "A", 4.2)
    monkeypatch.setattr(time_to_loss, "ROUND", 10)
    plan = next(iter(time_to_loss.plans(quick=True)))
    row = runner.row_of(plan, 0, MACHINE)
    rounds, seconds = row["rounds_of_a_side"], row["seconds"]
    assert rounds["ours"] == pytest.approx(rounds["torch"], rel=0.1)
    assert 1 < rounds["ours"] < 100
    assert row["ratios"]["torch"]["median"] == pytest.approx(
        seconds["torch"] / seconds["ours"], rel=1e-2
    )
    monkeypatch.setattr(time_to_loss, "MOST", 20)
    monkeypatch.setitem(time_to_loss.TARGET, "A", 0.1)
    with pytest.raises(RuntimeError, match=r"has not reached 0\.1 nats in 25 steps"):
        runner.row_of(plan, 0, MACHINE)


def test_validation_text_is_not_trained_on():
    shape = Shape("lstm", 4, 60, 8, 8, 100, text=True)
    train, held = shape.batches(), shape.validation(3)
    assert held.shape == (3, 4, 61)
    assert 0 <= train.min() < train.max() <= 95
    windows = {row.tobytes() for row in train.reshape(-1, 61)}
    assert not any(row.tobytes() in windows for row in held.reshape(-1, 61))
    assert np.array_equal(shape.validation(3), held)


def test_a_side_that_ends_is_named(tmp_path):
    shape = Shape("lstm", 2, 3, 4, 5, 6)
    side = founding_example.Process("keras-nothing", shape, tmp_path / "none.npz")
    with pytest.raises(RuntimeError, match="the side keras-nothing ended with code 1"):
        side.ask("losses", 1)


def test_the_verb_writes_a_table_and_a_page(tmp_path, capsys):
    output = tmp_path / "found.json"
    with pytest.raises(SystemExit) as ended:
        main(["bench", "recurrent", "quick=true", "only=gru hidden=128 forward", "seconds=0",
              "threads=1", f"output={output}"])  # fmt: skip
    assert ended.value.code == 0
    found = json.loads(output.read_text())
    (row,) = found["rows"]
    assert (row["cell"], row["backend"]) == ("gru", "cpu")
    assert row["ratios"]["torch.nn"]["median"] > 0
    assert found["threads"] == 1
    assert "times as fast" in output.with_suffix(".html").read_text()
    assert "gru float32 forward vectors hidden=128" in capsys.readouterr().out


def test_a_profile_names_operators(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["bench", "recurrent", "only=rnn hidden=32 batch=16 steps=64 both", "--profile"])
    assert ended.value.code == 0
    assert "lm_research::rnn_scan" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["recurent"], "did you mean `recurrent`"),
        (["recurrent", "only=nothing"], "no row has all these words"),
        (
            ["recurrent", "--with", "keras"],
            "only founding_example and time_to_loss have such peers",
        ),
        (["founding_example", "--with=theano"], "there is no such peer"),
        (["vectors", "second=1"], "did you mean `seconds`"),
        (["vectors", "output=/no/such/folder/x.json", "quick=true"], "no such folder"),
    ],
)
def test_a_wrong_command_is_told_before_anything_runs(arguments, told, capsys, monkeypatch):
    monkeypatch.setattr(runner, "run", None)
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments])
    assert ended.value.code == 2
    assert told in "".join(capsys.readouterr())


def test_every_benchmark_has_rows():
    import importlib

    for name in NAMES:
        module = importlib.import_module(f"lm_research.bench.{name}")
        assert list(module.plans(True))
        assert len(list(module.plans(False))) >= len(list(module.plans(True)))


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
