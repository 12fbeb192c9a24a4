"""A study's matrix of sources in W&B: one run, with intervals over seeds, sent once."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from scipy import stats

from lm_research.tracking.recorder import Recorder
from lm_research.tracking.run_folder import RunFolder
from lm_research.tracking.wandb_study import (
    COLUMNS,
    PUBLISHED,
    matrix_rows,
    study_at,
    study_tables,
)

MAIN = "from lm_research.cli.main import main; main()"
NODE = {"name": "sources", "title": "Sources", "metric": "val/bits_per_byte"}
SCORES = {"code": [2.0, 2.2, 2.4], "tweets": [3.0, 3.1, 3.5]}
"""Bits per byte on tweets, by training source, of three seeds."""


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "sweep.yaml").write_text(yaml.safe_dump(NODE))
    for source, values in SCORES.items():
        for seed, value in enumerate(values):
            add_run(folder / f"{source}-{seed}", source, seed, value)
    return folder


def add_run(path, source, seed, value):
    config = {"choices": {"data": source}, "data": {"name": source}, "seed": seed}
    run = RunFolder.create(path, {**config, "tracking": {"mode": "disabled", "group": "sources"}})
    recorder = Recorder(run, ())
    recorder.start()
    recorder.summary({"val/bits_per_byte": value, "eval/tweets/bits_per_byte": value})
    recorder.data({"fingerprint": "f00d", "evaluated": {"tweets": {"text_sha256": "7"}}})
    (run.path / "evaluations").mkdir()
    kept = {"document_nats": np.full(5, value * np.log(2)), "document_bytes": np.ones(5)}
    np.savez(run.path / "evaluations/eval-tweets.npz", **kept)
    recorder.finish("done")
    run.close()


def sync(tmp_path, server, apart, folder):
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "sync", str(folder)],
        capture_output=True, text=True, timeout=180, env=os.environ | apart(tmp_path, server.url),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if f" {folder}: " in line]


def test_the_matrix_has_both_intervals(study):
    rows = matrix_rows(study_at(study))
    assert [row[:2] for row in rows] == [["code", "tweets"], ["tweets", "tweets"]]
    for row in rows:
        found = dict(zip(COLUMNS, row, strict=True))
        values = SCORES[found["trained_on"]]
        mean, half = np.mean(values), stats.sem(values) * stats.t.ppf(0.975, 2)
        assert found["mean"] == pytest.approx(mean)
        assert found["seeds_low"] == pytest.approx(mean - half)
        assert found["seeds_high"] == pytest.approx(mean + half)
        assert found["seeds"] == 3
        assert found["documents_low"] == pytest.approx(mean)  # all documents are alike


VERDICT = {
    "rows": [
        {"name": "LSTM", "metric": "test/ppl", "published": 100.0, "mark": "V", "tolerance": 2.0,
         "values": {"1": 101.0, "2": 103.0}, "state": "reproduced", "why": "two seeds",
         "ours": {"mean": 102.0, "sd": 1.4, "low": 89.3, "high": 114.7, "n": 2}},
    ]
}  # fmt: skip


def test_a_papers_numbers_go_beside_ours(study):
    assert set(study_tables(study_at(study))) == {"sources"}
    (study / "verdict.json").write_text(json.dumps(VERDICT))
    columns, rows = study_tables(study_at(study))["published"]
    assert columns == PUBLISHED
    assert rows == [["LSTM", "test/ppl", 100.0, 102.0, 89.3, 114.7, 2, 2.0, "reproduced"]]
    (study / "verdict.json").write_text("[]")
    with pytest.raises(ValueError, match=r"verdict\.json: damaged .* judge again by"):
        study_at(study)


def test_a_folder_that_is_no_study_has_none(tmp_path, study):
    assert study_at(tmp_path / "nowhere") is None
    assert study_at(study / "code-0") is None


def test_a_study_is_one_run_that_is_sent_when_it_has_changed(tmp_path, wandb_server, apart, study):
    (first,) = sync(tmp_path, wandb_server, apart, study)
    assert "sent" in first
    assert "the matrix of sources to" in first
    tables = [v for name, v in wandb_server.uploads.items() if "table/sources" in name]
    assert json.loads(tables[0]) == {
        **json.loads(tables[0]),
        "columns": COLUMNS,
        "data": matrix_rows(study_at(study)),
    }
    before = len(wandb_server.runs)
    assert before == 7
    (again,) = sync(tmp_path, wandb_server, apart, study)
    assert "nothing new of the study" in again
    add_run(study / "code-3", "code", 3, 2.6)
    add_run(study / "tweets-3", "tweets", 3, 2.6)
    (third,) = sync(tmp_path, wandb_server, apart, study)
    assert "the matrix of sources to" in third
    assert len(wandb_server.runs) == before + 2


SEND = """
import pathlib, sys
from lm_research.cli.sync import send_study
send_study(pathlib.Path(sys.argv[1]))
"""


def test_at_the_end_of_a_study_it_is_sent_or_told_how(tmp_path, wandb_server, apart, study):
    def ended(url):
        done = subprocess.run(
            [sys.executable, "-c", SEND, str(study)],
            capture_output=True, text=True, timeout=180, env=os.environ | apart(tmp_path, url),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert "the matrix of sources to" in ended(wandb_server.url)
    assert len(wandb_server.runs) == 1
    assert ended(wandb_server.url) == ""
    told = ended("http://127.0.0.1:9")
    assert "the study was not sent to W&B (http://127.0.0.1:9: " in told
    assert f"`lm-research sync {study}` does it later" in told
