"""Gluon's scans, compiled for a GPU, executed in the PTX interpreter; in a process of its own,
since Triton's interpreter, which the other tests here use, knows no Gluon.

    python tests/kernels/compiled_gluon.py '[{"cell": "lstm", "target": "sm_90", ...}, ...]'

Prints a line of JSON a case: relative errors to float64 by name.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from kernel_suite.cases import MARGINS, off_the_kink
from kernel_suite.ptx.device import emulated

from lm_research.kernels import reference
from lm_research.kernels.checks import real_resets
from lm_research.kernels.fused.polled.plan import Plan
from lm_research.kernels.ops import previous
from lm_research.kernels.walk import Walk

COUNTS = {"rnn": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
NAMES = {
    "rnn": ["y", "h", "d gates", "d h0"],
    "rnn_relu": ["y", "h", "d gates", "d h0"],
    "lstm": ["y", "h", "c", "d gates", "d h0", "d c0"],
    "gru": ["y", "h", "d gates", "d h0", "d inner bias"],
}


def scanned(form, cell, gates, weight, states, walk, cotangents, plans):
    """Outputs, then gradients of gates, states and the GRU's inner bias."""
    name = "elman" if cell.startswith("rnn") else cell
    module = import_module(f"lm_research.kernels.fused.{form}.{name}")
    if cell == "lstm":
        y, h, c, *saved = module.forward(gates, weight, *states, walk, True, *plans)
        return [y, h, c, *module.backward(*cotangents, *saved, None, weight, walk, *plans)]
    if cell == "gru":
        y, h, saved = module.forward(gates, weight, *states, walk, True, *plans)
        given = (saved, previous(y, states[0], walk), weight, states[1])
        dgates, dinner, dh0 = module.backward(*cotangents, *given, walk, *plans)
        return [y, h, dgates, dh0, dinner.double().sum((0, 1))]
    relu = cell == "rnn_relu"
    y, h, _ = module.forward(gates, weight, *states, walk, True, relu, *plans)
    return [y, h, *module.backward(*cotangents, y, weight, walk, relu, *plans)]


def scan_reference(cell, gates, weight, states, walk):
    """Outputs alone."""
    if cell == "lstm":
        return reference.lstm_scan(gates, weight, *states, walk)
    if cell == "gru":
        return reference.gru_scan(gates, weight, *states, walk)
    return reference.rnn_scan(gates, weight, *states, walk, "relu" if "relu" in cell else "tanh")


def errors(
    cell,
    target,
    dtype="float16",
    batch=3,
    steps=3,
    hidden=32,
    heads=1,
    directions=1,
    reverse=False,
    lengths=None,
    resets=0.0,
    form="registers",
    plan=None,
    seed=0,
    late=None,
    changes=(),
    absent=False,
):
    """|found - expected| / |expected| of outputs and gradients, 0/0 counted as 0, by name."""
    plans = [Plan(*plan)] if plan else []
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        numbers = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return numbers.to(getattr(torch, dtype))

    width, size = directions * hidden, hidden // heads
    gates = draw(batch, steps, COUNTS[cell] * width)
    weight = draw(COUNTS[cell] * width, size) / size**0.5
    states = [draw(batch, width)]
    if absent:  # h0 is NaN, of the bits that say that nothing is there
        states[0].view(torch.int16).fill_(-1)
    states += {"lstm": [draw(batch, width)], "gru": [draw(width)]}.get(cell, [])
    lengths_B = None if lengths is None else torch.tensor(lengths)
    shape = (2, batch, steps) if directions == 2 else (batch, steps)
    reset_BT = torch.rand(shape, generator=generator) < resets if resets else None
    if cell == "rnn_relu" and directions == 1:  # ReLU has no derivative at 0
        options = {"reverse": reverse, "lengths": lengths_B, "reset_mask": reset_BT}
        margin = MARGINS["bf16" if dtype == "bfloat16" else "fp16"]
        gates = off_the_kink([gates, weight, states[0]], options, margin)
    walk = Walk(lengths_B, real_resets(reset_BT, lengths_B), reverse, directions)

    given = [part.double().requires_grad_() for part in (gates, weight, *states)]
    outputs = scan_reference(cell, given[0], given[1], given[2:], walk)
    cotangents = [draw(*output.shape) for output in outputs]
    wanted = torch.autograd.grad(outputs, [given[0], *given[2:]], [c.double() for c in cotangents])

    def change(ptx):
        for old, new in changes:
            assert old in ptx
            ptx = ptx.replace(old, new)
        return ptx

    with emulated(target, seed=seed, change=change, late=late):
        found = scanned(form, cell, gates, weight, states, walk, cotangents, plans)
    pairs = zip(NAMES[cell], found, [*outputs, *wanted], strict=True)
    return {name: ((a.double() - b).norm() / (b.norm() or 1)).item() for name, a, b in pairs}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # with NaN
    for case in json.loads(sys.argv[1]):
        print(json.dumps(errors(**case)), flush=True)
