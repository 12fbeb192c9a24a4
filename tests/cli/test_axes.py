"""Overrides that name several values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.cli.axes import columns, combinations, covering, split_axes

AXES = [
    ("model=rnn,lstm", ["model=rnn", "model=lstm"]),
    ("seed=range(1,4)", ["seed=1", "seed=2", "seed=3"]),
    ("optimizer.lr=choice(0.1,0.2)", ["optimizer.lr=0.1", "optimizer.lr=0.2"]),
    ("model=glob(r*)", ["model=rnn"]),
    ("evaluate_on=[code,tweets]", ["evaluate_on=[code,tweets]"]),
    ("seed=3", ["seed=3"]),
    ("seed==3", ["seed==3"]),
]


@pytest.mark.parametrize(("override", "values"), AXES)
def test_an_axis_stands_for_its_values(override, values):
    assert columns([override]) == [values]


def test_the_number_of_runs_is_the_product():
    assert combinations(columns(["model=rnn,lstm", "seed=1,2,3", "budget=smoke"])) == 6


def test_options_of_ones_own_count_too(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/rnn_of_mine.yaml").write_text("hidden_size: 3\n")
    assert columns(["model=glob(rnn*)"], str(tmp_path)) == [["model=rnn", "model=rnn_of_mine"]]


@given(st.lists(st.lists(st.text("abc", min_size=1), min_size=1, max_size=5), max_size=4))
def test_each_value_occurs_in_few_combinations(columns):
    rows = covering(columns)
    assert len(rows) == max(map(len, columns), default=1)
    for number, column in enumerate(columns):
        assert {row[number] for row in rows} == set(column)


def test_axes_are_parted_from_plain_overrides():
    fixed, axes = split_axes(["sweep=demo", "seed=1,2", "broken=[", "+model.x=choice(1,2)"])
    assert fixed == ["sweep=demo", "broken=["]
    assert axes == {"seed": "1,2", "+model.x": "choice(1,2)"}
