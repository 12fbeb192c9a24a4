"""Are the compiled scans right? Each is compiled for a chip and executed here, against float64."""

from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from unittest import mock

import torch
from rich.console import Console

from kernel_suite import losses
from kernel_suite.cases import LIMITS, Case, errors_of, inputs_of, results, small_cases
from kernel_suite.check import console, error_row, error_table, poisoned_memory
from kernel_suite.ptx.device import emulated
from kernel_suite.ptx.errors import KernelError
from kernel_suite.ptx.weaken import weaken
from lm_research.kernels import obstacles

TARGETS = ("sm_80", "sm_90")
SHAPE = Case("", "", 18, 3, 32, heads=2, lengths=True, resets="some")
"""Two batch tiles, the second not full; two heads."""


def cases(whole: bool) -> list[Case]:
    """Every cell in bfloat16 and float32; or all that Triton's interpreter is shown, too."""
    few = [
        replace(SHAPE, cell=cell, dtype=dtype)
        for cell in ("rnn", "lstm", "gru")
        for dtype in ("bf16", "fp32")
    ]
    alone = {"form": "polled", "hidden": 40, "heads": 1}
    gluon = [
        replace(SHAPE, cell=cell, **more)
        for cell in ("rnn", "lstm", "gru")
        for more in (
            {"form": "registers", "dtype": "bf16"},
            {**alone, "dtype": "bf16"},
            {**alone, "dtype": "fp32"},
        )
    ]
    return [*few, *gluon, *small_cases()] if whole else [*few, *gluon]


def served(form: str, target: str) -> AbstractContextManager:
    """Within it dispatch serves tensors on the CPU: it takes Triton for interpreted, or, of Gluon's
    forms, which are never interpreted, the CPU for a GPU."""
    if not form:
        return mock.patch.object(obstacles, "interpreted", return_value=True)
    there = {"unavailable": lambda *_: None, "target_of": lambda _: target}
    return mock.patch.multiple(obstacles, **there)


def errors_compiled(case: Case, target: str) -> dict[str, float]:
    """``cases.errors_of`` with kernels compiled for ``target``, its warps in a random order.

    Raises:
        KernelError: a race, an address out of bounds and so on.
    """
    with served(case.form, target), emulated(target, seed=0) as launched:
        errors = errors_of(case, "cpu")
    if not launched:
        raise RuntimeError("no kernel was compiled: unset TRITON_INTERPRET before the first import")
    return errors


def check(out: Console, target: str, whole: bool) -> bool:
    """The table of errors; whether all hold."""
    table = error_table(f"Compiled for {target}, executed in numpy: relative errors to float64")
    good = 0
    chosen = cases(whole)
    for case in chosen:
        try:
            good += error_row(table, case, errors_compiled(case, target))
        except KernelError as error:
            limit = f"{LIMITS[case.dtype]:.0e}"
            blank = [""] * (len(table.columns) - 5)
            row = (case.cell, case.dtype, case.label, *blank, limit, "[red]FAILS[/]")
            table.add_row(*row)
            out.print(f"{case.cell} {case.dtype} {case.label}: {error}", markup=False)
    out.print(table)
    out.print(f"{good} of {len(chosen)} cases hold")
    return good == len(chosen) and check_loss(out, target)


def check_loss(out: Console, target: str) -> bool:
    """The output layer and its cross-entropy: of one tile, and of several."""
    shapes = [(5, 7, 37), (2, 5, 5001)]
    few = [losses.LossCase(d, *shape, smoothing=0.1) for d in ("bf16", "fp32") for shape in shapes]
    with served("", target):
        title = f"Linear + cross-entropy, for {target}"
        return losses.check_losses(out, title, few, target=target)


def check_weakened(out: Console, target: str) -> bool:
    """Whether a race is seen for each barrier that the Elman scan is left without."""
    case = replace(SHAPE, cell="rnn", dtype="bf16")
    with served("", target):
        found = weaken(target, partial(results, case, *inputs_of(case, "cpu"), "triton"))
    for each in found:
        out.print(f"{each.kernel} without {each.site} ({each.number}): {each.outcome}")
    seen = sum(each.outcome == "RaceError" for each in found)
    out.print(f"{seen} of {len(found)} missing orders are seen on {target}")
    return seen == len(found) > 0


def main(targets: list[str], whole: bool, weakened: bool) -> int:
    """Every target; returns the exit status."""
    torch.set_num_threads(1)
    out = console()
    with poisoned_memory():
        if weakened:
            good = [check_weakened(out, target) for target in targets]
        else:
            good = [check(out, target, whole) for target in targets]
    return 0 if all(good) else 1
