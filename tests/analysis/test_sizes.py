"""Sizes as levels of one axis: settings of about the same cost, whatever their units are."""

import math

import numpy as np
import pytest

from lm_research.analysis.runs import find_runs
from lm_research.analysis.sizes import by_size
from lm_research.analysis.study import analyse
from lm_research.analysis.study_page import Part, best, found
from lm_research.analysis.sweep import load_sweep

COST = "model/parameters"
UNITS = {"lstm": {10: 1000, 20: 4000}, "rnn": {20: 1030, 40: 3900}}
"""Model -> units of a layer -> parameters. 20 units are the large LSTM, and the small RNN."""


def bits(model, cost, seed):
    return 5 - math.log10(cost) + 0.2 * (model == "rnn") + 0.01 * math.sin(cost + seed)


@pytest.fixture
def study(make_run, tmp_path):
    for model, sizes in UNITS.items():
        for units, cost in sizes.items():
            for seed in (1, 2, 3):
                make_run(
                    f"{model}-{units}-{seed}",
                    seed,
                    {"val/bits_per_byte": bits(model, cost, seed), COST: float(cost)},
                    choices={"data": "a", "model": model},
                    config={"model": {"hidden_size": units}},
                )
    return analyse(find_runs(tmp_path / "runs"), load_sweep(tmp_path / "runs"))


def test_models_are_compared_at_equal_sizes(study):
    assert study.axes == ("model", "model.hidden_size")
    whole = by_size(study, COST)
    assert whole.axes == ("model", "size")
    sizes = ["about 1k parameters", "about 4k parameters"]
    assert sorted({setting["size"] for setting in whole.settings}) == sizes
    model, size = whole.effects
    first, second = model.levels
    assert (first.value, second.value, second.blocks) == ("lstm", "rnn", 2)
    behind = [
        np.mean([bits("rnn", r, s) - bits("lstm", c, s) for c, r in ((1000, 1030), (4000, 3900))])
        for s in (1, 2, 3)
    ]
    assert second.behind.estimate.mean == pytest.approx(np.mean(behind))
    assert size.levels[0].value == "about 4k parameters"
    assert whole.winners[0].best["size"] == "about 4k parameters"
    assert whole.hypotheses == study.hypotheses


def test_the_page_speaks_of_sizes_not_of_units(study):
    part = Part(study, "a command", planned=12, against=COST)
    said = " ".join([*best(part), *found(part)])
    assert "model `lstm` is better than `rnn` by" in said
    assert "hidden_size" not in said


def test_two_settings_of_one_size_are_no_level(make_run, study, tmp_path):
    for seed in (1, 2, 3):
        make_run(
            f"lstm-11-{seed}",
            seed,
            {"val/bits_per_byte": 3.0, COST: 1100.0},
            choices={"data": "a", "model": "lstm"},
            config={"model": {"hidden_size": 11}},
        )
    more = analyse(find_runs(tmp_path / "runs"), study.sweep)
    assert by_size(more, COST).effects == ()


def test_without_the_cost_nothing_changes(study):
    assert by_size(study, "train/flops") is study
