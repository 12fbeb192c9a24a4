"""The fused scans natively: right, the same every time, over long and huge inputs, memory-safe.

Has never run on a GPU. Scans over several processors wait for each other: ``spread`` and ``gluon``
check them, ``shared`` both in two processes at once, where a deadlock would show; a clear error may
be.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from kernel_suite import losses
from kernel_suite.cases import (
    DTYPES,
    GATES,
    LIMITS,
    Case,
    errors_of,
    gluon_cases,
    inputs_of,
    large_cases,
    relative_error,
    results,
    scan,
    small_cases,
    wavefront_cases,
)
from kernel_suite.check import console, error_row, error_table, poisoned_memory
from kernel_suite.warm import compile_case, warm

REPEATS = 50
LONG = 16_384
SANITIZER_MINUTES = 8
NOT_SERVED = "cannot serve this call"
TOLD = ("no room for all programs", "waited in vain")
"""How a scan over several processors says that it does not have the GPU to itself."""


def needs_gpu() -> str | None:
    """Why nothing can run, or None."""
    if torch.cuda.is_available():
        return None
    return (
        f"no GPU: torch {torch.__version__} sees none (torch.cuda.is_available() is False). "
        "Run this on a machine with one and a CUDA or ROCm build of torch, or "
        "`check --device cpu` here"
    )


def changes(case: Case, device: str, repeats: int = REPEATS) -> list[str]:
    """Names of tensors that differ in any bit between runs on the same inputs: a race."""
    tensors, options = inputs_of(case, device)
    first = results(case, tensors, options, case.backend)
    moved: set[str] = set()
    for _ in range(repeats - 1):
        again = results(case, tensors, options, case.backend)
        triples = zip(case.names, first, again, strict=True)
        moved |= {name for name, a, b in triples if not torch.equal(a, b)}
    return sorted(moved)


def check_cases(
    out: Console, title: str, cases: Iterable[Case], device: str, repeats: int = REPEATS
) -> bool:
    """Errors, and bitwise the same results; what dispatch serves on no such chip is counted."""
    table, good, refused = error_table(title), [], []
    with poisoned_memory():
        for case in cases:
            try:
                errors, moved = errors_of(case, device), changes(case, device, repeats)
            except RuntimeError as error:
                if NOT_SERVED not in str(error):
                    raise
                refused.append(f"{case.cell} {case.dtype} {case.label}: {error}")
                continue
            more = f"[red]differs: {', '.join(moved)}" if moved else f"the same {repeats} times"
            good.append(error_row(table, case, errors, more) and not moved)
    out.print(table)
    out.print(f"{sum(good)} of {len(good)} cases hold; no kernel for {len(refused)}")
    for line in refused:
        out.print(f"  {line}", markup=False)
    return bool(good) and all(good)


def long_cases() -> list[Case]:
    alone = [Case(cell, dtype, 2, LONG, 64) for cell in GATES for dtype in LIMITS]
    return alone + [Case(cell, "bf16", 2, LONG, 512, form="polled") for cell in GATES]


# --- more elements than 32 bits can count


def huge_case(cell: str, hidden: int = 64, steps: int = 1025) -> Case:
    """The smallest batch of whole tiles with B T H beyond 2^31."""
    rows = 2**31 // (steps * hidden) + 1
    return Case(cell, "bf16", -(-rows // 16) * 16, steps, hidden)


def bytes_needed(case: Case, backward: bool) -> int:
    """Of a scan in the case's type: gates, y, and for the gradient all that is kept and made."""
    elements = case.batch * case.steps * case.hidden
    size, gates = DTYPES[case.dtype].itemsize, GATES[case.cell]
    tensors = gates + 1
    if backward:  # dgates, dy, h_{t-1}, its product's copies, and what the cell keeps
        tensors += gates + 4 + {"rnn": 0, "lstm": 4 + 4 // size, "gru": 5}[case.kind]
    return int(1.05 * elements * size * tensors)


def huge_errors(case: Case, device: str, backward: bool) -> dict[str, float]:
    """The first and last rows against the reference; only their outputs are differentiated."""
    rows = torch.tensor([0, 1, case.batch - 2, case.batch - 1], device=device)
    generator = torch.Generator(device).manual_seed(0)
    shape = (case.batch, case.steps, GATES[case.cell] * case.hidden)
    gates = torch.empty(shape, dtype=DTYPES[case.dtype], device=device)
    gates.normal_(generator=generator)
    one = Case(case.cell, case.dtype, len(rows), case.steps, case.hidden)
    (_, weight, *states), _ = inputs_of(one, device)
    whole = [_spread(part, rows, case.batch) for part in states]
    given = [t.requires_grad_(backward) for t in (gates, weight, *whole)]
    outputs = scan(case, given, {}, "triton")
    found = [o[rows] for o in outputs]
    towards = torch.randn(found[0].shape, generator=generator, device=device).to(found[0])
    expected = _reference(one, [gates[rows], weight, *states], towards, backward)
    if backward:
        gradients = torch.autograd.grad(found[0], given[:2], towards)
        found += [gradients[0][rows], gradients[1]]
    names = [*case.names[: len(outputs)], "dgates", "dweight"][: len(found)]
    triples = zip(names, found, expected, strict=True)
    return {name: relative_error(a.detach(), b.detach()) for name, a, b in triples}


def _spread(part: torch.Tensor, rows: torch.Tensor, batch: int) -> torch.Tensor:
    """A state for every row of the batch: the given ones at ``rows``; a bias as it is."""
    if part.dim() == 1:
        return part
    return part.new_zeros(batch, part.shape[1]).index_copy(0, rows, part)


def _reference(
    case: Case, tensors: list[torch.Tensor], towards: torch.Tensor, backward: bool
) -> list[torch.Tensor]:
    given = [t.detach().double().requires_grad_(backward) for t in tensors]
    outputs = scan(case, given, {}, "reference")
    if not backward:
        return outputs
    return [*outputs, *torch.autograd.grad(outputs[0], given[:2], towards.double())]


def check_huge(out: Console, device: str, free: Callable[[], int]) -> bool:
    """B T H beyond 2^31, with the gradient where memory allows, else forward, else not."""
    table, good = error_table("More than 2^31 elements: first and last rows"), []
    for cell in ("rnn", "lstm", "gru"):
        case = huge_case(cell)
        room = free()
        backward = bytes_needed(case, True) < room
        if not backward and bytes_needed(case, False) > room:
            need = bytes_needed(case, False) / 2**30
            out.print(f"{cell}: not tried, needs {need:.0f} GiB and {room / 2**30:.0f} are free")
            continue
        try:
            errors = huge_errors(case, device, backward)
        except RuntimeError as error:
            if NOT_SERVED not in str(error):
                raise
            out.print(f"{cell}: {error}", markup=False)
            continue
        more = "" if backward else "forward alone: too little memory for the gradient"
        good.append(error_row(table, case, errors, more))
        torch.cuda.empty_cache()
    out.print(table)
    return all(good)


# --- the sanitizer


def sanitizer() -> str | None:
    """Path of compute-sanitizer, or None."""
    beside = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin/compute-sanitizer"
    return shutil.which("compute-sanitizer") or (str(beside) if beside.exists() else None)


def sanitizer_cases() -> list[Case]:
    """Few and small: every access is watched, which is slow."""
    return [case for case in small_cases() if case.dtype == "bf16" and case.steps < 10]


def check_sanitized(out: Console, tool: str | None) -> bool:
    """Accesses out of bounds and racing ones in the small cases, in processes of their own."""
    if tool is None:
        out.print("compute-sanitizer is not installed: memory errors and races were not looked for")
        return True
    table, good = Table("tool", "", title="compute-sanitizer", title_justify="left"), []
    script = Path(__file__).parent.parent / "kernels.py"
    for name in ("memcheck", "racecheck"):
        options = ["--tool", name, "--error-exitcode", "9", "--target-processes", "all"]
        command = [tool, *options, sys.executable, str(script), "check", "--device", "cuda"]
        status, said = _limited([*command, "--only", "small"])
        good.append(status == 0)
        verdict = "clean" if status == 0 else f"[red]FAILS ({status})"
        table.add_row(name, verdict)
        if status:
            out.print(said[-3000:], markup=False)
    out.print(table)
    return all(good)


def _limited(command: list[str]) -> tuple[int | str, str]:
    """Exit status and output; "too long" after some minutes. Every allocation is its own."""
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    limit = 60 * SANITIZER_MINUTES
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return "too long", f"not through after {SANITIZER_MINUTES} minutes"
    return done.returncode, done.stdout + done.stderr


# --- heads over several processors


def spread_cases() -> list[Case]:
    """Heads that one processor cannot hold; rows for several launches; odd sizes."""
    shapes = [(16, 64, 512), (130, 33, 768), (16, 128, 1024), (5, 7, 1000)]
    return [
        Case(cell, dtype, *shape, lengths=True, resets="some")
        for cell in GATES
        for dtype in LIMITS
        for shape in shapes
    ]


def check_shared(out: Console) -> bool:
    """Two processes on the one GPU: each is right, or says that there is no room."""
    script = Path(__file__).parent.parent / "kernels.py"
    command = [sys.executable, str(script), "check", "--device", "cuda", "--only"]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(_limited, [[*command, "spread"], [*command, "gluon"]]))
    good = [status == 0 or any(word in said for word in TOLD) for status, said in found]
    for (status, _), one in zip(found, good, strict=True):
        verdict = (
            "right" if status == 0 else "refused, in words" if one else f"[red]FAILS ({status})"
        )
        out.print(f"beside another process: {verdict}")
    return all(good)


def check_loss(out: Console) -> bool:
    """The output layer and its cross-entropy; more than 2^31 logits among the cases."""
    few, many = losses.small_losses(), losses.large_losses()
    with poisoned_memory():
        good = [
            losses.check_losses(out, "Linear + cross-entropy", few, "cuda", repeats=REPEATS),
            losses.check_losses(out, "The same, large", many, "cuda", repeats=2),
        ]
    return all(good)


def main(only: str | None = None) -> int:
    """All parts, or one; returns the exit status."""
    out, obstacle = console(), needs_gpu()
    if obstacle:
        print(obstacle, file=sys.stderr)
        return 1
    out.print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    again = f"each {REPEATS} times"
    cases = {
        "native": [*small_cases(), *large_cases()],
        "long": long_cases(),
        "spread": spread_cases(),
        "gluon": gluon_cases(),
        "wavefront": wavefront_cases("cuda"),
        "small": sanitizer_cases(),
    }
    parts: dict[str, Callable[[], bool]] = {
        "native": lambda: check_cases(
            out, f"Natively against float64, {again}", cases["native"], "cuda"
        ),
        "long": lambda: check_cases(out, f"T = {LONG:,}", cases["long"], "cuda", 3),
        "huge": lambda: check_huge(out, "cuda", lambda: torch.cuda.mem_get_info()[0]),
        "sanitizer": lambda: check_sanitized(out, sanitizer()),
        "spread": lambda: check_cases(out, "Over several processors", cases["spread"], "cuda"),
        "gluon": lambda: check_cases(out, "U in registers", cases["gluon"], "cuda"),
        "wavefront": lambda: check_cases(out, "Layers in one launch", cases["wavefront"], "cuda"),
        "loss": lambda: check_loss(out),
        "shared": lambda: check_shared(out),
        "small": lambda: check_cases(out, "Small cases", cases["small"], "cuda", 1),
    }
    chosen = [only] if only else [name for name in parts if name != "small"]
    wanted = [case for name in chosen if name != "small" for case in cases.get(name, [])]
    warm(out, compile_case, wanted)
    good = [parts[name]() for name in chosen]  # all of them, also after one that failed
    return 0 if all(good) else 1
