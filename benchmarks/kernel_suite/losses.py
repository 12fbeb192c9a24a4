"""The output layer and its cross-entropy in one, against float64: loss, ranks, every gradient.

In Triton's interpreter, compiled and executed here, or natively (which has never been run).
"""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from kernel_suite.cases import DTYPES, LIMITS, relative_error
from kernel_suite.ptx.device import emulated
from lm_research.kernels import linear_cross_entropy_with_ranks

NAMES = ("loss", "dx", "dweight", "dbias")
COLUMNS = (*NAMES, "wrong ranks", "limit")
IGNORE = -100


@dataclass(frozen=True)
class LossCase:
    """Every third target is ignored if there are three; ``far`` is added to all logits."""

    dtype: str
    rows: int
    features: int
    vocabulary: int
    smoothing: float = 0.0
    far: float = 0.0

    @property
    def label(self) -> str:
        more = [f"smoothing {self.smoothing}"] if self.smoothing else []
        more += [f"logits about {self.far:.0f}"] if self.far else []
        sizes = f"N={self.rows} H={self.features} V={self.vocabulary}"
        return " ".join([sizes, *more])


def small_losses() -> list[LossCase]:
    """Odd sizes, V below a tile, above one, and of several."""
    shapes = [(1, 1, 2), (5, 7, 37), (3, 16, 1025), (7, 8, 4096), (2, 5, 9001)]
    return [
        *(LossCase(d, *shape, smoothing=s) for d in LIMITS for shape in shapes for s in (0, 0.1)),
        *(LossCase("fp32", 5, 7, 1500, smoothing=s, far=1e4) for s in (0, 0.1)),
    ]


def large_losses() -> list[LossCase]:
    """What only a GPU is fast enough for; the last has more than 2^31 logits."""
    shapes = [(4096, 512, 50_257), (300, 64, 250_000), (45_000, 16, 50_000)]
    return [LossCase(dtype, *shape, smoothing=0.1) for dtype in LIMITS for shape in shapes]


def inputs_of(case: LossCase, device: str) -> tuple[list[Tensor], Tensor]:
    """x, weight and bias in the case's type, and targets; drawn on the CPU."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(case.rows, case.features), (case.vocabulary, case.features), (case.vocabulary,)]
    drawn = [torch.randn(shape, generator=generator) for shape in shapes]
    if case.far:  # in steps of 1/8, so that float32 holds such logits to their last digit
        drawn = [t.mul(8).round().div(8) for t in drawn]
        drawn[2] += case.far
    targets = torch.randint(case.vocabulary, (case.rows,), generator=generator)
    if case.rows >= 3:
        targets[::3] = IGNORE
    return [t.to(DTYPES[case.dtype]).to(device) for t in drawn], targets.to(device)


def fused(case: LossCase, tensors: list[Tensor], targets: Tensor) -> list[Tensor]:
    """Loss, gradients and ranks by Triton, in blocks of a third of the rows."""
    given = [t.detach().requires_grad_() for t in tensors]
    rows = min(-(-case.rows // 3), 1024)
    loss, ranks = linear_cross_entropy_with_ranks(
        *given, targets, case.smoothing, rows, backend="triton"
    )
    return [loss.detach(), *torch.autograd.grad(loss, given), ranks]


def exact(case: LossCase, tensors: list[Tensor], targets: Tensor) -> list[Tensor]:
    """Loss and gradients in float64, some rows at a time."""
    given = [t.double().requires_grad_() for t in tensors]
    count, total = (targets != IGNORE).sum(), torch.zeros((), dtype=torch.float64)
    total = total.to(targets.device)
    for x, some in zip(given[0].split(512), targets.split(512), strict=True):
        logits = F.linear(x, *given[1:])
        options = {"ignore_index": IGNORE, "label_smoothing": case.smoothing}
        loss = F.cross_entropy(logits, some, reduction="sum", **options) / count
        loss.backward(retain_graph=True)
        total += loss.detach()
    return [total, *(t.grad for t in given)]


def wrong_ranks(ranks: Tensor, tensors: list[Tensor], targets: Tensor) -> int:
    """How many are off by more than ties that rounding makes may explain: none should be."""
    real = targets != IGNORE
    logits = F.linear(tensors[0][real], *tensors[1:])
    own = logits.gather(1, targets[real, None])
    near = 2 * torch.finfo(logits.dtype).eps * logits.abs().amax()
    fewest, most = ((logits > own + sign * near).sum(1) for sign in (1, -1))
    found, vocabulary = ranks[real], logits.shape[1]
    ignored = (ranks[~real] != vocabulary).sum()
    return int(((found < fewest) | (found > most)).sum() + ignored)


def moved(case: LossCase, repeats: int, device: str) -> bool:
    """Whether any bit differs between runs on the same inputs."""
    given = inputs_of(case, device)
    first = fused(case, *given)
    again = (fused(case, *given) for _ in range(repeats - 1))
    return any(not torch.equal(a, b) for run in again for a, b in zip(first, run, strict=True))


@dataclass(frozen=True)
class Judged:
    """Errors by ``NAMES``, ranks that are wrong, and whether a bit differs between runs."""

    errors: list[float]
    wrong_ranks: int
    unsteady: bool
    limit: float

    @property
    def holds(self) -> bool:
        near = all(error <= self.limit for error in self.errors)
        return near and not self.wrong_ranks and not self.unsteady

    @property
    def cells(self) -> list[str]:
        """Of the columns ``COLUMNS``."""
        errors = (f"{error:.1e}" for error in self.errors)
        return [*errors, str(self.wrong_ranks), f"{self.limit:.0e}"]

    @property
    def verdict(self) -> str:
        if self.holds:
            return "[green]holds[/]"
        return "[red]differs[/]" if self.unsteady else "[red]FAILS[/]"


def judged(case: LossCase, device: str, target: str | None = None, repeats: int = 1) -> Judged:
    """The case against float64.

    Args:
        target: the chip whose compiled code is executed here; None runs kernels as they are.
        repeats: how often the same bits must come.
    """
    tensors, targets = inputs_of(case, device)
    with emulated(target, seed=0) if target else nullcontext():
        *found, ranks = fused(case, tensors, targets)
        unsteady = moved(case, repeats, device)
    pairs = zip(found, exact(case, tensors, targets), strict=True)
    errors = [relative_error(a, b) for a, b in pairs]
    return Judged(errors, wrong_ranks(ranks, tensors, targets), unsteady, LIMITS[case.dtype])


def check_losses(
    out: Console,
    title: str,
    cases: list[LossCase],
    device: str = "cpu",
    target: str | None = None,
    repeats: int = 1,
) -> bool:
    """A table of :func:`judged` cases; whether all hold."""
    table, good = Table("type", "case", *COLUMNS, "", title=title), 0
    for case in cases:
        found = judged(case, device, target, repeats)
        good += found.holds
        table.add_row(case.dtype, case.label, *found.cells, found.verdict)
    out.print(table)
    out.print(f"{good} of {len(cases)} cases hold")
    return good == len(cases) > 0
