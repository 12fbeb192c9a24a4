"""The page of several studies: numbers of the runs, what is missing, nothing of this machine."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lm_research.analysis.page import README
from lm_research.analysis.runs import find_runs
from lm_research.analysis.study import analyse
from lm_research.analysis.study_page import Part, StudyPage
from lm_research.analysis.sweep import load_sweep
from lm_research.analysis.tables.ratios import ratio, ratios_table
from lm_research.config.hypotheses import parse

HYPOTHESES = tuple(map(parse, ("model=lstm < model=rnn", "vectorizer=tfidf < vectorizer=one_hot")))


@pytest.fixture(scope="module")
def study(grid):
    sweep = replace(load_sweep(grid), hypotheses=HYPOTHESES)
    return analyse(find_runs(grid), sweep)


def page(study, **more) -> StudyPage:
    part = Part(study, "lm-research sweep sweep=demo", planned=len(study.runs), **more)
    return StudyPage("Which?", "What is asked?", "lm-research study mine", [part])


def test_it_is_written_with_its_figures(study, tmp_path, grid) -> None:
    file = page(study).write(tmp_path / "results")
    text = file.read_text(encoding="utf-8")
    assert file.name == README
    for name in ("demo_matrix.svg", "demo_expected.svg"):
        assert f"({name})" in text
        assert (file.parent / name).read_text().startswith("<svg")
    assert str(grid) not in text
    assert str(tmp_path) not in text
    assert "lm-research study mine\nlm-research sweep sweep=demo" in text


def test_it_begins_with_what_each_part_comes_to(study) -> None:
    text = page(study).text()
    short = text[text.index("## In short") : text.index("## What was expected")]
    for winner in study.winners:
        reached = study.metric.text(winner.estimate.mean)
        assert f"On `{winner.source}`, `{winner.best.phrase}` does best at {reached}" in short
    ratios = page(study, ratios=("model", "rnn")).text()
    ours = next(s for s in study.settings if s["model"] == "lstm")
    base = next(
        s for s in study.settings if s.others("model") == ours.others("model") and s is not ours
    )
    times = ratio(ours, base, study)
    said = f"{times.mean:.2f} times ({times.low:.2f} to {times.high:.2f}) with "
    assert said + " · ".join(ours.others("model")).replace("_", "\\_") in ratios
    assert "`lstm` reaches `rnn`'s bits per byte" in ratios


def test_each_hypothesis_is_answered(study) -> None:
    text = page(study).text()
    held, untested = study.hypotheses
    answer = {"supported": "Borne out", "undecided": "Not shown"}[held.outcome]
    assert f"- **{answer}**: `model=lstm < model=rnn`: " in text
    assert "- **Not tested**: `vectorizer=tfidf < vectorizer=one\\_hot`" not in text  # code stays
    assert f"- **Not tested**: `{untested.hypothesis.text}`: " in text


def test_what_is_missing_is_named_first(study) -> None:
    whole = page(study).text()
    assert "Incomplete" not in whole
    names = tuple(f"model-rnn--seed-{i}" for i in range(14))
    text = page(study, missing=names).text()
    done = len(study.runs) - 14
    assert f"| {done} of {len(study.runs)} |" in text
    assert f"**Incomplete.** {done} of {len(study.runs)} runs are done" in text
    assert "`model-rnn--seed-0`" in text
    assert "and 2 more." in text


def test_a_page_of_nothing_says_so(study) -> None:
    empty = analyse([], study.sweep)
    part = Part(empty, "lm-research sweep sweep=demo", planned=2, missing=("a", "b"))
    text = StudyPage("Which?", "", "lm-research study mine", [part]).text()
    assert "**Incomplete.** 0 of 2 runs are done, 0 settings, seeds none." in text
    assert text.count("**Not tested**") == 2


def test_another_file_is_not_replaced(study, tmp_path) -> None:
    (tmp_path / README).write_text("mine")
    with pytest.raises(FileExistsError):
        page(study).write(tmp_path)
    assert (tmp_path / README).read_text() == "mine"


def test_ratios_are_geometric_means_over_seeds(study) -> None:
    ours = next(s for s in study.settings if s["model"] == "lstm")
    base = next(
        s for s in study.settings if s.others("model") == ours.others("model") and s is not ours
    )
    a, b = (list(s.values_by_seed(study.metric.key).values()) for s in (ours, base))
    logs = np.log(np.array(a) / np.array(b))
    low, high = stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs))
    found = ratio(ours, base, study)
    assert found.mean == pytest.approx(stats.gmean(a) / stats.gmean(b))
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))


def test_ratios_pair_equal_other_choices(study) -> None:
    table = ratios_table(study, "model", "rnn")
    expected = sum(setting["model"] != "rnn" for setting in study.settings)
    assert len(table.rows) == expected
    assert {row[2].text for row in table.rows} == {"lstm"}
