"""Scans of more elements than 32 bits can count, by their first and last rows.

Shapes: B batch, T time, H hidden size.
"""

from collections.abc import Callable

import torch

from kernel_suite.cases import (
    DTYPES,
    GATES,
    LIMITS,
    Case,
    holds,
    inputs_of,
    relative_error,
    scan,
)
from kernel_suite.check import COLUMNS, error_cells
from kernel_suite.trials import SkippedError, Trials, Verdict

SHOWN = COLUMNS[:5]


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


def check_huge(trials: Trials, free: Callable[[], int]) -> None:
    """B T H beyond 2^31, with the gradient where memory allows, else forward, else not."""

    def judge(case: Case) -> Verdict:
        backward = _fits(case, free())
        errors = huge_errors(case, trials.device, backward)
        good = holds(case, errors)
        more = "" if backward else " forward alone: too little memory for the gradient"
        cells = error_cells(errors, LIMITS[case.dtype], SHOWN)
        return Verdict(good, cells, f"{'[green]holds[/]' if good else '[red]FAILS[/]'}{more}")

    title = "More than 2^31 elements: first and last rows"
    trials.run("huge", title, [huge_case(c) for c in ("rnn", "lstm", "gru")], SHOWN, judge)


def _fits(case: Case, room: int) -> bool:
    """Whether the gradient does, too.

    Raises:
        SkippedError: nothing fits.
    """
    backward, need = bytes_needed(case, True) < room, bytes_needed(case, False)
    if not backward and need > room:
        told = f"needs {need / 2**30:.0f} GiB and {room / 2**30:.0f} are free"
        raise SkippedError(f"not tried, {told}")
    return backward
