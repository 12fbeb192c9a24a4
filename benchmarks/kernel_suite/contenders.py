"""Who is timed: torch.nn, our layers, and the peers of peers.py, each in the layout it likes best.

A contender holds its own copies of a problem's weights, so that rearranging them is no part of a
call. torch.nn is given (T, B, I), which cuDNN reads without a copy; so is ours where torch.nn
serves it, else (B, T, I).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from kernel_suite.points import Point
from kernel_suite.problem import PLAIN, Layer, Problem
from lm_research.kernels import (
    FusedGRU,
    FusedLSTM,
    FusedRNN,
    explain,
    gru_scan,
    lstm_scan,
    rnn_scan,
)

FUSED = {"rnn": FusedRNN, "lstm": FusedLSTM, "gru": FusedGRU}
SCANS = {"rnn": rnn_scan, "lstm": lstm_scan, "gru": gru_scan}
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class UnsupportedError(Exception):
    """The contender has nothing for this point; the message says why."""


def same(x: Tensor) -> Tensor:
    return x


def swapped(x: Tensor) -> Tensor:
    """Batch first to time first, or back."""
    return x.transpose(0, 1).contiguous()


@dataclass
class Contender:
    """``run`` takes x in its own layout; ``leaves`` are the weights that it differentiates by.

    ``own`` and ``back`` turn (B, T, ...) into its layout and back; ``du`` makes the first layer's
    dU (G, D) of the leaves' gradients.
    """

    run: Callable[[Tensor], Tensor]
    leaves: list[Tensor]
    du: Callable[[Sequence[Tensor]], Tensor]
    own: Callable[[Tensor], Tensor] = same
    back: Callable[[Tensor], Tensor] = same
    note: str = ""
    inputs: list[Tensor] = field(default_factory=list)
    towards: list[Tensor] = field(default_factory=list)

    def take(self, problem: Problem) -> None:
        """Copy the rotating buffers into its layout."""
        gradients = problem.point.mode == "both"
        copies = [self.own(x.detach().clone()) for x in problem.inputs]
        self.inputs = [x.requires_grad_(gradients) for x in copies]
        self.towards = [self.own(dy) for dy in problem.towards] if gradients else []

    def forward(self, number: int) -> Tensor:
        with torch.no_grad():
            return self.run(self.inputs[number % len(self.inputs)])

    def both(self, number: int, towards: Tensor | None = None) -> tuple[Tensor, ...]:
        """y, and the gradients of x and the leaves."""
        x = self.inputs[number % len(self.inputs)]
        y = self.run(x)
        dy = self.towards[number % len(self.towards)] if towards is None else towards
        return y, *torch.autograd.grad(y, [x, *self.leaves], dy)

    def found(self, problem: Problem) -> dict[str, Tensor]:
        """What is compared with ``Problem.expected``."""
        rows = problem.rows
        if problem.point.mode == "forward":
            return {"y": self.back(self.forward(0))[rows]}
        y, dx, *rest = self.both(0, self.own(problem.masked()))
        return {
            "y": self.back(y.detach())[rows],
            "dx": self.back(dx)[rows],
            "du": self.du(rest),
        }


Builder = Callable[[Problem], Contender]


def leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()


def _load(layer: nn.Module, layers: list[Layer], device: str, dtype: torch.dtype) -> nn.Module:
    parts = {
        f"{name}_l{index}": part
        for index, own in enumerate(layers)
        for name, part in zip(NAMES, (own.w_GI, own.u_GD, own.b_ih_G, own.b_hh_G), strict=True)
    }
    layer = layer.to(device=device, dtype=dtype)
    layer.load_state_dict(parts)
    return layer


def _of_module(layer: nn.Module, **more: object) -> Contender:
    names = [name for name, _ in layer.named_parameters()]
    place = names.index("weight_hh_l0")
    leaves = list(layer.parameters())
    return Contender(lambda x: layer(x)[0], leaves, lambda grads: grads[place], **more)


def torch_nn(problem: Problem) -> Contender:
    """nn.RNN, nn.LSTM, nn.GRU: cuDNN on a GPU, oneDNN or a loop over steps on a CPU."""
    point = problem.point
    if point.heads > 1 or point.accounting == "scan":
        raise UnsupportedError("torch.nn has neither heads nor a scan over given gates")
    layer = PLAIN[point.cell](point.input_size, point.hidden, point.layers)
    layer = _load(layer, problem.layers, problem.device, problem.inputs[0].dtype)
    layer.train(point.mode == "both")
    return _of_module(layer, own=swapped, back=swapped)


def ours(problem: Problem) -> Contender:
    """What a user gets: backend="auto"."""
    return _ours(problem, "auto")


def fused(problem: Problem, form: str = "single") -> Contender:
    """The fused kernel of a form, whether or not dispatch would take it."""
    return _ours(problem, f"triton:{form}")


def _ours(problem: Problem, backend: str) -> Contender:
    point = problem.point
    precision = {"precision": "tf32"} if point.dtype == "tf32" else {}
    why = _explained(point, problem, backend, precision)
    if point.accounting == "scan":
        return _our_scan(problem, {"backend": backend, **precision}, why)
    plain = why.startswith("torch:")
    layer = FUSED[point.cell](
        point.input_size, point.hidden, point.layers, batch_first=not plain, backend=backend,
        num_heads=point.heads, **precision,
    )  # fmt: skip
    layer = _load(layer, problem.layers, problem.device, problem.inputs[0].dtype)
    turn = swapped if plain else same
    return _of_module(layer.train(point.mode == "both"), own=turn, back=turn, note=why)


def _explained(point: Point, problem: Problem, backend: str, precision: dict) -> str:
    """The backend and why, or UnsupportedError."""
    try:
        choice = explain(
            point.cell, device=problem.device, dtype=problem.inputs[0].dtype,
            hidden_size=point.hidden, num_heads=point.heads, num_layers=point.layers,
            batch=point.batch, steps=point.steps, training=point.mode == "both",
            beyond_torch=point.accounting == "scan", backend=backend, **precision,
        )  # fmt: skip
    except RuntimeError as error:
        raise UnsupportedError(str(error)) from error
    return f"{choice.backend}: {choice.reason}"


def _our_scan(problem: Problem, options: dict, why: str) -> Contender:
    scan, weight = SCANS[problem.point.cell], leaf(problem.layers[0].u_GD)
    run = lambda gates: scan(gates, weight, **options)[0]  # noqa: E731
    return Contender(run, [weight], lambda grads: grads[0], note=why)
