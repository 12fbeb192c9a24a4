"""A check on a GPU, as far as it goes without one: what it does when cases fail or time is up."""

import io
import os
import time
from dataclasses import replace

import kernels_command
import pytest
import torch
from kernel_suite import cases, check_gpu, gpu, losses, oracle, speed
from kernel_suite.cases import Case
from kernel_suite.deadline import FOREVER, Deadline
from kernel_suite.gpu import DeviceLostError
from kernel_suite.shown import Log
from kernel_suite.trials import FAILED, HOLDS, REFUSED, STOPPED, Trials, Verdict
from rich.console import Console

FEW = [Case("gru", "fp32", 2, 3, 4), Case("rnn", "bf16", 1, 2, 3), Case("lstm", "fp16", 1, 2, 3)]


def shown(trials):
    return trials.out.screen.export_text()


def judging(*outcomes):
    """Judges one case after another: a bool, or an exception that is raised."""
    given = iter(outcomes)

    def judge(case):
        found = next(given)
        if isinstance(found, BaseException):
            raise found
        return Verdict(found, ["1.0e-07"], "holds" if found else "[red]FAILS[/]")

    return judge


def tried(trials, *outcomes, name="gluon"):
    trials.run(name, "A title", FEW[: len(outcomes)], ["y"], judging(*outcomes))
    return trials.parts[name]


class OutOfResources(Exception):  # noqa: N818  # Triton's, which is no RuntimeError
    pass


# --- cases


def test_a_case_that_raises_is_a_row_and_the_others_are_tried(trials):
    part = tried(trials, True, OutOfResources("shared memory\nRequired: 300000"), True)
    assert (part.held, part.failed) == (
        2,
        [f"rnn bf16 {FEW[1].label}: OutOfResources: shared memory"],
    )
    assert trials.status() == FAILED
    lines = shown(trials).splitlines()
    assert any("rnn bf16" in line and "OutOfResources: shared memory" in line for line in lines)


def test_rows_are_shown_at_once_and_kept_in_a_file(tmp_path):
    screen = io.StringIO()
    trials = Trials(Log(Console(width=200, file=screen), tmp_path / "log/check.log"), "cpu")
    seen = []

    def judge(case):
        seen.append((screen.getvalue(), (tmp_path / "log/check.log").read_text()))
        return Verdict(True, ["1.0e-07"], "holds")

    trials.run("gluon", "A title", FEW, ["y"], judge)
    for before in seen[2]:
        assert "A title" in before
        assert "rnn bf16" in before
        assert "lstm fp16" not in before


def test_what_no_kernel_serves_is_listed_and_does_not_hold(trials):
    refusal = RuntimeError("backend='triton' cannot serve this call: 2048 units do not fit")
    part = tried(trials, refusal)
    assert len(part.refused) == 1
    assert trials.status() == FAILED  # nothing was shown by it
    assert "2048 units do not fit" in shown(trials)
    tried(trials, True)
    assert trials.status() == HOLDS


@pytest.mark.parametrize(
    "words",
    ["the GPU has no room for all programs of a fused scan", "an earlier scan waited in vain"],
)
def test_a_refusal_in_words_is_not_a_wrong_result(trials, words):
    tried(trials, True, RuntimeError(words))
    assert trials.status() == REFUSED
    tried(trials, False)
    assert trials.status() == FAILED


def test_a_launch_that_finds_no_room_is_told_whatever_it_is_called(trials):
    try:
        try:
            raise RuntimeError("Triton Error [CUDA]: too many blocks in cooperative launch")
        except RuntimeError as error:
            raise RuntimeError("it was not launched") from error
    except RuntimeError as error:
        tried(trials, error)
    assert trials.status() == REFUSED


def test_an_error_of_the_device_ends_the_check_and_names_the_case(trials, monkeypatch):
    def dead(device, said):
        raise DeviceLostError(f"{said} (the GPU is lost to this process)")

    monkeypatch.setattr("kernel_suite.trials.still_alive", dead)
    ran = []
    parts = {
        "gluon": lambda: tried(trials, True, RuntimeError("CUDA error: an illegal access"), True),
        "spread": lambda: ran.append("spread"),
    }
    assert check_gpu.run_parts(trials, parts) == FAILED
    assert not ran
    told = shown(trials)
    assert "nothing more can be run on this GPU after rnn bf16 B=1 T=2 H=3: RuntimeError" in told
    assert "NOT TRIED: gluon (1), spread (1)" in told


def test_a_device_is_lost_when_it_cannot_be_waited_for(monkeypatch):
    gpu.still_alive("cpu", "an error")

    def poisoned():
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(torch.cuda, "synchronize", poisoned)
    with pytest.raises(DeviceLostError, match="a case: an error"):
        gpu.still_alive("cuda", "a case: an error")


def test_a_part_that_raises_does_not_stop_the_others(trials):
    def broken():
        raise KeyError("a slip")

    parts = {"long": broken, "gluon": lambda: tried(trials, True)}
    assert check_gpu.run_parts(trials, parts) == FAILED
    assert trials.parts["gluon"].held == 1
    assert "long: the part itself raised KeyError: 'a slip'" in shown(trials)


# --- time


def test_when_time_is_up_no_case_is_begun_and_what_is_left_is_named(trials):
    ticks = iter([0, 1, 1, 5, *[20] * 99])
    trials.deadline = Deadline(10, lambda: next(ticks))
    tried(trials, True, True, True)
    trials.run("huge", "Never seen", FEW, ["y"], judging())
    left = [len(trials.parts[name].left) for name in ("gluon", "huge")]
    assert trials.parts["gluon"].held + left[0] == 3
    assert 0 < left[0] < 3 == left[1]
    assert trials.status() == STOPPED
    assert "Never seen" not in shown(trials)
    last = trials.summary()[-1]
    assert last == f"stopped: time is up; NOT TRIED: gluon ({left[0]}), huge (3)"
    tried(trials, name="loss")
    trials.parts["loss"].failed.append("a case")
    assert trials.status() == FAILED


def test_a_deadline():
    now = iter([0.0, 4.0, 4.0, 4.0, 9.0, 12.0])
    deadline = Deadline(10, lambda: next(now))
    assert deadline.left() == 6
    assert deadline.share(0.5).left() == 0  # 3 s from 4 on, seen at 9
    assert deadline.over
    assert FOREVER.left() == FOREVER.share(0.5).left() == float("inf")
    assert not FOREVER.over


def test_a_case_that_hangs_is_named(trials, monkeypatch):
    monkeypatch.setattr("kernel_suite.trials.GRACE", 0.05)
    trials.deadline, ended = Deadline(0.05), []

    def hangs(case):
        while not ended:
            time.sleep(0.01)
        return Verdict(True, [""], "")

    with trials.watched(ended.append):
        trials.run("gluon", "A title", FEW[:1], ["y"], hangs)
    assert ended == [FAILED]
    assert f"gluon: gru fp32 {FEW[0].label}" in shown(trials)


def test_a_summary_comes_back_from_anywhere(trials):
    part = trials.part("gluon")
    part.failed = [f"case {number}: {'a long word ' * 15}" for number in range(500)]
    part.left = ["x" * 100] * 300
    lines = trials.summary()
    assert sum(map(len, lines)) + len(lines) < 11_000
    assert lines[0] == "gluon: 0 hold, 500 fail, 300 NOT TRIED"
    assert "more: see the log" in lines[-2]
    assert "NOT TRIED: gluon (300)" in lines[-1]


# --- errors and races


def test_results_that_move_are_named(monkeypatch, trials):
    case = FEW[0]
    assert check_gpu.tried(case, "cpu", 3)[1] == []
    honest, calls = cases.results, iter(range(1000))

    def racing(*given):
        found = honest(*given)
        found[case.names.index("dh0")][0, 0] += 1e-6 * next(calls)
        return found

    monkeypatch.setattr(check_gpu, "results", racing)
    assert check_gpu.tried(case, "cpu", 3)[1] == ["dh0"]
    check_gpu.check_cases(trials, "native", "", [case], 3)
    assert trials.status() == FAILED
    assert "differs: dh0" in shown(trials)


def test_a_case_is_drawn_once(monkeypatch):
    drawn = []
    honest = cases.directions
    for module in (cases, check_gpu):
        monkeypatch.setattr(
            module, "directions", lambda *given: drawn.append(given) or honest(*given)
        )
    errors, moved = check_gpu.tried(FEW[0], "cpu", 5)
    assert len(drawn) == 1
    assert not moved
    assert cases.holds(FEW[0], errors)


@pytest.mark.parametrize("layers", [1, 2])
def test_directions_are_those_of_the_outputs(layers):
    case = Case("lstm", "fp32", 3, 4, 8, layers=layers)
    tensors, options = cases.inputs_of(case, "cpu")
    outputs = cases.scan(case, tensors, options, "reference")
    assert [d.shape for d in cases.directions(case, "cpu")] == [o.shape for o in outputs]


@pytest.mark.parametrize("cell", cases.GATES)
def test_torch_answers_as_the_reference_does(cell):
    case = Case(cell, "fp32", 3, 7, 6)
    tensors, options = cases.inputs_of(case, "cpu")
    towards = cases.directions(case, "cpu")
    errors = cases.errors_between(
        case, oracle.answer(case, tensors, towards), cases.answer(case, tensors, options, towards)
    )
    assert list(errors) == case.names
    assert max(errors.values()) < 1e-14


def test_torch_is_asked_of_long_cases_alone(monkeypatch):
    asked = []
    monkeypatch.setattr(check_gpu, "LONG", 5)
    honest = oracle.answer
    monkeypatch.setattr(oracle, "answer", lambda *given: asked.append(given[0]) or honest(*given))
    masked = Case("rnn", "fp32", 2, 5, 4, lengths=True)
    for case in (FEW[0], replace(FEW[0], steps=5), masked, replace(masked, lengths=False)):
        assert cases.holds(case, check_gpu.tried(case, "cpu", 1)[0])
    assert [case.steps for case in asked] == [5, 5]
    assert not any(case.lengths for case in asked)
    assert all(map(oracle.serves, check_gpu.long_cases()))


def test_losses_are_tried_one_by_one(trials, monkeypatch):
    few = losses.small_losses()[2:4]
    monkeypatch.setattr(losses, "small_losses", lambda: few)
    monkeypatch.setattr(losses, "large_losses", list)
    honest = losses.judged

    def judged(case, device, repeats):
        if case == few[0]:
            raise OutOfResources("no room")
        return honest(case, device, repeats=2)

    monkeypatch.setattr(losses, "judged", judged)
    check_gpu.check_loss(trials)
    part = trials.parts["loss"]
    assert (part.held, len(part.failed)) == (1, 1)


# --- the command


def test_the_parts_are_those_of_the_command(trials):
    assert tuple(check_gpu.parts_of(trials)) == kernels_command.PARTS["cuda"]
    assert kernels_command.PARTS["cuda"][:5] == ("gluon", "spread", "native", "wavefront", "loss")
    assert kernels_command.PARTS["cuda"][-2] == "sanitizer"


def test_several_parts_are_run_in_their_order(monkeypatch, tmp_path):
    ran = []
    names = ("gluon", "spread", "long", "small")
    parts = {name: (lambda name=name: ran.append(name)) for name in names}
    monkeypatch.setattr(check_gpu, "parts_of", lambda trials: parts)
    monkeypatch.setattr(check_gpu, "needs_gpu", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A made-up GPU")
    for name in ("TRITON_INTERPRET", "CUBLAS_WORKSPACE_CONFIG", "PYTHONPATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    words = ["kernels.py", "check", "--device", "cuda", "--only", "long", "gluon"]
    monkeypatch.setattr("sys.argv", [*words, "--seconds", "100", "--out", str(tmp_path)])
    assert kernels_command.main() == HOLDS
    assert ran == ["gluon", "long"]
    assert "A made-up GPU" in (tmp_path / "check.log").read_text()
    monkeypatch.setattr("sys.argv", words[:4])
    kernels_command.main()
    assert ran[2:] == ["gluon", "spread", "long"]


def test_without_a_gpu_it_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_gpu.main() == FAILED
    options = {"quick": True, "resume": False, "seconds": None, "only": None, "folder": tmp_path}
    assert speed.main(device="cuda", **options) == 1
    assert capsys.readouterr().err.count("no GPU") == 2
    assert not list(tmp_path.iterdir())


def test_an_error_is_told_by_its_first_line():
    assert gpu.first_line(ValueError("\n one \ntwo")) == "ValueError: one"
    assert gpu.first_line(ValueError("at 12:4:\n  x = y\nNameError('y')")) == (
        "ValueError: at 12:4: NameError('y')"
    )
    assert gpu.first_line(ValueError()) == "ValueError: "
    assert len(gpu.first_line(ValueError("x" * 999))) == 200
