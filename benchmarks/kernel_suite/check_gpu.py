"""The fused scans natively: right, the same every time, over long and huge inputs, memory-safe.

Has never run on a GPU. Scans over several processors wait for each other: ``spread`` and ``gluon``
check them, ``shared`` both in two processes at once, where a deadlock would show; a clear error may
be. The parts that tell most come first, since time may be up before the last.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from kernel_suite import losses, oracle
from kernel_suite.cases import (
    GATES,
    LIMITS,
    Case,
    answer,
    directions,
    errors_between,
    gluon_cases,
    holds,
    inputs_of,
    large_cases,
    results,
    small_cases,
    wavefront_cases,
)
from kernel_suite.check import COLUMNS, error_cells, poisoned_memory
from kernel_suite.deadline import Deadline
from kernel_suite.gpu import DeviceLostError, first_line, needs_gpu
from kernel_suite.huge import check_huge
from kernel_suite.processes import check_sanitized, check_shared, sanitizer
from kernel_suite.shown import Log
from kernel_suite.trials import FAILED, Trials, Verdict
from kernel_suite.warm import compile_case, warm

REPEATS = 50
LONG = 16_384


def tried(case: Case, device: str, repeats: int) -> tuple[dict[str, float], list[str]]:
    """Errors, and names of tensors that differ in any bit between runs on the same inputs: a race.

    Everything is drawn once: drawing on the CPU takes longer than most scans.
    """
    tensors, options = inputs_of(case, device)
    towards = directions(case, device)
    run = partial(results, case, tensors, options, case.backend, towards)
    first, moved = run(), set()
    for _ in range(repeats - 1):
        triples = zip(case.names, first, run(), strict=True)
        moved |= {name for name, a, b in triples if not torch.equal(a, b)}
    theirs = case.steps >= LONG and oracle.serves(case)
    expected = (
        oracle.answer(case, tensors, towards) if theirs else answer(case, tensors, options, towards)
    )
    return errors_between(case, first, expected), sorted(moved)


def check_cases(
    trials: Trials, name: str, title: str, cases: Sequence[Case], repeats: int = REPEATS
) -> None:
    """Errors, and bitwise the same results; what dispatch serves on no such chip is counted."""
    shown = [column for column in COLUMNS if any(column in case.names for case in cases)]

    def judge(case: Case) -> Verdict:
        errors, moved = tried(case, trials.device, repeats)
        good = holds(case, errors)
        same = f"the same {repeats} times" if repeats > 1 else ""
        more = f"[red]differs: {', '.join(moved)}[/]" if moved else same
        cells = [*error_cells(errors, LIMITS[case.dtype], shown), f"{LIMITS[case.dtype]:.0e}"]
        verdict = f"{'[green]holds[/]' if good else '[red]FAILS[/]'} {more}"
        return Verdict(good and not moved, cells, verdict)

    if trials.device == "cuda" and name != "small":
        warm(trials.out, compile_case, cases, trials.deadline.share(0.5))
    with poisoned_memory():
        trials.run(name, title, cases, [*shown, "limit"], judge)


def check_loss(trials: Trials) -> None:
    """The output layer and its cross-entropy; more than 2^31 logits among the cases."""
    few, many = losses.small_losses(), losses.large_losses()
    titles = [("Linear + cross-entropy", few, REPEATS), ("The same, large", many, 2)]
    with poisoned_memory():
        for title, cases, repeats in titles:
            judge = partial(_judged_loss, device=trials.device, repeats=repeats)
            trials.run("loss", title, cases, losses.COLUMNS, judge)


def _judged_loss(case: losses.LossCase, device: str, repeats: int) -> Verdict:
    found = losses.judged(case, device, repeats=repeats)
    return Verdict(found.holds, found.cells, found.verdict)


def long_cases() -> list[Case]:
    """Without rnn_relu, whose kernels are the RNN's, and whose inputs are moved step by step."""
    cells = [cell for cell in GATES if cell != "rnn_relu"]
    alone = [Case(cell, dtype, 2, LONG, 64) for cell in cells for dtype in LIMITS]
    return alone + [Case(cell, "bf16", 2, LONG, 512, form="polled") for cell in cells]


def spread_cases() -> list[Case]:
    """Heads that one processor cannot hold; rows for several launches; odd sizes."""
    shapes = [(16, 64, 512), (130, 33, 768), (16, 128, 1024), (5, 7, 1000)]
    return [
        Case(cell, dtype, *shape, lengths=True, resets="some")
        for cell in GATES
        for dtype in LIMITS
        for shape in shapes
    ]


def sanitizer_cases() -> list[Case]:
    """Few and small: every access is watched, which is slow."""
    return [case for case in small_cases() if case.dtype == "bf16" and case.steps < 10]


def parts_of(trials: Trials) -> dict[str, Callable[[], None]]:
    """By name, what tells most first."""
    scans = partial(check_cases, trials)
    again = f"each {REPEATS} times"
    natively = [*small_cases(), *large_cases()]
    wavefronts = wavefront_cases("cuda")
    return {
        "gluon": lambda: scans("gluon", f"U in registers, {again}", gluon_cases()),
        "spread": lambda: scans("spread", f"Over several processors, {again}", spread_cases()),
        "native": lambda: scans("native", f"Natively against float64, {again}", natively),
        "wavefront": lambda: scans("wavefront", f"Layers in one launch, {again}", wavefronts),
        "loss": lambda: check_loss(trials),
        "long": lambda: scans("long", f"T = {LONG:,}", long_cases(), 3),
        "huge": lambda: check_huge(trials, lambda: torch.cuda.mem_get_info()[0]),
        "shared": lambda: check_shared(trials),
        "sanitizer": lambda: check_sanitized(trials, sanitizer()),
        "small": lambda: scans("small", "Small cases", sanitizer_cases(), 1),
    }


def run_parts(trials: Trials, parts: dict[str, Callable[[], None]]) -> int:
    """All of them, also after one that raised, as long as the device can be used; exit status."""
    names = [*parts]
    for number, name in enumerate(names):
        try:
            parts[name]()
        except DeviceLostError as lost:
            _lost(trials, lost, names[number + 1 :])
            break
        except Exception as error:  # the other parts may tell something all the same
            line = f"the part itself raised {first_line(error)}"
            trials.out.say(f"{name}: {line}", style="red")
            trials.part(name).failed.append(line)
    trials.out.print()
    for line in trials.summary():
        trials.out.say(line, style="red" if line.startswith("FAILS") else None)
    return trials.status()


def _lost(trials: Trials, lost: DeviceLostError, rest: list[str]) -> None:
    """The case that failed is told where it failed; here, that nothing comes after it."""
    trials.out.say(f"stopped: nothing more can be run on this GPU after {lost}", style="bold red")
    for name in rest:
        trials.part(name).left.append("the whole part")


def main(
    only: Sequence[str] | None = None, seconds: float | None = None, folder: Path | None = None
) -> int:
    """All parts, or some, until time is up; returns the exit status.

    Args:
        folder: where ``check.log`` goes.
    """
    deadline, obstacle = Deadline(seconds), needs_gpu()
    if obstacle:
        print(obstacle, file=sys.stderr)
        return FAILED
    out = Log(path=folder / "check.log" if folder else None)
    out.say(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    trials = Trials(out, "cuda", deadline)
    parts = parts_of(trials)
    chosen = [name for name in parts if (name in only if only else name != "small")]
    with out.bar, trials.watched():
        return run_parts(trials, {name: parts[name] for name in chosen})
