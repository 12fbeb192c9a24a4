"""From a benchmark's CSV to the file that dispatch reads. All figures are made up."""

import json

import pytest
from kernel_suite import measured, store
from kernel_suite.points import Point
from kernel_suite.store import Row

from lm_research.kernels.measured import Kind, Measured

LAYER = Point("lstm", 64, 16, 512, "bf16", mode="both")
HEADS = Point("lstm", 768, 16, 1024, "bf16", 1, 12, mode="both")
SCAN = Point("lstm", 768, 16, 1024, "bf16", 1, 12, "scan", "both")
ABOUT = {"device": "Made-up GPU 1", "date": "2026-01-02", "versions": {"torch": "2"}}
ABOUT |= {"dry_run": False}


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "kernels-made-up-gpu-1.csv"
    store.append(
        path, LAYER, [Row("nn", "ok", 3.0), Row("ours", "ok", 3.0), Row("fused", "ok", 2.0)]
    )
    store.append(path, HEADS, [Row("nn", "unsupported"), Row("fused", "ok", 1.23456)])
    store.append(path, SCAN, [Row("fused", "ok", 1.0)])
    wrong = Point("gru", 64, 16, 512, "bf16")
    store.append(path, wrong, [Row("nn", "ok", 3.0), Row("fused", "wrong", 1.0)])
    return path


def test_dispatch_reads_what_is_written(csv, tmp_path):
    path = measured.write(csv, ABOUT, tmp_path)
    assert path.name == "made-up-gpu-1.json"
    found = Measured(path)
    kind = Kind("lstm", "bf16", "both", 1, 1)
    ratio = found.ratio(kind, kind, (64, 64), (16, 16), (512, 512))
    assert (ratio.value, ratio.form) == (1.5, "single")
    assert (found.device, found.date) == ("Made-up GPU 1", "2026-01-02")


def test_what_is_wrong_or_not_of_a_layer_has_no_row(csv, tmp_path):
    rows = json.loads(measured.write(csv, ABOUT, tmp_path).read_text())["rows"]
    assert rows == [
        ["lstm", "bf16", "both", 1, 1, 64, 16, 512, 3.0, 2.0, "single"],
        ["lstm", "bf16", "both", 1, 12, 768, 16, 1024, None, 1.235, "single"],
    ]


def test_the_fastest_form_counts(csv, tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "FUSED_NAMES", {"single": "fused", "other": "fused-other"})
    store.append(csv, LAYER, [Row("fused-other", "ok", 1.0)])
    rows = json.loads(measured.write(csv, ABOUT, tmp_path).read_text())["rows"]
    assert rows[0][-2:] == [1.0, "other"]


def test_no_table_of_a_dry_run_or_of_nothing(csv, tmp_path):
    with pytest.raises(ValueError, match="dry run"):
        measured.write(csv, {**ABOUT, "dry_run": True}, tmp_path)
    with pytest.raises(ValueError, match="no fused kernel"):
        measured.write(tmp_path / "nothing.csv", ABOUT, tmp_path)
