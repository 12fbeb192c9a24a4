"""The benchmark of the kernels, as far as no GPU is needed: grid, figures, gate, reports."""

import importlib.util
import io
import json
import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import kernel_suite
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_suite import (
    cases,
    check,
    check_gpu,
    contenders,
    floor,
    losses,
    paths,
    peers,
    points,
    ratios,
    report,
    speed,
    store,
    timing,
)
from kernel_suite.cases import Case
from kernel_suite.points import Point
from kernel_suite.problem import Problem, worst
from kernel_suite.store import Row
from rich.console import Console

from lm_research.kernels.checks import real_resets
from lm_research.kernels.measured import slug
from lm_research.kernels.ops import previous
from lm_research.kernels.reference import lstm_scan, recurrent, rnn_scan
from lm_research.kernels.walk import Walk

POINT = Point("lstm", 64, 16, 512, "bf16")
SMALL = Point("lstm", 8, 3, 4, "fp32")


@pytest.fixture
def out():
    return Console(width=170, record=True, file=io.StringIO())


# --- grid


def test_the_grid_is_the_whole_product_and_flashrnns_own():
    layers = points.layer_grid()
    assert len(set(layers)) == len(layers) == 3 * 7 * 6 * 3 * 4 * 2 * 2
    heads = points.head_grid()
    assert {(p.head_size, p.heads) for p in heads} == {
        (16, 48), (32, 24), (64, 12), (128, 6), (256, 3), (768, 1),
    }  # fmt: skip
    full = points.full_grid()
    assert len(full) == len(set(full))
    assert set(full) == {*layers, *heads}
    assert full[: len(points.quick_grid())] == points.quick_grid()
    assert full == points.full_grid()  # the order is the same in every run


def test_a_run_cut_short_has_seen_all_of_the_grid():
    begun = points.full_grid()[:300]
    for name, values in [("hidden", points.HIDDEN), ("dtype", points.DTYPES), ("layers", (1, 2))]:
        assert {getattr(p, name) for p in begun} >= set(values)


@given(st.sampled_from(points.full_grid()))
def test_a_point_is_read_as_it_was_written(point):
    assert points.of_text(points.as_text(point)) == point


# --- figures on disk


def test_rows_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "kernels.csv"
    odd = Row("nn", "failed", note='a, "b"\nand c', launches=3)
    full = Row("ours", "ok", 1.5, 1.25, 2.0, 30, 1e-6, 1e-5, "every step", 7, "2x k", 0.5, 0.25)
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


# --- floor


def test_floor_by_hand():
    point = Point("gru", 8, 2, 5, "fp16", layers=2, mode="forward")
    # 2 layers of 10 rows: (8 + 8) x 24 multiplications, and as many additions
    assert floor.flops_of(point) == 2 * 2 * 10 * 16 * 24
    elements = 10 * 8 + 10 * 8 + 2 * (24 * 8 + 24 * 8 + 2 * 24)
    assert floor.bytes_of(point) == 2 * elements
    assert floor.flops_of(replace(point, mode="both")) == 3 * floor.flops_of(point)
    # x twice, dy, y, dx; each weight twice and its gradient
    both = 3 * 80 + 2 * 80 + 3 * 2 * (24 * 8 + 24 * 8 + 2 * 24)
    assert floor.bytes_of(replace(point, mode="both")) == 2 * both
    scan = Point("lstm", 8, 2, 5, "fp32", heads=2, accounting="scan")
    assert floor.flops_of(scan) == 2 * 10 * 32 * 4
    assert floor.bytes_of(scan) == 4 * (10 * 32 + 10 * 8 + 32 * 4)


def test_the_floor_is_what_is_slower_of_the_two():
    flops, moved = floor.flops_of(POINT), floor.bytes_of(POINT)
    peaks = floor.Peaks({"bf16": flops / 2.0}, moved / 3.0)
    assert floor.floor_ms(POINT, peaks) == pytest.approx(3000)
    peaks = floor.Peaks({"bf16": flops / 4.0}, moved / 3.0)
    assert floor.floor_ms(POINT, peaks) == pytest.approx(4000)


def test_a_head_that_no_processor_holds_waits_for_an_exchange_a_step():
    point = Point("lstm", 512, 16, 100, "bf16", layers=2, mode="both")
    assert floor.exchanges_of(point, 4 * 512 * 512 * 2) == 0
    assert floor.exchanges_of(point, 4 * 512 * 512 * 2 - 1) == 2 * 101
    assert floor.exchanges_of(replace(point, heads=2), 4 * 512 * 512 * 2 - 1) == 0
    peaks = floor.Peaks({"bf16": 1e30}, 1e30, exchange=1e-6, capacity=500_000)
    assert floor.floor_ms(point, peaks) == pytest.approx(0.202)


VOLLEY = """
from kernel_suite.latency import volley
from kernel_suite.ptx.device import emulated
with emulated("sm_90", seed={seed}):
    print(volley("cpu", 9).tolist())
"""


def printed(script):
    """By a process of its own: in this one kernels may be interpreted."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(Path(kernel_suite.__file__).parents[1])
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize("seed", [0, 1])
def test_two_programs_see_each_others_words(seed):
    assert printed(VOLLEY.format(seed=seed)) == ["[9, 9]"]


COMPILE = """
from triton.runtime import driver
from kernel_suite.cases import Case, inputs_of, results
from kernel_suite.check import poisoned_memory
from kernel_suite.ptx.check import served
from kernel_suite.ptx.device import Driver, target_of
from kernel_suite.warm import compile_only
from lm_research.kernels.fused.polled import elman

case = Case("rnn", "bf16", 2, 3, 40, form="polled")
driver.set_active(Driver(target_of("sm_90")))
with served("polled", "sm_90"), poisoned_memory(), compile_only():
    y = results(case, *inputs_of(case, "cpu"), case.backend)[0]
print(y.isnan().all().item())
for kernel in (elman.forward_kernel, elman.backward_kernel):
    print(sum(len(found[0]) for found in kernel.device_caches.values()))
"""


def test_kernels_may_be_compiled_and_not_run():
    assert printed(COMPILE) == ["True", "1", "1"]


# --- timing


class FakeClock:
    """Each contender takes its own time, one of them longer on every third buffer."""

    def __init__(self):
        self.seen = []

    def run(self, call, numbers):
        return [call(number) for number in numbers]


def test_blocks_are_interleaved_and_buffers_rotate():
    seen = []

    def call(name, ms):
        def timed(number):
            seen.append((name, number))
            return ms + 10 * (number % 3 == 0)

        return timed

    found = timing.interleaved({"a": call("a", 5.0), "b": call("b", 50.0)}, FakeClock(), blocks=4)
    assert found["a"].ms == 5.0
    assert found["b"].ms == 50.0
    assert found["b"].samples == 4 * timing.LEAST
    numbers = [number for name, number in seen if name == "a"]
    assert numbers == list(range(len(numbers)))
    turns = [name for i, (name, _) in enumerate(seen) if i == 0 or seen[i - 1][0] != name]
    assert turns == ["a", "b"] * (2 + 4)


def test_a_summary_is_of_the_samples():
    found = timing.summary([3.0, 1.0, 2.0, 100.0, 4.0, 5.0])
    assert (found.ms, found.low, found.high, found.samples) == (3.5, 2.0, 5.0, 6)


# --- gate


KINDS = [
    SMALL,
    replace(SMALL, layers=2, mode="both"),
    replace(SMALL, cell="gru", heads=2, mode="both"),
    replace(SMALL, heads=2, accounting="scan", mode="both"),
    replace(SMALL, cell="rnn", mode="both", dtype="bf16"),
]


@pytest.mark.parametrize("point", KINDS, ids=lambda p: p.label)
@pytest.mark.parametrize("build", [contenders.torch_nn, contenders.ours, contenders.fused])
def test_contenders_agree_with_float64(build, point):
    problem = Problem(point, "cpu")
    if build is contenders.torch_nn and (point.heads > 1 or point.accounting == "scan"):
        with pytest.raises(contenders.UnsupportedError):
            build(problem)
        return
    row, contender = speed.admitted("ours", build, problem, problem.expected())
    assert (row.status, row.note) == ("ok", contender.note)
    assert row.error <= row.limit


def test_the_oracle_of_a_scan_over_heads_is_the_reference():
    problem = Problem(replace(SMALL, heads=2, accounting="scan"), "cpu")
    gates = problem.inputs[0].double()
    zero = gates.new_zeros(3, 8)
    y, _, _ = lstm_scan(gates, problem.layers[0].u_GD.double(), zero, zero, Walk())
    assert torch.allclose(problem.expected()["y"], y[problem.rows], atol=1e-12)


@pytest.mark.parametrize(
    ("factor", "name", "status"),
    [(1 + 5e-5, "peer", "inexact"), (1 + 5e-5, "ours", "wrong"), (1.5, "peer", "wrong"),
     (math.nan, "peer", "wrong")],
)  # fmt: skip
def test_who_disagrees_is_not_timed(factor, name, status):
    def build(problem):
        contender = contenders.torch_nn(problem)
        run = contender.run
        contender.run = lambda x: run(x) * factor
        return contender

    problem = Problem(SMALL, "cpu")
    row, contender = speed.admitted(name, build, problem, problem.expected())
    assert row.status == status
    assert (contender is None) == (status == "wrong")


def test_who_fails_is_told_and_does_not_stop_the_others():
    def build(problem):
        raise RuntimeError("out of\nmemory")

    problem = Problem(SMALL, "cpu")
    row, contender = speed.admitted("peer", build, problem, problem.expected())
    assert (row.status, row.note, contender) == ("failed", "RuntimeError: out of memory", None)


def test_the_worst_error_is_nan_if_one_is():
    one = torch.ones(2)
    assert math.isnan(worst({"y": one, "dx": one * math.nan}, {"y": one, "dx": one}))
    assert worst({"y": one * 1.5}, {"y": one}) == pytest.approx(0.5)


@pytest.mark.parametrize("cell", points.CELLS)
def test_peers_layouts_are_turned_back(cell):
    point = replace(SMALL, cell=cell, heads=2)
    own = Problem(point, "cpu").layers[0]
    _, r, b = peers._flashrnn_weights(point, own)
    assert r.shape == (point.gates, 2, 4, 4)
    assert len(b) == point.gates + (cell == "gru")
    assert torch.equal(peers._flashrnn_du(point, r), own.u_GD)
    order = {"lstm": [0, 2, 1, 3], "gru": [1, 0, 2], "rnn": [0]}[cell]
    assert torch.equal(peers._by_gate(peers._by_gate(own.w_GI, order), order), own.w_GI)


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    found, absent = peers.builders()
    assert list(found) == [
        "nn",
        "ours",
        "fused",
        "fused-registers",
        "fused-spread",
        "fused-polled",
        "fused-wavefront",
    ]
    assert [line.split(" is not installed")[0] for line in absent] == [*peers.PACKAGES]


def test_the_path_is_told_by_launches_and_names():
    assert paths.path_of(Counter(), 64, 1) == ""
    assert paths.path_of(Counter({"elementwise": 64}), 64, 1) == paths.EVERY_STEP
    assert paths.path_of(Counter({"RNN_blockPersist_fp_LSTM": 1, "gemm": 2}), 64, 1) == "persistent"
    assert paths.path_of(Counter({"small": 2}), 64, 1) == "few launches"
    assert paths.described(Counter({"a": 2, "b": 1})) == "2x a; 1x b"


# --- the run


class FakeSession:
    def __init__(self):
        self.seen = []

    def rows(self, point):
        self.seen.append(point)
        return [Row("nn", "ok", 2.0), Row("ours", "ok", 1.0)]


def test_a_run_stops_before_time_is_up(tmp_path):
    session, path = FakeSession(), tmp_path / "kernels.csv"
    clock = iter(range(0, 1000, 10))  # each look at the clock is 10 s later
    done = speed.measure(session, points.quick_grid(), path, 55.0, lambda: next(clock))
    assert done == len(session.seen) == 2
    assert list(store.read(path)) == points.quick_grid()[:2]


def test_a_dry_run_and_its_resumption(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "dry_grid", lambda: KINDS[:2])
    monkeypatch.setattr(timing, "BLOCKS", 1)
    options = {"device": "cpu", "quick": False, "seconds": None, "only": ["nn", "ours"]}
    assert speed.main(resume=False, folder=tmp_path, **options) == 0
    path = tmp_path / "kernels-cpu.csv"
    table = store.read(path)
    assert list(table) == KINDS[:2]
    assert all(row.ms > 0 and row.share > 0 for rows in table.values() for row in rows.values())
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["dry_run"]
    assert "DRY RUN" in path.with_suffix(".md").read_text()
    before = path.read_text()
    assert speed.main(resume=False, folder=tmp_path, **options) == 1
    assert speed.main(resume=True, folder=tmp_path, **options) == 0
    assert path.read_text() == before
    assert "2 of 2 points are done" in capsys.readouterr().out


def test_an_unknown_contender_is_named():
    with pytest.raises(ValueError, match="keras"):
        speed.chosen(["keras"])


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
    assert ratios.by_cell(made_up()) == [("ours", "lstm", "forward", pytest.approx(2), 1.0, 2)]


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
    page = (tmp_path / "kernels-gpu-ours.html").read_text()
    assert "plotly.js v" in page  # the library itself
    assert "cdn.plot.ly" not in page.split("plotly.js v")[0]
    assert "Times faster than torch.nn" in capsys.readouterr().out


def test_a_report_of_nothing(tmp_path):
    path = tmp_path / "kernels-gpu.csv"
    report.write(path)
    assert "0 points" in path.with_suffix(".md").read_text()


# --- check


def test_the_cases_cover_what_they_promise():
    small = cases.small_cases()
    assert {(c.cell, c.dtype) for c in small} == {(a, b) for a in cases.GATES for b in cases.LIMITS}
    assert {c.reverse for c in small} == {c.lengths for c in small} == {True, False}
    assert {c.resets for c in small} == {"none", "some", "each"}
    assert any(c.heads > 1 for c in small)
    assert cases.LIMITS == {"fp32": 1e-5, "fp16": 2e-3, "bf16": 2e-2}


@pytest.mark.parametrize("cell", cases.GATES)
def test_a_case_holds_and_a_wrong_kernel_does_not(cell, monkeypatch):
    case = Case(cell, "fp32", 3, 4, 6, heads=2, reverse=True, lengths=True, resets="some")
    errors = cases.errors_of(case, "cpu")
    assert list(errors) == case.names
    assert cases.holds(case, errors)
    assert not cases.holds(case, {**errors, "dh0": math.nan})
    honest = cases.scan

    def wrong(case, tensors, options, backend):
        y, *rest = honest(case, tensors, options, backend)
        return [y * (1.0 + 1e-4 * (backend == "triton")), *rest]

    monkeypatch.setattr(cases, "scan", wrong)
    assert not cases.holds(case, cases.errors_of(case, "cpu"))


@pytest.mark.parametrize("reverse", [False, True])
def test_relus_kink_is_avoided(reverse):
    case = Case("rnn_relu", "fp16", 5, 9, 6, 2, reverse, lengths=True, resets="some")
    (gates, weight, h0), options = cases.inputs_of(case, "cpu")
    given = (gates.double(), weight.double(), h0.double())
    lengths = options["lengths"]
    walk = Walk(lengths, real_resets(options["reset_mask"], lengths), reverse)
    y, _ = rnn_scan(*given, walk, "relu")
    before = previous(y, given[2], walk)
    products = recurrent(before.flatten(0, 1), given[1])[:, 0].view_as(y)
    real = torch.arange(9) < lengths[:, None]
    assert (given[0] + products)[real].abs().min() > 0.9 * cases.MARGINS["fp16"]


def test_the_interpreters_table(out):
    good, bad = Case("rnn", "fp32", 1, 2, 3), Case("gru", "bf16", 1, 2, 3, resets="each")
    errors = {good: {"y": 1e-7, "h": 2e-7}, bad: {"y": 1e-3, "h": 3e-2}}
    assert check.check_interpreted(out, [good], lambda case, device: errors[case])
    assert not check.check_interpreted(out, [good, bad], lambda case, device: errors[case])
    text = out.export_text()
    assert "3.0e-02" in text
    assert "FAILS" in text
    assert "1 of 2 cases hold" in text


def compiled(**more):
    what = {"cell": "lstm", "kernel": "forward", "kind": "bf16", "head_size": 64, "target": "sm_90"}
    made = {"warps": 8, "registers": 200, "spilled": 0, "shared": 65536, "fits": True}
    return {**what, **made, **more}


def test_the_compilers_table(out):
    assert check.check_ahead_of_time(out, lambda out: [compiled()])
    assert not check.check_ahead_of_time(out, lambda out: [compiled(), compiled(fits=False)])
    assert not check.check_ahead_of_time(out, lambda out: [])
    text = out.export_text()
    assert "65,536" in text
    assert "DOES NOT FIT" in text
    assert "1 of 2 kernels fit" in text
    assert "kernels/limits.py" in text


def test_a_compiler_that_crashes_is_no_empty_table(out):
    with pytest.raises(RuntimeError, match="No module named"):
        check.ahead_of_time_rows(out, module="no_such_module")
    rows = lambda out: check.ahead_of_time_rows(out, module="no_such_module")  # noqa: E731
    assert not check.check_ahead_of_time(out, rows)


# --- check on a GPU, as far as it goes without


def test_without_a_gpu_it_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_gpu.main() == 1
    options = {"quick": True, "resume": False, "seconds": None, "only": None, "folder": tmp_path}
    assert speed.main(device="cuda", **options) == 1
    assert capsys.readouterr().err.count("no GPU") == 2
    assert not list(tmp_path.iterdir())


def test_results_that_move_are_named(monkeypatch, out):
    case, device = Case("gru", "fp32", 2, 3, 4), "cpu"
    assert check_gpu.changes(case, device, 3) == []
    honest, calls = cases.results, iter(range(1000))

    def racing(*given):
        found = honest(*given)
        found[case.names.index("dh0")][0, 0] += 1e-6 * next(calls)
        return found

    monkeypatch.setattr(check_gpu, "results", racing)
    assert check_gpu.changes(case, device, 3) == ["dh0"]
    assert not check_gpu.check_cases(out, "", [case], device, 3)
    assert "differs: dh0" in out.export_text()


def test_a_case_that_no_kernel_serves_is_listed_and_does_not_hold(monkeypatch, out):
    def refuse(case, device):
        raise RuntimeError("backend='triton' cannot serve this call: 2048 units do not fit")

    monkeypatch.setattr(check_gpu, "errors_of", refuse)
    assert not check_gpu.check_cases(out, "", [Case("rnn", "fp32", 1, 1, 2048)], "cpu")
    assert "2048 units do not fit" in out.export_text()


@pytest.mark.parametrize("cell", points.CELLS)
def test_the_huge_case_is_compared_by_its_first_and_last_rows(cell):
    huge = check_gpu.huge_case(cell)
    assert 2**31 < huge.batch * huge.steps * huge.hidden < 1.01 * 2**31
    assert huge.batch % 16 == 0
    small = replace(huge, batch=20, steps=3, hidden=8)
    for backward in (False, True):
        errors = check_gpu.huge_errors(small, "cpu", backward)
        assert ("dweight" in errors) == backward
        assert cases.holds(small, errors)


def test_huge_cases_need_memory(out):
    assert check_gpu.check_huge(out, "cpu", lambda: 2**30)
    assert out.export_text().count("not tried, needs") == 3
    case = check_gpu.huge_case("lstm")
    elements = case.batch * case.steps * case.hidden
    # at the least: gates, y; with the gradient their gradients, kept gates and float32 cells
    assert check_gpu.bytes_needed(case, False) > 2 * elements * 5
    assert check_gpu.bytes_needed(case, True) > 2 * elements * (5 + 5 + 4 + 2)


def test_without_a_sanitizer_it_says_so(out, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert check_gpu.sanitizer() is None
    assert check_gpu.check_sanitized(out, None)
    assert "not installed" in out.export_text()


# --- the command


@pytest.fixture(scope="module")
def command():
    path = Path(__file__).parents[2] / "benchmarks/kernels.py"
    spec = importlib.util.spec_from_file_location("kernels_command", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(command, monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["kernels.py", *words])
    return command.main()


def test_the_command_names_parts_that_a_device_has_not(command, monkeypatch, capsys):
    assert run(command, monkeypatch, "check", "--device", "cpu", "--only", "huge") == 2
    assert "interpreter" in capsys.readouterr().err


def test_the_command_reports_without_measuring(command, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    assert run(command, monkeypatch, "report") == 1
    assert "no kernels-*.csv" in capsys.readouterr().err
    store.append(tmp_path / "kernels-gpu.csv", POINT, [Row("nn", "ok", 1.0)])
    assert run(command, monkeypatch, "report") == 0
    assert (tmp_path / "kernels-gpu.md").exists()


def test_the_command_hands_over_what_it_was_given(command, monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(speed, "main", lambda **given: seen.update(given) or 0)
    for name in ("TRITON_INTERPRET", "TRITON_CACHE_DIR"):  # what it changes is changed back
        monkeypatch.setenv(name, os.environ.get(name, ""))
    words = ("speed", "--quick", "--warm", "--seconds", "9", "--contenders", "nn")
    words = (*words, "--out", str(tmp_path))
    assert run(command, monkeypatch, *words) == 0
    given = {"device": "cuda", "quick": True, "resume": False, "seconds": 9.0, "only": ["nn"]}
    assert seen == {**given, "folder": tmp_path, "warmed": True}


def test_a_first_call_of_what_was_compiled_before_has_no_time(monkeypatch):
    monkeypatch.setattr(speed, "measured_peaks", lambda *_: floor.Peaks({"fp32": 1.0}, 1.0))
    builds = {"nn": contenders.torch_nn, "ours": contenders.ours}
    rows = speed.Session("cpu", builds, ("fp32",), warmed=True).rows(SMALL)
    assert [math.isnan(row.first_call_s) for row in rows] == [False, True]
    table = {SMALL: {row.contender: row for row in rows}}
    assert [row[-1] for row in report.cost_rows(table)][1:] == [""]


def test_a_loss_that_is_wrong_is_seen(monkeypatch):
    out, few = Console(file=io.StringIO(), width=200), losses.small_losses()[2:4]
    assert losses.check_losses(out, "right", few, repeats=2)
    right = losses.fused

    def off_by_a_hundredth(*given):
        loss, dx, *rest = right(*given)
        return [loss, 1.01 * dx, *rest]

    def other_ranks(*given):
        *found, ranks = right(*given)
        return [*found, ranks.flip(0)]

    for wrong in (off_by_a_hundredth, other_ranks):
        monkeypatch.setattr(losses, "fused", wrong)
        assert not losses.check_losses(out, "wrong", few)
    assert "FAILS" in out.file.getvalue()
