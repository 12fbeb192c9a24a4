"""The benchmark of the kernels, as far as no GPU is needed: grid, floor, timing, gate, cases."""

import io
import math
import os
import subprocess
import sys
import time
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
    contenders,
    floor,
    losses,
    measuring,
    paths,
    peers,
    points,
    timing,
)
from kernel_suite.cases import Case
from kernel_suite.points import Point
from kernel_suite.problem import Problem, worst
from rich.console import Console

from lm_research.kernels.checks import real_resets
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
    begun = points.full_grid()[len(points.quick_grid()) :][:300]
    for name, values in [("hidden", points.HIDDEN), ("dtype", points.DTYPES), ("layers", (1, 2))]:
        assert {getattr(p, name) for p in begun} >= set(values)


def test_a_quick_run_cut_short_has_seen_every_cell_and_size():
    quick = points.quick_grid()
    assert len(quick) == len(set(quick)) == 2 * 3 * 5 * 4 * 2 * 2 + len(points.head_grid())
    assert quick[-len(points.head_grid()) :] == points.head_grid()
    assert [p.cell for p in quick[:6]] == ["lstm", "gru", "rnn"] * 2
    types = [p.dtype for p in quick[: -len(points.head_grid())]]
    assert types == sorted(types)  # bf16 before fp32
    begun = quick[:60]
    assert {(p.cell, p.mode) for p in begun} == {(c, m) for c in points.CELLS for m in points.MODES}
    assert {p.hidden for p in begun} == {64, 128, 256, 512, 1024}
    assert {p.batch for p in begun} == {1, 16, 64, 256}
    assert {p.steps for p in begun} == {64, 512}


@given(st.sampled_from(points.full_grid()))
def test_a_point_is_read_as_it_was_written(point):
    assert points.of_text(points.as_text(point)) == point


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


def test_peaks_are_of_random_numbers(monkeypatch):
    """A GPU is faster over ones."""
    seen, honest = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, out: seen.append(a) or honest(a, b, out=out))
    peaks = floor.measured_peaks("cpu", ("fp32", "bf16"))
    assert {a.dtype for a in seen} == {torch.float32, torch.bfloat16}
    assert all(0.9 < a.float().std() < 1.1 for a in seen)
    assert set(peaks.flops) == {"fp32", "bf16"}


def test_without_an_exchange_the_floor_lacks_its_third_term(monkeypatch, capsys):
    def refused(device):
        raise RuntimeError("two programs do not run side by side: is the GPU shared?")

    monkeypatch.setattr("kernel_suite.latency.measured_exchange", refused)
    monkeypatch.setattr(floor, "still_alive", lambda *given: None)
    assert floor._exchange() == 0.0
    assert "side by side" in capsys.readouterr().out


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


class FakeClock(timing.CpuClock):
    """A call's own figures, and nothing of the time that passes."""

    def enqueue(self, call, numbers):
        return [call(number) for number in numbers]

    def back_to_back(self, call, numbers):
        return max(self.enqueue(call, numbers))


def test_blocks_are_interleaved_and_buffers_rotate():
    seen = []

    def call(name, ms):
        def timed(number):
            seen.append((name, number))
            return ms + 10 * (number % 3 == 0)

        return timed

    found = timing.interleaved({"a": call("a", 5.0), "b": call("b", 50.0)}, FakeClock(), blocks=4)
    assert (found["a"].ms, found["a"].host_us, found["a"].wall_ms) == (5.0, 5000.0, 15.0)
    assert found["b"].ms == 50.0
    assert found["b"].samples == 4 * timing.LEAST
    numbers = [number for name, number in seen if name == "a"]
    assert numbers == list(range(len(numbers)))
    turns = [name for i, (name, _) in enumerate(seen) if i == 0 or seen[i - 1][0] != name]
    assert turns == ["a", "b"] * (2 + 4 + 1)


def test_who_fails_while_it_is_timed_drops_out_alone():
    failing = iter(range(8))

    def fails(number):
        next(failing)
        return 5.0

    def attempt(name, step):
        try:
            step()
        except StopIteration:
            return False
        return True

    calls = {"a": fails, "b": lambda number: 50.0}
    found = timing.interleaved(calls, FakeClock(), blocks=4, attempt=attempt)
    assert list(found) == ["b"]
    assert found["b"].samples == 4 * timing.LEAST


def test_without_a_flush_the_clocks_measure_the_host_and_many_calls():
    waits = []

    class Clock(timing.CpuClock):
        def settle(self):
            waits.append(1)

    assert len(Clock().enqueue(lambda number: None, [0, 1, 2])) == 3
    assert len(waits) == 3 + 1  # the device is idle before each call
    assert Clock().back_to_back(lambda number: time.sleep(0.01), [0, 1, 2]) >= 10
    assert len(waits) == 4 + 2


def test_a_summary_is_of_the_samples():
    samples = timing.Samples(lambda number: None, FakeClock(), 1.0)
    samples.samples = [3.0, 1.0, 2.0, 100.0, 4.0, 5.0]
    found = samples.timing()
    assert (found.ms, found.low, found.high, found.samples) == (3.5, 2.0, 5.0, 6)


# --- gate


KINDS = [
    SMALL,
    replace(SMALL, layers=2, mode="both"),
    replace(SMALL, cell="gru", heads=2, mode="both"),
    replace(SMALL, heads=2, accounting="scan", mode="both"),
    replace(SMALL, cell="rnn", mode="both", dtype="bf16"),
]


def admitted(name, build, point):
    """The row, and the contender if it is to be timed."""
    round_ = measuring.Round("cpu", lambda name: None, point)
    round_.admit(name, build)
    return round_.rows[name], round_.ready.get(name)


@pytest.mark.parametrize("point", KINDS, ids=lambda p: p.label)
@pytest.mark.parametrize("build", [contenders.torch_nn, contenders.ours, contenders.fused])
def test_contenders_agree_with_float64(build, point):
    problem = Problem(point, "cpu")
    if build is contenders.torch_nn and (point.heads > 1 or point.accounting == "scan"):
        with pytest.raises(contenders.UnsupportedError):
            build(problem)
        return
    row, contender = admitted("ours", build, point)
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

    row, contender = admitted(name, build, SMALL)
    assert row.status == status
    assert (contender is None) == (status == "wrong")


def test_who_fails_is_told_and_does_not_stop_the_others():
    def build(problem):
        raise RuntimeError("out of memory\nin\nlines")

    row, contender = admitted("peer", build, SMALL)
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
