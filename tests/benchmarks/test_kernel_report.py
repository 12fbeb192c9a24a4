"""The benchmark's figures: on disk, as ratios, in reports."""

import json
import math
from dataclasses import replace

import pytest
from kernel_suite import (
    paths,
    plot,
    points,
    ratios,
    report,
    store,
)
from kernel_suite.points import Point
from kernel_suite.store import Row

from lm_research.kernels.measured import slug

POINT = Point("lstm", 64, 16, 512, "bf16")


# --- figures on disk


def test_rows_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "kernels.csv"
    odd = Row("nn", "failed", note='a, "b"\nand c', launches=3)
    full = Row("ours", "ok", 1.5, 1.25, 2.0, 30, 1e-6, 1e-5, "every step", 7, "2x k", 0.5, 0.25)
    full.host_us, full.wall_ms = 55.5, 1.125
    store.append(path, POINT, [odd, full])
    found = store.read(path)[POINT]
    assert found["ours"].ms == 1.5
    assert repr(found["ours"]) == repr(full)
    assert repr(found["nn"]) == repr(odd)
    assert math.isnan(found["nn"].ms)


def test_later_rows_count_and_a_torn_one_does_not(tmp_path):
    path = tmp_path / "kernels.csv"
    store.append(path, POINT, [Row("nn", "ok", 2.0)])
    store.append(path, POINT, [Row("nn", "ok", 3.0)])
    whole = path.read_text()
    path.write_text(whole + "lstm,64,16,64,fp32,1,1,layer,forw")
    assert {p: r["nn"].ms for p, r in store.read(path).items()} == {POINT: 3.0}


def test_a_run_goes_on_after_a_torn_row(tmp_path):
    path = tmp_path / "kernels.csv"
    store.append(path, POINT, [Row("nn", "ok", 2.0)])
    path.write_text(path.read_text() + "lstm,64,16,64,fp32,1,1,layer,forw")
    store.append(path, replace(POINT, hidden=128), [Row("nn", "ok", 3.0)])
    assert [p.hidden for p in store.read(path)] == [64, 128]


def test_a_file_with_other_columns_is_refused(tmp_path):
    path = tmp_path / "kernels.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="other columns"):
        store.read(path)


def test_a_point_is_missing_until_every_contender_has_a_row():
    other = replace(POINT, hidden=128)
    table = {POINT: {"nn": Row("nn", "ok"), "ours": Row("ours", "failed")}}
    assert store.missing([POINT, other], table, ["nn", "ours"]) == [other]
    assert store.missing([POINT], table, ["nn", "torchrl"]) == [POINT]


def test_the_device_names_the_file():
    assert slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"


# --- report


def made_up():
    """nn, ours and FlashRNN at a few points, with ratios that are easy to average."""
    flash = Point("lstm", 768, 16, 1024, "bf16", heads=12, accounting="scan", mode="forward")
    one, four = POINT, replace(POINT, hidden=256)
    back = replace(POINT, mode="both")
    return {
        one: {"nn": Row("nn", "ok", 2.0, path="persistent"), "ours": Row("ours", "ok", 2.0)},
        four: {
            "nn": Row("nn", "ok", 8.0, path=paths.EVERY_STEP, peak_mib=10.0, share=0.1),
            "ours": Row("ours", "ok", 2.0, peak_mib=5.0, share=0.4, first_call_s=1.0),
        },
        back: {"nn": Row("nn", "ok", 3.0), "ours": Row("ours", "wrong", error=0.5, limit=0.02)},
        flash: {
            "flashrnn-cuda": Row("flashrnn-cuda", "ok", 9.0),
            "flashrnn-triton": Row("flashrnn-triton", "ok", 6.0),
            "ours": Row("ours", "ok", 1.5),
        },
    }


def test_goals_by_hand():
    forward, backward, stepped, least, flash = ratios.goals(made_up())
    assert forward.found == pytest.approx(2.0)  # of 1 and 4
    assert (forward.points, forward.verdict) == (2, "met")
    assert (backward.found, backward.verdict) == (None, "not measured")
    assert (stepped.found, stepped.points, stepped.of) == (pytest.approx(4.0), 1, 1)
    assert (least.found, least.verdict) == (1.0, "met")
    assert flash.found == pytest.approx(4.0)  # of the faster backend
    assert flash.of == 24


def test_geometric_means_by_cell():
    assert ratios.geometric_mean([]) is None
    assert ratios.geometric_mean([1, 100]) == pytest.approx(10)
    [mean] = ratios.by_cell(made_up())
    assert (mean.name, mean.cell, mean.mode, mean.points) == ("ours", "lstm", "forward", 2)
    assert (mean.cold, mean.least, mean.wall, mean.host) == (pytest.approx(2), 1.0, None, None)


def test_torchs_own_path_counts_as_1_and_figures_without_a_flush_by_themselves():
    rows = {"nn": Row("nn", "ok", 8.0, host_us=20.0, wall_ms=6.0)}
    rows |= {"ours": Row("ours", store.SAME), "fused": Row("fused", "ok", 2.0, wall_ms=3.0)}
    rows["fused"].host_us = 80.0
    fused, ours = ratios.by_cell({POINT: rows})
    assert (fused.cold, fused.wall, fused.host) == (pytest.approx(4), 2.0, pytest.approx(0.25))
    assert (ours.cold, ours.wall, ours.host) == (1.0, 1.0, 1.0)
    assert report.mean_rows({POINT: rows})[0][-2:] == ["2.00", "0.25"]
    assert not report.trouble_rows({POINT: rows})


def test_a_report_of_made_up_figures(tmp_path, capsys):
    path = tmp_path / "kernels-gpu.csv"
    for point, rows in made_up().items():
        store.append(path, point, list(rows.values()))
    about = {"device": "A made-up GPU", "date": "2026-01-01", "versions": {"torch": "2"}}
    path.with_suffix(".json").write_text(json.dumps(about))
    report.write(path)
    text = path.with_suffix(".md").read_text()
    assert "# Fused recurrent kernels on A made-up GPU, 2026-01-01" in text
    assert "cuDNN launches every step, geometric mean | 4.00 | 4.00 | 1 of 1 | met |" in text
    assert "| with backward against torch.nn, geometric mean | 1.50 |  | 0 of 3024 |" in text
    assert "| ours | lstm | forward | 2.00 | 1.00 | 2 |" in text
    assert "| lstm | 256 | 4.00 |" in text
    assert "flashrnn-cuda 9.000; flashrnn-triton 6.000; ours 1.500" in text
    assert "| ours | wrong | 5.0e-01 (limit 2e-02) |" in text
    assert "| lstm | bf16 | forward | 256 | every step (1) |" in text
    assert "DRY RUN" not in text
    page = (tmp_path / "kernels-gpu.html").read_text()
    assert page.count("plotly.js v") == 1  # the library itself
    assert "cdn.plot.ly" not in page.split("plotly.js v")[0]
    assert "Times faster than torch.nn" in capsys.readouterr().out


def test_without_plotly_there_is_a_report_and_a_word(tmp_path, monkeypatch, capsys):
    path = tmp_path / "kernels-gpu.csv"
    for point, rows in made_up().items():
        store.append(path, point, list(rows.values()))
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    report.write(path)
    assert path.with_suffix(".md").exists()
    assert not path.with_suffix(".html").exists()
    assert "no plot: plotly is not installed" in capsys.readouterr().out


def test_the_summary_is_short_enough_to_come_back(tmp_path, capsys):
    path, names = tmp_path / "kernels-gpu.csv", [*ratios.OURS, "torchrl", "haste", "flashrnn-cuda"]
    for point in points.full_grid()[:400]:
        rows = [Row(name, "ok", 1.234, wall_ms=1.0, host_us=2.0) for name in ["nn", *names]]
        failed = Row("another", "failed", note="a long word " * 20)
        store.append(path, point, [*rows, failed])
    report.write(path)
    told = capsys.readouterr().out
    assert len(told) < 12_000
    assert "more: see the log, the table" in told
    assert path.with_suffix(".md").read_text().count("a long word") == 400 * 20


def test_a_report_of_nothing(tmp_path):
    path = tmp_path / "kernels-gpu.csv"
    report.write(path)
    assert "0 points" in path.with_suffix(".md").read_text()
