"""One layer of :mod:`lm_research.kernels` beside ``torch.nn``'s, inputs as wide as states.

``both`` is forward and backward, ``forward`` is without gradients; bfloat16 is autocast, weights
are float32.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lm_research.bench.case import Case, Plan, timed
from lm_research.bench.compare import same
from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN

LAYERS: dict[str, tuple[Any, Any, int]] = {
    "rnn": (FusedRNN, nn.RNN, 1),
    "gru": (FusedGRU, nn.GRU, 3),
    "lstm": (FusedLSTM, nn.LSTM, 4),
}
"""Ours, PyTorch's, gates."""
HIDDEN, BATCH, STEPS = (32, 128, 512, 1024), (1, 16, 64, 256), (16, 64, 512)
QUICK = [("gru", 128, 64, 64), ("gru", 512, 64, 64), ("rnn", 128, 64, 64), ("lstm", 128, 64, 64)]
LARGEST = 2e10
"""batch x steps x hidden^2 above which a shape is left out: a call would take minutes."""
NEAR = {"float32": 1e-4, "bfloat16": 3e-2}
"""Of the other's norm."""


def plans(quick: bool) -> Iterator[Plan]:
    """Every type, cell and shape, trained and forward."""
    grid = [(c, h, b, t) for c in LAYERS for h in HIDDEN for b in BATCH for t in STEPS]
    for dtype in list(NEAR)[:1] if quick else NEAR:
        for cell, hidden, batch, steps in QUICK if quick else grid:
            if batch * steps * hidden**2 <= LARGEST:
                for mode in ("both", "forward"):
                    kind = {"cell": cell, "dtype": dtype, "mode": mode}
                    sizes = {"hidden": hidden, "batch": batch, "steps": steps}
                    make = partial(case, cell, mode, hidden, batch, steps, dtype)
                    yield Plan({**kind, **sizes}, make)


def case(cell: str, mode: str, hidden: int, batch: int, steps: int, dtype: str) -> Case:
    """A layer as ``auto`` has it, and PyTorch's with the same weights."""
    ours, theirs, gates = LAYERS[cell]
    torch.manual_seed(0)
    fused, plain = ours(hidden, hidden, batch_first=True), theirs(hidden, hidden, batch_first=True)
    plain.load_state_dict(fused.state_dict())
    x_BTH, dy_BTH = torch.randn(2, batch, steps, hidden).to(getattr(torch, dtype))
    call = trained if mode == "both" else forward
    products = 4 * gates * batch * steps * hidden**2
    return Case(
        sides={
            "ours": timed(partial(call, fused, x_BTH, dy_BTH)),
            "torch.nn": timed(partial(call, plain, x_BTH, dy_BTH)),
        },
        equal=partial(compare, fused, plain, x_BTH, dy_BTH),
        flops=products * (3 if mode == "both" else 1),
        extra={"backend": fused.choice(x_BTH).backend},
    )


def trained(layer: nn.Module, x_BTH: Tensor, dy_BTH: Tensor) -> list[Tensor]:
    """Output, and the gradients of input and weights."""
    x_BTH = x_BTH.detach().requires_grad_()
    with _cast(x_BTH):
        y_BTH, _ = layer(x_BTH)
    inputs = [x_BTH, *layer.parameters()]
    return [y_BTH.detach(), *torch.autograd.grad(y_BTH, inputs, dy_BTH)]


@torch.no_grad()
def forward(layer: nn.Module, x_BTH: Tensor, dy_BTH: Tensor) -> list[Tensor]:
    """Output alone."""
    with _cast(x_BTH):
        return [layer(x_BTH)[0]]


def _cast(x_BTH: Tensor) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=x_BTH.dtype == torch.bfloat16)


def compare(fused: nn.Module, plain: nn.Module, x_BTH: Tensor, dy_BTH: Tensor) -> None:
    """Outputs and all gradients."""
    names = ["y", "d x", *(f"d {name}" for name, _ in plain.named_parameters())]
    same(
        trained(fused, x_BTH, dy_BTH),
        trained(plain, x_BTH, dy_BTH),
        names,
        NEAR[str(x_BTH.dtype).removeprefix("torch.")],
    )
