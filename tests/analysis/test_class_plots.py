"""ROC and precision-recall curves in the report come from the best setting of a source."""

import json

import plotly.graph_objects as go
import pytest

from lm_research.analysis.classified import MOST_CURVES, curves_of
from lm_research.analysis.plots import class_curve_plots
from lm_research.analysis.report import write_report
from lm_research.analysis.runs import find_runs
from lm_research.analysis.study import analyse
from lm_research.analysis.sweep import load_sweep

from .conftest import write_run

CURVE = {"class": "<bad>", "area": 0.75, "x": [0.0, 0.5, 1.0], "y": [0.0, 0.8, 1.0]}


BINS = {"name": "before", "probability": [0.4, 0.9], "right": [0.5, 0.7], "count": [10, 90]}


def kept(**change):
    bins = [BINS, BINS | {"name": "after"}]
    curves = {"roc": [CURVE | change], "precision_recall": [CURVE | change, CURVE]}
    return curves | {"reliability": bins}


def study(folder, curves):
    for model, loss in (("lstm", 0.5), ("bag", 0.4)):
        choices = {"data": "tweets", "model": model}
        place = write_run(folder / model, choices, 1, {"val/bits_per_byte": loss})
        if model == "bag":
            (place / "curves.json").write_text(json.dumps({"validation": curves}))
    return analyse(find_runs(folder), load_sweep(folder))


def test_the_curves_of_the_best_setting(tmp_path):
    drawn = [go.Figure(json.loads(f.to_json())) for f in class_curve_plots(study(tmp_path, kept()))]
    assert [figure.layout.title.text.split(",")[0] for figure in drawn] == [
        "ROC",
        "Precision and recall",
        "Reliability",
    ]
    names = [trace.name for trace in drawn[2].data]
    assert names == ["before temperature scaling", "after temperature scaling", None]
    assert drawn[2].data[0].y == (0.5, 0.7)
    first = drawn[0].data[0]
    assert (first.x, first.y) == ((0.0, 0.5, 1.0), (0.0, 0.8, 1.0))
    assert first.name == "&lt;bad&gt; 0.750"
    assert len(drawn[0].data) == 2  # and chance
    assert len(drawn[1].data) == 2
    page = write_report(find_runs(tmp_path), load_sweep(tmp_path), tmp_path / "r.html").read_text()
    assert "true positive rate" in page
    assert "<bad>" not in page


def test_a_page_stays_small(tmp_path):
    many = kept() | {"roc": [CURVE] * 50, "precision_recall": []}
    drawn, reliability = class_curve_plots(study(tmp_path, many))
    assert len(drawn.data) == MOST_CURVES + 1
    assert len(reliability.data) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"x": [0.0, 1.0]},
        {"x": [], "y": []},
        {"y": [0.0, 2.0, 1.0]},
        {"y": [0.0, float("nan"), 1.0]},
        {"x": [0.5] * 201, "y": [0.5] * 201},
        {"area": None},
        {"area": "x"},
        {"x": 3},
    ],
)
def test_damaged_ones_are_left_out(tmp_path, change):
    found = study(tmp_path, kept(**change))
    assert class_curve_plots(found) == []


@pytest.mark.parametrize(
    "change", [{"right": [0.5]}, {"count": [0, 1]}, {"probability": [0.4, 1.2]}, {"right": None}]
)
def test_damaged_bins_are_left_out(tmp_path, change):
    assert class_curve_plots(study(tmp_path, kept() | {"reliability": [BINS | change]})) == []


def test_runs_without_curves(tmp_path):
    write_run(tmp_path / "a", {"data": "tweets"}, 1, {"val/bits_per_byte": 1.0})
    assert curves_of(find_runs(tmp_path)[0]) is None
