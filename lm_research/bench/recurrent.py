"""One layer of :mod:`lm_research.kernels` beside ``torch.nn``'s, inputs as wide as states.

Inputs are ``vectors`` of their own, or ``rows`` of a table as long as there are bytes, which
``torch.nn`` is given looked up. ``both`` is forward and backward, ``forward`` is without gradients;
bfloat16 is autocast, weights are float32.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.bench.case import Case, Plan, timed
from lm_research.bench.compare import same
from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN, TableRows

LAYERS: dict[str, tuple[Any, Any, int]] = {
    "rnn": (FusedRNN, nn.RNN, 1),
    "gru": (FusedGRU, nn.GRU, 3),
    "lstm": (FusedLSTM, nn.LSTM, 4),
}
"""Ours, PyTorch's, gates."""
HIDDEN, BATCH, STEPS = (32, 128, 512, 1024), (1, 16, 64, 256), (16, 64, 512)
QUICK = [("gru", 128, 64, 64), ("gru", 512, 64, 64), ("rnn", 128, 64, 64), ("lstm", 128, 64, 64)]
BYTES, OF_BYTES = 256, [(16, 512), (64, 64), (256, 64)]
"""Rows of the table; batches and steps that are timed with it."""
LARGEST = 2e10
"""batch x steps x hidden^2 above which a shape is left out: a call would take minutes."""
NEAR = {"float32": 1e-4, "bfloat16": 3e-2}
"""Of the other's norm."""


def plans(quick: bool) -> Iterator[Plan]:
    """Every type, cell and shape, trained and forward; with a table at some shapes."""
    grid = [(c, h, b, t) for c in LAYERS for h in HIDDEN for b in BATCH for t in STEPS]
    of_bytes = [(c, h, b, t) for c in LAYERS for h in HIDDEN for b, t in OF_BYTES]
    kinds = [("vectors", grid), ("rows", of_bytes)]
    for dtype in list(NEAR)[:1] if quick else NEAR:
        for inputs, shapes in [("vectors", QUICK)] if quick else kinds:
            for shape in shapes:
                yield from _of_shape(inputs, dtype, *shape)


def _of_shape(
    inputs: str, dtype: str, cell: str, hidden: int, batch: int, steps: int
) -> Iterator[Plan]:
    if batch * steps * hidden**2 > LARGEST:
        return
    for mode in ("both", "forward"):
        kind = {"cell": cell, "dtype": dtype, "mode": mode, "inputs": inputs}
        sizes = {"hidden": hidden, "batch": batch, "steps": steps}
        make = partial(case, cell, mode, hidden, batch, steps, dtype, inputs)
        yield Plan({**kind, **sizes}, make)


def case(
    cell: str,
    mode: str,
    hidden: int,
    batch: int,
    steps: int,
    dtype: str,
    inputs: str = "vectors",
) -> Case:
    """A layer as ``auto`` has it, and PyTorch's with the same weights."""
    ours, theirs, gates = LAYERS[cell]
    torch.manual_seed(0)
    fused, plain = ours(hidden, hidden, batch_first=True), theirs(hidden, hidden, batch_first=True)
    plain.load_state_dict(fused.state_dict())
    kind = getattr(torch, dtype)
    dy_BTH = torch.randn(batch, steps, hidden).to(kind)
    table_VH, ids_BT = torch.randn(BYTES, hidden), torch.randint(BYTES, (batch, steps))
    x_BTH = F.embedding(ids_BT, table_VH).to(kind)
    by_row = inputs == "rows"
    leaf = table_VH if by_row else x_BTH
    own = partial(TableRows, ids_BT=ids_BT) if by_row else _as_it_is
    other = partial(_looked_up, ids_BT=ids_BT, kind=kind) if by_row else _as_it_is
    sides = {"ours": (fused, leaf, own, dy_BTH), "torch.nn": (plain, leaf, other, dy_BTH)}
    call = trained if mode == "both" else forward
    products = 4 * gates * batch * steps * hidden**2
    with torch.set_grad_enabled(mode == "both"):
        choice = fused.choice(x_BTH, table_rows=by_row)
    return Case(
        sides={name: timed(partial(call, *side)) for name, side in sides.items()},
        equal=partial(compare, sides["ours"], sides["torch.nn"], NEAR[dtype]),
        flops=products * (3 if mode == "both" else 1),
        extra={"backend": choice.backend},
    )


def _as_it_is(x_BTH: Tensor) -> Tensor:
    return x_BTH


def _looked_up(table_VH: Tensor, ids_BT: Tensor, kind: torch.dtype) -> Tensor:
    return F.embedding(ids_BT, table_VH).to(kind)


def trained(
    layer: nn.Module, leaf: Tensor, given: Callable[[Tensor], Any], dy_BTH: Tensor
) -> list[Tensor]:
    """Output, and the gradients of input and weights."""
    leaf = leaf.detach().requires_grad_()
    with _cast(dy_BTH):
        y_BTH, _ = layer(given(leaf))
    inputs = [leaf, *layer.parameters()]
    return [y_BTH.detach(), *torch.autograd.grad(y_BTH, inputs, dy_BTH)]


@torch.no_grad()
def forward(
    layer: nn.Module, leaf: Tensor, given: Callable[[Tensor], Any], dy_BTH: Tensor
) -> list[Tensor]:
    """Output alone."""
    with _cast(dy_BTH):
        return [layer(given(leaf))[0]]


def _cast(dy_BTH: Tensor) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=dy_BTH.dtype == torch.bfloat16)


def compare(ours: tuple[Any, ...], theirs: tuple[Any, ...], near: float) -> None:
    """Outputs and all gradients."""
    names = ["y", "d input", *(f"d {name}" for name, _ in ours[0].named_parameters())]
    same(trained(*ours), trained(*theirs), names, near)
