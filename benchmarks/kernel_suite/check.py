"""Are the fused scans right? In Triton's interpreter and ahead of time; natively: check_gpu.py."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from kernel_suite import losses
from kernel_suite.cases import LIMITS, Case, errors_of, holds, small_cases, wavefront_cases
from kernel_suite.shown import console

COLUMNS = ("y", "h", "c", "dgates", "dweight", "dh0", "dc0", "dbias_n", "dx", "dw", "dbias")


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Memory that nothing was written to holds NaN: an output forgotten is an output seen."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def error_table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("cell", "type", "case"):
        table.add_column(name, no_wrap=True)
    for name in (*COLUMNS, "limit"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    return table


def error_row(table: Table, case: Case, errors: dict[str, float], more: str = "") -> bool:
    """Add a row; returns whether every error is within the limit."""
    limit = LIMITS[case.dtype]
    cells = error_cells(errors, limit, COLUMNS)
    good = holds(case, errors)
    verdict = "[green]holds" if good else "[red]FAILS"
    what = (case.cell, case.dtype, case.label)
    table.add_row(*what, *cells, f"{limit:.0e}", f"{verdict}[/] {more}".strip())
    return good


def error_cells(errors: dict[str, float], limit: float, names: Sequence[str]) -> list[str]:
    """A cell for each name: red beyond the limit, empty where there is no such tensor."""
    return [_cell(errors.get(name), limit) for name in names]


def _cell(error: float | None, limit: float) -> str:
    if error is None:
        return ""
    text = f"{error:.1e}"
    return text if error <= limit else f"[red]{text}[/]"


def check_interpreted(
    out: Console, cases: Iterable[Case], errors: Callable[[Case, str], dict[str, float]] = errors_of
) -> bool:
    """Every case in the interpreter, as a table; TRITON_INTERPRET=1 is set by now."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        raise RuntimeError("set TRITON_INTERPRET=1 before Triton is imported")
    table = error_table(
        "Fused scans in Triton's interpreter against float64: relative error of every tensor"
    )
    with poisoned_memory():
        good = [error_row(table, case, errors(case, "cpu")) for case in cases]
    out.print(table)
    out.print(f"{sum(good)} of {len(good)} cases hold")
    return all(good)


def check_loss(out: Console) -> bool:
    """The output layer and its cross-entropy, in the interpreter."""
    with poisoned_memory():
        return losses.check_losses(
            out, "Linear + cross-entropy in Triton's interpreter", losses.small_losses()
        )


def ahead_of_time_rows(
    out: Console, whole: bool = False, module: str = "lm_research.kernels.fused.ahead_of_time"
) -> list[dict]:
    """What the compiler says of kernels that dispatch may choose, in a process of its own.

    Args:
        whole: of every head; otherwise of the largest ones, which need most of a chip.

    Raises:
        RuntimeError: the compiler crashed.
    """
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", module, "--json", *([] if whole else ["--largest"])]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        with process, _bar(out) as bar:
            rows = _followed(process.stdout, bar)
        errors.seek(0)
        said = errors.read().strip()[-2000:]
    # 1 is also how it says that a row does not fit
    if process.returncode and all(row["fits"] for row in rows):
        raise RuntimeError(f"compiling ahead of time failed:\n{said}")
    return rows


def _bar(out: Console) -> Progress:
    """Shown on a terminal alone, and gone when it is full."""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def _followed(lines: Iterable[str], bar: Progress) -> list[dict]:
    """The rows, after the line that says how many there will be."""
    task, rows = bar.add_task("compiling", total=None), []
    for line in lines:
        found = json.loads(line) if line.startswith("{") else {}
        if "kernels" in found:
            bar.update(task, total=found["kernels"])
        elif found:
            rows.append(found)
            bar.advance(task)
    return rows


def check_ahead_of_time(
    out: Console, rows: Callable[[Console], list[dict]] = ahead_of_time_rows
) -> bool:
    """The compiler's table; an empty one does not hold, since it shows nothing."""
    out.print("Compiling ahead of time: minutes the first time, seconds with Triton's cache")
    try:
        found = rows(out)
    except RuntimeError as error:
        out.print(str(error), style="red", markup=False)
        return False
    table = Table(title="Compiled ahead of time, no GPU needed", title_justify="left")
    names = [name for name in (found[0] if found else {}) if name != "fits"]
    for name in (*names, ""):
        table.add_column(name.replace("_", " "))
    for row in found:
        verdict = "[green]fits" if row["fits"] else "[red]DOES NOT FIT"
        table.add_row(*(_shown(row[name]) for name in names), verdict)
    out.print(table)
    bad = sum(not row["fits"] for row in found)
    out.print(f"{len(found) - bad} of {len(found)} kernels fit without spilling")
    if not found:
        out.print(
            "dispatch may choose no kernel on any chip: see lm_research/kernels/limits.py",
            style="red",
        )
    return bool(found) and not bad


def _shown(value: object) -> str:
    return f"{value:,}" if type(value) is int else str(value)


def check_compiled() -> bool:
    """Compiled scans, executed; in a process of its own, since here kernels are interpreted."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    script = Path(__file__).parents[1] / "kernels.py"
    done = subprocess.run([sys.executable, str(script), "ptx"], env=environment, text=True)
    return done.returncode == 0


def main(only: Sequence[str] | None = None, whole: bool = False) -> int:
    """All parts, or some; returns the exit status."""
    torch.set_num_threads(1)
    out = console()
    parts: dict[str, Callable[[], bool]] = {
        "interpreter": lambda: check_interpreted(out, [*small_cases(), *wavefront_cases("cpu")]),
        "loss": lambda: check_loss(out),
        "compiled": check_compiled,
        "ahead-of-time": lambda: check_ahead_of_time(out, partial(ahead_of_time_rows, whole=whole)),
    }
    good = [parts[name]() for name in (only or parts)]  # all, also after a failure
    return 0 if all(good) else 1
