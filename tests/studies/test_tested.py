"""A hypothesis that no run of the study could answer is told before anything runs."""

import re

import pytest

from lm_research.cli.sweep import planned_study
from lm_research.config.problems import ConfigError
from lm_research.studies.tested import without_runs

CONFIGS = [
    {"choices": {"model": "lstm", "data": "code"}, "data": {"name": "code"}, "copy": {"on": True}},
    {
        "choices": {"model": "rnn", "data": "mixture"},
        "data": {"name": "both"},
        "copy": {"on": True},
    },
]


@pytest.mark.parametrize(
    "text",
    [
        "model=lstm < model=rnn",
        "model=lstm, data=code < model=rnn, data=both",
        "data=both > data=code on tweets",
        "init_from=scratch < init_from=books",  # told by what was trained first
    ],
)
def test_what_has_runs_passes(text):
    assert list(without_runs([text], CONFIGS, None)) == []


@pytest.mark.parametrize(
    ("text", "told", "allowed", "near"),
    [
        ("model=lstn < model=rnn", "model=lstn", "model of lstm, rnn", "model=lstm"),
        ("copy.on=True < copy.on=False", "copy.on=False", "copy.on of true", None),
        ("data=mixture < data=code", "data=mixture", "data of both, code", None),
        ("model=lstm < model=rnn where data=code", "model=rnn, data=code", "choices that", None),
    ],
)
def test_what_has_none_is_told(text, told, allowed, near):
    problems = list(without_runs(["model=lstm < model=rnn", text], CONFIGS, "a.yaml"))
    found = next(p for p in problems if p.value == told)
    assert (found.field, found.file, found.closest) == ("sweep.hypotheses[1]", "a.yaml", near)
    assert found.allowed.startswith(allowed)


DEMO = ("sweep=demo", "seed=1", "budget=smoke")


def test_the_plan_tells_it_and_a_part_of_a_study_is_no_mistake():
    changed = "sweep.hypotheses=['model=lstm < model=rnm']"
    with pytest.raises(ConfigError, match=re.escape("sweep.hypotheses[0]=model=rnm")) as error:
        planned_study([*DEMO, changed])
    assert "did you mean `model=rnn`?" in str(error.value)
    assert "demo.yaml" in str(error.value)
    assert planned_study([*DEMO, "model=lstm"]).planned
