"""Layers that walk in one launch, and the reference of the same layers one after another.

Shapes: L layers, B batch, T time, G gates x hidden size, H hidden size.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from lm_research.kernels import gru_scan, lstm_scan, rnn_scan
from lm_research.kernels.wavefront import wavefront

if TYPE_CHECKING:
    from kernel_suite.cases import Case

SCANS = {"rnn": rnn_scan, "lstm": lstm_scan, "gru": gru_scan}
INPUTS = {
    "rnn": ("x", "w", "bias", "weight", "h0"),
    "lstm": ("x", "w", "bias", "weight", "h0", "c0"),
    "gru": ("x", "w", "bias", "weight", "h0", "bias_n"),
}


def stacked_inputs(case: "Case", draw: Callable[..., Tensor], gates: int) -> list[Tensor]:
    """x (B, T, H), W and U (L, G, H), b (L, G), states (L, B, H), the GRU's b' of n (L, H)."""
    size = case.hidden
    state = (case.layers, case.batch, size)
    matrices = [draw(case.layers, gates * size, size) / size**0.5 for _ in range(2)]
    tensors = [draw(case.batch, case.steps, size), matrices[0], draw(case.layers, gates * size)]
    tensors += [matrices[1], draw(*state)]
    if case.kind == "lstm":
        tensors.append(draw(*state))
    if case.kind == "gru":
        tensors.append(draw(case.layers, size))
    return tensors


def stacked_scan(case: "Case", tensors: list[Tensor], options: dict, backend: str) -> list[Tensor]:
    """y of the top layer and all layers' last states."""
    x, w, bias, u, *rest = tensors
    lengths, reset = options.get("lengths"), options.get("reset_mask")
    if backend == "reference":
        return _one_after_another(case.kind, tensors, {"lengths": lengths, "reset_mask": reset})
    inner = rest.pop() if case.kind == "gru" else [None] * case.layers
    y, states = wavefront(
        case.kind, x, list(w), list(u), list(bias), list(inner), rest,
        lengths=lengths, reset_mask=reset,
    )  # fmt: skip
    return [y, *states]


def _one_after_another(kind: str, tensors: list[Tensor], options: dict) -> list[Tensor]:
    x, w, bias, u, *rest = tensors
    after = []
    for layer in range(len(w)):
        gates, given = F.linear(x, w[layer], bias[layer]), [part[layer] for part in rest]
        common = {**options, "backend": "reference"}
        if kind == "gru":
            x, state = gru_scan(gates, u[layer], given[0], bias_n=given[1], **common)
        else:
            start = tuple(given) if kind == "lstm" else given[0]
            x, state = SCANS[kind](gates, u[layer], start, **common)
        after.append(state if kind == "lstm" else (state,))
    return [x, *map(torch.stack, zip(*after, strict=True))]
