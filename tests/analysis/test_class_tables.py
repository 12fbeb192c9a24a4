"""Tables of classes come from the best setting of a source, and from classifiers alone."""

import json

import pytest

from lm_research.analysis.report import write_report
from lm_research.analysis.runs import find_runs
from lm_research.analysis.study import analyse
from lm_research.analysis.sweep import load_sweep
from lm_research.analysis.tables import (
    all_tables,
    class_tables,
    mistake_tables,
    multilabel_tables,
)

from .conftest import write_run

CELLS = [[3, 1], [0, 4]]


def study(folder, kept, predictions=(), **summary):
    for model, loss in (("lstm", 0.5), ("bag", 0.4)):
        for seed in (1, 2):
            place = folder / f"{model}{seed}"
            choices = {"data": "tweets", "model": model}
            write_run(place, choices, seed, {"val/bits_per_byte": loss + seed / 100, **summary})
            if model == "bag":
                (place / "classes.json").write_text(json.dumps(kept))
                rows = "".join(json.dumps(row) + "\n" for row in predictions)
                (place / "predictions.jsonl").write_text(rows)
    return analyse(find_runs(folder), load_sweep(folder))


def test_the_best_settings_seeds_are_added_up(tmp_path):
    kept = {"classes": ["<bad>", "good"], "validation": {"confusion": CELLS}}
    found = study(tmp_path, kept)
    (table,) = class_tables(found)
    assert table in all_tables(found)
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows == [
        ["<bad>", "1.000", "0.750", "0.857", "8", "6", "2"],
        ["good", "0.800", "1.000", "0.889", "8", "0", "8"],
    ]
    page = write_report(find_runs(tmp_path), load_sweep(tmp_path), tmp_path / "r.html").read_text()
    assert "as &lt;bad&gt;" in page


def test_what_is_counted_has_its_name(tmp_path):
    kept = {"classes": ["a", "b"], "unit": "words", "validation": {"confusion": CELLS}}
    (table,) = class_tables(study(tmp_path, kept))
    assert [column.head for column in table.columns][4] == "words"
    assert "the words that were taken" in table.notes[0]


@pytest.mark.parametrize(
    "kept",
    [
        {},
        [],
        {"classes": ["a"], "validation": {"confusion": [[1, 2]]}},
        {"classes": ["a", "b"], "validation": {"confusion": [[1, "x"], [0, 1]]}},
        {"classes": ["a", "b"], "validation": {"confusion": [[1, -1], [0, 1]]}},
        {"classes": ["a", "b"], "unit": "<b>", "validation": {"confusion": CELLS}},
    ],
)
def test_damaged_ones_are_left_out(tmp_path, kept):
    assert class_tables(study(tmp_path, kept)) == []


COUNTS = {"hits": [3, 0], "support": [4, 0], "predicted": [5, 1]}


def test_of_several_labels_there_are_counts_by_class(tmp_path):
    found = study(tmp_path, {"classes": ["<a>", "b"], "validation": COUNTS})
    assert class_tables(found) == []
    (table,) = multilabel_tables(found)
    assert table in all_tables(found)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["<a>", "0.600", "0.750", "0.667", "8", "10"],
        ["b", "0.000", "0.000", "0.000", "0", "2"],
    ]


@pytest.mark.parametrize(
    "change",
    [{"hits": [3]}, {"hits": [5, 0]}, {"support": [4, -1]}, {"predicted": "x"}, {"hits": None}],
)
def test_damaged_counts_are_left_out(tmp_path, change):
    kept = {"classes": ["a", "b"], "validation": COUNTS | change}
    assert multilabel_tables(study(tmp_path, kept)) == []


KEPT = {"classes": ["a", "b"], "validation": {"confusion": CELLS}}


def test_mistakes_the_most_certain_first(tmp_path):
    rows = [
        {"split": "validation", "text": t, "label": a, "predicted": b, "probability": p}
        for t, a, b, p in (("1", "a", "b", 0.6), ("2", "a", "a", 0.99), ("<3>", "b", "a", 0.9))
    ]
    rows += [rows[0] | {"split": "test", "text": "4"}, {"split": "validation", "text": "no label"}]
    found = study(tmp_path, KEPT, rows, **{"val/f1_macro": 0.5})
    (table,) = mistake_tables(found)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["<3>", "b", "a", "0.900"],
        ["1", "a", "b", "0.600"],
    ]
    page = write_report(find_runs(tmp_path), load_sweep(tmp_path), tmp_path / "r.html").read_text()
    assert "What it gets wrong" in page
    assert "&lt;3&gt;" in page


def test_mistakes_where_there_are_several_labels(tmp_path):
    rows = [
        {"labels": ["a"], "predicted": ["b"], "probabilities": {"a": 0.05, "b": 0.7}},
        {"labels": ["a", "b"], "predicted": ["b", "a"], "probabilities": {"a": 0.9, "b": 0.7}},
        {"labels": [], "predicted": ["b"], "probabilities": {"b": 0.8}},
        {"labels": ["a"], "predicted": [], "probabilities": {}},  # damaged
        {"labels": 3, "predicted": [], "probabilities": {}},
    ]
    rows = [row | {"split": "validation", "text": str(i)} for i, row in enumerate(rows)]
    (table,) = mistake_tables(study(tmp_path, KEPT, rows, **{"val/f1_macro": 0.5}))
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["0", "a", "b", "0.950"],  # a was surely not seen
        ["2", "none", "b", "0.800"],
    ]


def test_what_is_of_another_task_has_no_mistakes(tmp_path):
    rows = [{"split": "validation", "text": "x", "label": "a", "predicted": "b", "probability": 1}]
    assert mistake_tables(study(tmp_path, KEPT, rows)) == []
