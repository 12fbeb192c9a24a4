"""Tables and heat maps of written texts, with baselines; damaged files are left out."""

import json
import random

import pytest

from lm_research.analysis.plots import attention_plots
from lm_research.analysis.report import write_report
from lm_research.analysis.runs import find_runs
from lm_research.analysis.study import analyse
from lm_research.analysis.sweep import load_sweep
from lm_research.analysis.tables import baseline_tables, written_tables

from .conftest import write_run

WORDS = [f"word{i}" for i in range(40)]
ATTENDED = {"source": ["<a>", "b"], "written": ["x", "(end)"], "weights": [[0.9, 0.1], [0.2, 0.8]]}


def write_study(folder, attended=ATTENDED, spoil=None):
    draw = random.Random(0)
    true = [" ".join(draw.choices(WORDS, k=9)) for _ in range(60)]
    for model, rate, bleu in (("gru", 0.1, 60.0), ("rnn", 0.5, 20.0)):
        for seed in (1, 2):
            place = folder / f"{model}{seed}"
            scores = {"val/bleu": bleu + seed, "val/chrf": bleu, "val/copy_rate": 0.5}
            scores |= {"val/novel_bigrams": 0.5, "baseline/copy_source/val_bleu": 0.25}
            write_run(place, {"data": "pairs", "model": model}, seed, scores)
            rows = [
                {
                    "split": "validation",
                    "id": str(n),
                    "source": f"<source {n}>",
                    "target": text,
                    "predicted": " ".join(
                        draw.choice(WORDS) if draw.random() < rate else w for w in text.split()
                    ),
                }
                for n, text in enumerate(true)
            ]
            if spoil:
                rows[3] |= spoil
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (place / "predictions.jsonl").write_text(lines)
            (place / "attention.json").write_text(json.dumps({"texts": [attended]}))
    runs = find_runs(folder)
    return runs, load_sweep(folder, runs)


def test_settings_are_compared_over_documents_and_examples_shown(tmp_path):
    runs, sweep = write_study(tmp_path)
    assert sweep.metric.key == "val/bleu"
    study = analyse(runs, sweep)
    scores, examples = written_tables(study)
    assert [row[0].text for row in scores.rows] == ["gru", "rnn"]
    low, _, high = scores.rows[1][3].text.partition(" to ")
    assert low.startswith("−")
    assert high.startswith("−")
    assert float(scores.rows[1][4].text) < 0.01
    assert examples.rows[0][0].text == "<source 0>"
    (table,) = baseline_tables(study)
    assert [[cell.text for cell in row] for row in table.rows][1] == ["copy source", "0.25"]
    (_drawn,) = attention_plots(study)
    page = write_report(runs, sweep, tmp_path / "r.html").read_text()
    assert "&lt;source 0&gt;" in page
    assert "<source 0>" not in page


@pytest.mark.parametrize(
    "attended",
    [
        {},
        7,
        {"source": ["a"], "written": ["x"], "weights": [[0.1, 0.9]]},
        {"source": ["a"], "written": ["x"], "weights": [["y"]]},
        {"source": [], "written": [], "weights": []},
    ],
)
def test_damaged_attention_is_left_out(tmp_path, attended):
    assert attention_plots(analyse(*write_study(tmp_path, attended))) == []


@pytest.mark.parametrize("spoil", [{"predicted": 3}, {"target": None}])
def test_damaged_texts_are_left_out(tmp_path, spoil):
    assert written_tables(analyse(*write_study(tmp_path, spoil=spoil))) == []
