"""Tables of classes come from the best setting of a source, and from classifiers alone."""

import json

import pytest

from lm_research.analysis.report import write_report
from lm_research.analysis.runs import find_runs
from lm_research.analysis.study import analyse
from lm_research.analysis.sweep import load_sweep
from lm_research.analysis.tables import all_tables, class_tables

from .conftest import write_run

CELLS = [[3, 1], [0, 4]]


def study(folder, kept):
    for model, loss in (("lstm", 0.5), ("bag", 0.4)):
        for seed in (1, 2):
            place = folder / f"{model}{seed}"
            choices = {"data": "tweets", "model": model}
            write_run(place, choices, seed, {"val/bits_per_byte": loss + seed / 100})
            if model == "bag":
                (place / "classes.json").write_text(json.dumps(kept))
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
