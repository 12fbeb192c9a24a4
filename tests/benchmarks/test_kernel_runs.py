"""A benchmark's run when a contender raises, dies, hangs, or the time is up; all on the CPU."""

import io
import json
import math
import time
from dataclasses import replace

import pytest
import runs_that_fail
from kernel_suite import measuring, points, report, speed, store, warm, workers
from kernel_suite.cases import Case
from kernel_suite.deadline import Deadline
from kernel_suite.floor import Peaks
from kernel_suite.gpu import DeviceLostError
from kernel_suite.measuring import Session, Settings
from kernel_suite.points import Point
from kernel_suite.shown import Log
from kernel_suite.store import SAME, Row
from kernel_suite.workers import LostError, TimeUpError, UnusableError, Worker
from rich.console import Console

SMALL = Point("lstm", 8, 3, 4, "fp32")
PEAKS = Peaks({"fp32": 1.0}, 1.0)
QUICK = {"blocks": 1, "block_ms": 1.0}


@pytest.fixture
def out():
    return Log(Console(width=170, record=True, file=io.StringIO()))


# --- workers


@pytest.fixture
def worker():
    made = Worker(runs_that_fail.Server, None, silence=2.0)
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("die", "the process died: signal 9"),
        ("exit", "the process died: exit status 7"),
        ("hang", "hangs: nothing was heard of it for 2 s"),
        ("complain", "ValueError: no more"),
        ("lose", "an illegal access"),
    ],
)
def test_whose_turn_it_was_is_told_and_a_new_process_goes_on(worker, end, reason):
    first = worker.ask("process")
    assert worker.ask("process") == first
    with pytest.raises(LostError) as lost:
        worker.ask("turn", "fused", end)
    assert (lost.value.current, lost.value.reason) == ("fused", reason)
    assert worker.ask("process") != first


def test_who_dies_between_requests_is_nobodys_fault(worker):
    worker.ask("process")
    worker._process.kill()
    worker._process.join()
    with pytest.raises(LostError) as lost:
        worker.ask("process")
    assert lost.value.current == ""
    assert worker.ask("process")


def test_who_cannot_begin_is_nobodys_fault_either():
    with pytest.raises(UnusableError, match="RuntimeError: no device"):
        Worker(runs_that_fail.Server, "stillborn").ask("process")


def test_a_deadline_ends_a_worker():
    worker = Worker(runs_that_fail.Server, None)
    worker.ask("process")
    worker.deadline = Deadline(0.5)
    with pytest.raises(TimeUpError):
        worker.ask("turn", "fused", "hang")
    assert worker._process is None


# --- points


def test_who_ends_the_process_has_failed_and_the_others_are_timed():
    settings = Settings("cpu", found=runs_that_fail.found, **QUICK)
    worker = Worker(Session, settings, silence=5.0)
    try:
        rows = speed.rows_of(worker, SMALL, [*runs_that_fail.found()], PEAKS)
    finally:
        worker.stop()
    told = {row.contender: (row.status, row.note) for row in rows}
    assert told == {
        "nn": ("ok", ""),
        "dies": ("failed", "the process died: signal 9"),
        "raises": ("failed", "ValueError: no more"),
        "hangs": ("failed", "hangs: nothing was heard of it for 5 s"),
        "last": ("ok", ""),
    }
    assert [row.contender for row in rows] == [*told]
    timed = [row for row in rows if row.measured]
    assert all(row.ms > 0 < row.wall_ms and row.host_us > 0 for row in timed)
    assert all(math.isnan(row.ms) for row in rows if not row.measured)


class Asked:
    """A worker in this very process; each end in ``ends`` is met before an answer."""

    def __init__(self, *ends, answer=None):
        self.ends, self.answer, self.seen = list(ends), answer, []

    def ask(self, name, *given):
        self.seen.append((name, *given))
        if self.ends:
            raise self.ends.pop(0)
        return self.answer(*given)


def test_a_point_that_cannot_be_set_up_is_told_for_all():
    asked = Asked(LostError("", "OutOfMemoryError: 900 GiB"))
    rows = speed.rows_of(asked, SMALL, ["nn", "ours"], PEAKS)
    assert [(row.status, row.note) for row in rows] == [("failed", "OutOfMemoryError: 900 GiB")] * 2
    assert len(asked.seen) == 1


def test_dispatch_that_takes_torch_is_not_timed_again():
    session = Session(Settings("cpu", **QUICK), lambda name: None)
    nn, ours = session.timed(SMALL, ["nn", "ours"], PEAKS)
    assert (nn.status, ours.status) == ("ok", SAME)
    assert ours.note.startswith("torch:")
    assert math.isnan(ours.ms)
    [alone] = session.timed(SMALL, ["ours"], PEAKS)
    assert alone.measured
    compiled = session.timed(points.dry_grid()[-1], ["nn", "ours"], PEAKS)[1]
    assert compiled.measured
    assert compiled.note.startswith("cpu:")


def test_turns_are_told_before_each_step():
    turns = []
    session = Session(Settings("cpu", blocks=2, block_ms=1.0), turns.append)
    session.timed(replace(SMALL, hidden=8), ["nn"], PEAKS)
    assert set(turns) == {"nn"}
    assert len(turns) >= 2 + 2 + 2 + 1  # built, tried; warmed, gauged; blocks; without a flush


def test_a_first_call_of_what_was_compiled_before_has_no_time():
    session = Session(Settings("cpu", warmed=True, **QUICK), lambda name: None)
    rows = session.timed(points.dry_grid()[-1], ["nn", "ours"], PEAKS)
    assert [math.isnan(row.first_call_s) for row in rows] == [False, True]
    table = {SMALL: {row.contender: row for row in rows}}
    assert [row[-1] for row in report.cost_rows(table)][1:] == [""]


# --- what calls launch


def seen(point, names):
    return {name: {"path": "few launches", "launches": 2, "kernels": "2x k"} for name in names}


def of_names(*names):
    return [Row(name, "ok", 1.0) for name in names]


def test_torch_is_looked_at_everywhere_and_ours_once_a_kind():
    worker = Asked(answer=seen)
    looks = speed.Looks(worker)
    bigger, other = replace(SMALL, hidden=64), replace(SMALL, mode="both")
    looks.remember({SMALL: {"fused-polled": Row("fused-polled", "ok", 1.0, launches=1)}})
    rows = of_names("nn", "fused", "fused-polled")
    looks.at(SMALL, [*rows, Row("torchrl", "failed")])
    looks.at(bigger, of_names("nn", "fused"))
    looks.at(other, of_names("fused-polled"))
    assert [given[-1] for given in worker.seen] == [["nn", "fused"], ["nn"], ["fused-polled"]]
    assert [row.launches for row in rows] == [2, 2, 0]


def test_who_fails_to_be_looked_at_is_timed_all_the_same():
    looks = speed.Looks(Asked(LostError("fused", "the process died: signal 11"), answer=seen))
    rows = of_names("nn", "fused")
    looks.at(SMALL, rows)
    assert rows[1].measured
    assert "signal 11" in rows[1].note
    assert rows[0].note == ""
    late = speed.Looks(Asked(TimeUpError(), answer=seen))
    late.at(SMALL, rows)  # the times are written, without what was launched


# --- the run


def test_a_run_stops_before_time_is_up(tmp_path, out):
    path, clock = tmp_path / "kernels.csv", iter(range(0, 10_000, 10))
    now = lambda: next(clock)  # noqa: E731  # each look at the clock is 10 s later
    rows = lambda point: of_names("nn", "ours")  # noqa: E731
    run = speed.Run(out, path, Deadline(120, now), rows, now)
    done = run.measure(points.quick_grid())
    assert 0 < done < 5
    assert list(store.read(path)) == points.quick_grid()[:done]
    assert f"stopped after {done} of {len(points.quick_grid())}" in out.screen.export_text()


def test_a_point_that_is_cut_short_is_not_written(tmp_path, out):
    def rows(point):
        raise TimeUpError

    path = tmp_path / "kernels.csv"
    assert speed.Run(out, path, Deadline(9), rows).measure([SMALL]) == 0
    assert not path.exists()
    assert SMALL.label in out.screen.export_text()


def test_the_time_left_is_told(tmp_path, out):
    ticks = iter(range(0, 1000, 30))
    rows = lambda point: [Row("nn", "ok", 1.0), Row("fused", "unsupported")]  # noqa: E731
    run = speed.Run(out, tmp_path / "a.csv", Deadline(None), rows, lambda: next(ticks))
    run.measure(points.dry_grid()[:3])
    first = out.screen.export_text().splitlines()[0]
    assert first.startswith("1/3, 1:00 left: rnn H=16 B=3 T=8 fp32 L=1 forward | nn 1.000 ms")
    assert "unsupported" not in first


OPTIONS = {"device": "cpu", "quick": False, "seconds": None, "only": ["nn", "ours"], **QUICK}


def test_a_dry_run_and_its_resumption(tmp_path, monkeypatch, capsys):
    kinds = points.dry_grid()[:1] + points.dry_grid()[-1:]
    monkeypatch.setattr(speed, "dry_grid", lambda: kinds)
    assert speed.main(resume=False, folder=tmp_path, log=True, **OPTIONS) == 0
    path = tmp_path / "kernels-cpu.csv"
    table = store.read(path)
    assert list(table) == kinds
    assert all(rows["nn"].ms > 0 and rows["nn"].share > 0 for rows in table.values())
    assert json.loads(path.with_suffix(".json").read_text())["dry_run"]
    assert "DRY RUN" in path.with_suffix(".md").read_text()
    log = (tmp_path / "speed.log").read_text()
    assert "2/2" in log
    assert "Times faster than torch.nn" in log
    before = path.read_text()
    assert speed.main(resume=False, folder=tmp_path, **OPTIONS) == 1
    assert speed.main(resume=True, folder=tmp_path, **OPTIONS) == 0
    assert path.read_text() == before
    assert "2 of 2 points are done" in capsys.readouterr().out
    names = {"kernels-cpu.csv", "kernels-cpu.json", "kernels-cpu.md", "kernels-cpu.html"}
    assert {each.name for each in tmp_path.iterdir()} == {*names, "speed.log"}


def test_a_run_that_can_begin_no_process_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "Session", runs_that_fail.Server)
    monkeypatch.setattr(speed, "Settings", lambda *given, **more: "stillborn")
    assert speed.main(resume=False, folder=tmp_path, **OPTIONS) == 1
    assert "RuntimeError: no device" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        (UnusableError("no device"), 1, "no process can begin on this device: no device"),
        (TimeUpError(), speed.STOPPED, "time is up in the midst of"),
    ],
)
def test_points_are_not_to_blame_for_a_device_or_a_deadline(tmp_path, out, end, status, words):
    """Or --resume would take all of the grid for done."""
    about = {"device": "CPU", "date": "", "versions": {}, "dry_run": True}

    class Ending:
        settings = Settings("cpu")

        def ask(self, name, *given):
            if name == "about":
                return about, PEAKS
            raise end

    given = (out, Deadline(None), [Ending(), Ending()], [SMALL], ["nn"], tmp_path, False)
    assert speed.measured(*given) == status
    assert not (tmp_path / "kernels-cpu.csv").exists()
    assert words in out.screen.export_text()


def test_an_unknown_contender_is_named(out):
    with pytest.raises(ValueError, match="keras"):
        speed.chosen(["keras"], out)


# --- compiling beforehand


def test_what_cannot_be_compiled_ends_nothing(out):
    kinds = [Case(cell, "bf16", 1, 4, 16) for cell in ("rnn", "gru")]
    said = warm.warm(out, runs_that_fail.compile_or_not, kinds, processes=2)
    assert [line[:34] for line in said] == ["CannotBePickledError: ('registers'"]
    assert "compiled 1 of 2" in out.screen.export_text()


def test_a_compiler_that_dies_ends_nothing(out):
    kinds = [Case("lstm", "bf16", 1, 4, 16)]
    assert warm.warm(out, runs_that_fail.compile_or_not, kinds)[warm.LOST] == 1


def test_a_compiler_that_hangs_is_ended_in_time(out):
    kinds, started = [Case("rnn_relu", "bf16", 1, 4, 16)], time.monotonic()
    said = warm.warm(out, runs_that_fail.compile_or_not, kinds, Deadline(8.0))
    assert said[warm.UP] == 1
    assert time.monotonic() - started < 60


def test_nothing_is_compiled_without_need(out, monkeypatch):
    monkeypatch.setattr(warm, "ProcessPoolExecutor", None)
    assert not warm.warm(out, runs_that_fail.compile_or_not, [])
    assert not warm.warm(out, runs_that_fail.compile_or_not, [SMALL], Deadline(0))


def test_few_steps_have_the_kernels_of_many():
    for steps in (1, 7, 16, 33, 64, 65, 512, 16_384):
        assert warm.shortened(steps) <= min(steps, 32)
        assert warm.shortened(steps) % 16 == steps % 16
    assert len({warm.short(replace(SMALL, steps=steps)) for steps in (64, 512, 1024)}) == 1


def test_launchers_are_built_where_there_is_a_driver(monkeypatch):
    built = []

    class Made:
        def _init_handles(self):
            built.append(self)

    monkeypatch.setattr(warm.JITFunction, "run", lambda self, *args, grid, warmup: Made())
    for launchers, count in ((False, 0), (True, 1)):
        with warm.compile_only(launchers):
            warm.JITFunction.run(None, grid=(1,), warmup=False)
        assert len(built) == count


# --- words


def test_a_lost_device_is_seen(monkeypatch):
    def poisoned():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(measuring, "settle", lambda device: None)
    monkeypatch.setattr("torch.cuda.synchronize", poisoned)
    round_ = measuring.Round("cpu", lambda name: None, SMALL)
    round_.device = "cuda"
    with pytest.raises(DeviceLostError, match="no more"):
        round_.admit("fused", lambda problem: runs_that_fail.complain())


def test_ends_of_processes_are_told():
    assert workers._end_of(-11) == "the process died: signal 11"
    assert workers._end_of(1) == "the process died: exit status 1"
