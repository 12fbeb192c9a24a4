"""Adapters of FlashRNN, TorchRL's Triton recurrences and haste, for those that are installed.

Their kernels have never been run here on a GPU. The layouts were checked without one: FlashRNN's by
its plain PyTorch backend, TorchRL's in Triton's interpreter, haste's by its documentation alone.
The gate of speed.py compares each with float64 before anything is timed.
"""

from functools import partial
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from kernel_suite.contenders import (
    Builder,
    Contender,
    UnsupportedError,
    fused,
    leaf,
    ours,
    swapped,
    torch_nn,
)
from kernel_suite.points import HEADS, Point
from kernel_suite.problem import Layer, Problem
from kernel_suite.ratios import FUSED_NAMES

PACKAGES = {"FlashRNN": "flashrnn", "TorchRL": "torchrl", "haste": "haste_pytorch"}


def builders() -> tuple[dict[str, Builder], list[str]]:
    """All that can be timed here, and a line for each that cannot."""
    found: dict[str, Builder] = {"nn": torch_nn, "ours": ours}
    found |= {name: partial(fused, form=form) for form, name in FUSED_NAMES.items()}
    absent = []
    for name, module in PACKAGES.items():
        if find_spec(module) is None:
            absent.append(f"{name} is not installed (no module {module}): not timed")
        else:
            found.update(PEERS[name])
    return found, absent


# --- FlashRNN


def flashrnn(backend: str) -> Builder:
    """Backends: triton_fused, cuda_fused, cuda; on a CPU: vanilla."""

    def build(problem: Problem) -> Contender:
        from flashrnn import flashrnn as function

        point = problem.point
        _flashrnn_serves(point, backend)
        weights = [_flashrnn_weights(point, layer) for layer in problem.layers]
        shape = (point.batch, point.steps, point.gates, point.heads, point.head_size)
        cell = {"rnn": "elman"}.get(point.cell, point.cell)
        dtype = {torch.float32: "float32", torch.float16: "float16"}
        kind = dtype.get(problem.inputs[0].dtype, "bfloat16")

        def run(x: Tensor) -> Tensor:
            for w, r, b in weights:
                gates = x if point.accounting == "scan" else F.linear(x, w)
                states, _ = function(
                    gates.view(shape), r, b, function=cell, backend=backend, dtype=kind
                )
                x = states[0].reshape(*shape[:2], -1)
            return x

        leaves = [part for layer in weights for part in layer]
        if point.accounting == "scan":  # neither W nor, in ours, a bias
            leaves = [weights[0][1]]
        place = 0 if point.accounting == "scan" else 1
        return Contender(run, leaves, lambda grads: _flashrnn_du(point, grads[place]))

    return build


def _flashrnn_serves(point: Point, backend: str) -> None:
    if backend == "triton_fused" and point.cell != "lstm":
        raise UnsupportedError("FlashRNN's Triton backend knows the LSTM alone")
    if backend == "triton_fused" and point.head_size & (point.head_size - 1):
        raise UnsupportedError("FlashRNN's Triton backend takes powers of two as head size")
    readme = (point.hidden, point.batch, point.steps) == (768, 16, 1024) and point.heads in HEADS
    if backend.startswith("cuda") and not readme:
        raise UnsupportedError(
            "FlashRNN's CUDA backends compile for every shape: its own grid alone"
        )


def _flashrnn_weights(point: Point, layer: Layer) -> tuple[Tensor, Tensor, Tensor]:
    """W (G, I); R (g, N, D, D) and b (g, N, D), whose GRU is n, r, z with an inner bias of n."""
    by_gate = (point.gates, point.heads, point.head_size)
    r = layer.u_GD.view(*by_gate, point.head_size)
    outer, inner = layer.b_ih_G.view(by_gate), layer.b_hh_G.view(by_gate)
    b = outer + inner
    if point.cell == "gru":
        r = r[[2, 0, 1]]
        b = torch.cat([inner[2:], b[:2], outer[2:]])
    return leaf(layer.w_GI), leaf(r), leaf(b)


def _flashrnn_du(point: Point, dr: Tensor) -> Tensor:
    order = [1, 2, 0] if point.cell == "gru" else list(range(point.gates))
    return dr[order].reshape(-1, point.head_size)


# --- TorchRL


def torchrl(problem: Problem) -> Contender:
    """Float32 tensors in any case; for bf16 the products are in bf16."""
    from torchrl.modules.tensordict_module import _rnn_triton

    point = problem.point
    if point.cell == "rnn" or point.heads > 1 or point.accounting == "scan":
        raise UnsupportedError("TorchRL has an LSTM and a GRU, of one head, with W x inside")
    if point.dtype == "fp16":
        raise UnsupportedError("TorchRL knows no fp16")
    parts = [(own.w_GI, own.u_GD, own.b_ih_G, own.b_hh_G) for own in problem.layers]
    layers = [[leaf(part.float()) for part in layer] for layer in parts]
    zero = problem.inputs[0].new_zeros(
        (point.batch, point.steps, point.hidden), dtype=torch.float32
    )
    starts = torch.zeros(point.batch, point.steps, dtype=torch.bool, device=problem.device)
    products = torch.bfloat16 if point.dtype == "bf16" else torch.float32
    options = {"input_precision": "tf32" if point.dtype == "tf32" else "ieee"}
    states = [zero, zero] if point.cell == "lstm" else [zero]
    function = _rnn_triton.lstm_triton if point.cell == "lstm" else _rnn_triton.gru_triton

    def run(x: Tensor) -> Tensor:
        for layer in layers:
            x = function(x, *states, *layer, starts, products, **options)[0]
        return x

    leaves = [part for layer in layers for part in layer]
    note = "float32 tensors, bf16 products" if point.dtype == "bf16" else ""
    return Contender(run, leaves, lambda grads: grads[1], own=_float, note=note)


def _float(x: Tensor) -> Tensor:
    """In float32, still a leaf."""
    return x.detach().float()


# --- haste


def haste(problem: Problem) -> Contender:
    """Gates i, g, f, o (LSTM) and z, r, n (GRU), weights transposed, float32."""
    import haste_pytorch

    point = problem.point
    if point.cell == "rnn" or point.heads > 1 or point.accounting == "scan":
        raise UnsupportedError("haste has an LSTM and a GRU, of one head, with W x inside")
    if point.dtype != "fp32":
        raise UnsupportedError("haste is timed in fp32 alone")
    order = [0, 2, 1, 3] if point.cell == "lstm" else [1, 0, 2]
    kind = haste_pytorch.LSTM if point.cell == "lstm" else haste_pytorch.GRU
    layers = [_haste_layer(kind, point, own, order) for own in problem.layers]

    def run(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)[0]
        return x

    leaves = [part for layer in layers for part in layer.parameters()]
    names = [name for name, _ in layers[0].named_parameters()]
    place = names.index("recurrent_kernel")
    du = lambda grads: _by_gate(grads[place].t(), order)  # noqa: E731
    return Contender(run, leaves, du, own=swapped, back=swapped)


def _haste_layer(kind: type, point: Point, own: Layer, order: list[int]) -> torch.nn.Module:
    layer = kind(point.hidden, point.hidden).train(point.mode == "both")
    outer, inner = _by_gate(own.b_ih_G, order), _by_gate(own.b_hh_G, order)
    lstm = point.cell == "lstm"
    values = {
        "kernel": _by_gate(own.w_GI, order).t(),
        "recurrent_kernel": _by_gate(own.u_GD, order).t(),
        "bias": outer + inner if lstm else outer,
        "recurrent_bias": inner,
    }
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(values[name])
    return layer


def _by_gate(tensor: Tensor, order: list[int]) -> Tensor:
    """Rows in another order of gates; both orders here are their own inverse."""
    return tensor.unflatten(0, (len(order), -1))[order].flatten(0, 1)


PEERS: dict[str, dict[str, Builder]] = {
    "FlashRNN": {
        "flashrnn-triton": flashrnn("triton_fused"),
        "flashrnn-cuda-fused": flashrnn("cuda_fused"),
        "flashrnn-cuda": flashrnn("cuda"),
    },
    "TorchRL": {"torchrl": torchrl},
    "haste": {"haste": haste},
}
