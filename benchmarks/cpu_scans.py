"""Compiled scans on a CPU beside torch.nn's layers.

    python benchmarks/cpu_scans.py --threads 2
    python benchmarks/cpu_scans.py --cells gru --hidden 128 512 --batch 64 --steps 64 --seconds 5

One layer, input as wide as the state, float32: forward, backward, and forward without gradients.
Both sides are compared first (outputs and all gradients, 1e-4 of the largest), then timed in turns;
the ratio is that of medians, with its quartiles. Freed memory is kept, as in training. Prints a
line a shape; --json keeps them with the machine.
"""

import argparse
import json
import os
import time
from datetime import date
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn

from lm_research.cli.allocator import keep_freed_memory
from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN
from lm_research.tracking.environment import environment

CELLS: dict[str, tuple[Any, Any]] = {
    "rnn": (FusedRNN, nn.RNN),
    "gru": (FusedGRU, nn.GRU),
    "lstm": (FusedLSTM, nn.LSTM),
}
TOLERANCE = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", nargs="+", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--hidden", nargs="+", type=int, default=[32, 128, 512, 1024])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 16, 64, 256])
    parser.add_argument("--steps", nargs="+", type=int, default=[16, 64, 512])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=2.0, help="a shape and mode")
    parser.add_argument("--most", type=float, default=2e8, help="batch x steps x hidden^2 at most")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    rows = [
        row
        for cell in options.cells
        for hidden in options.hidden
        for batch in options.batch
        for steps in options.steps
        if batch * steps * hidden**2 <= options.most * 512
        for row in shape(cell, hidden, batch, steps, options.seconds)
    ]
    if options.json:
        machine = environment()["cpu"]["model"]
        told = {"date": date.today().isoformat(), "machine": machine, "threads": options.threads}
        options.json.write_text(json.dumps({**told, "torch": torch.__version__, "rows": rows}))


def shape(cell: str, hidden: int, batch: int, steps: int, seconds: float) -> list[dict[str, Any]]:
    """Rows of one shape: training, and forward alone."""
    torch.manual_seed(0)
    ours, theirs = CELLS[cell]
    fused = ours(hidden, hidden, batch_first=True, backend="cpu")
    plain = theirs(hidden, hidden, batch_first=True)
    plain.load_state_dict(fused.state_dict())
    x_BTH, dy_BTH = torch.randn(2, batch, steps, hidden)
    compare(trained(fused, x_BTH, dy_BTH), trained(plain, x_BTH, dy_BTH))
    rows = []
    for mode, call in (("both", trained), ("forward", forward)):
        times = in_turns(lambda m, call=call: call(m, x_BTH, dy_BTH), (fused, plain), seconds)
        ratios = [theirs / ours for ours, theirs in zip(*times, strict=True)]
        low, _, high = quantiles(ratios, n=4)
        row = {
            "cell": cell, "mode": mode, "hidden": hidden, "batch": batch, "steps": steps,
            "ratio": median(times[1]) / median(times[0]), "low": low, "high": high,
        }  # fmt: skip
        rows.append(row)
        print(
            f"{cell:5}{mode:8} H {hidden:5} B {batch:4} T {steps:4}  {row['ratio']:5.2f} "
            f"({low:.2f} to {high:.2f})",
            flush=True,
        )
    return rows


def trained(layer: nn.Module, x_BTH: Tensor, dy_BTH: Tensor) -> list[Tensor]:
    """Output, and the gradients of input and weights."""
    x_BTH = x_BTH.detach().requires_grad_()
    y_BTH, _ = layer(x_BTH)
    inputs = [x_BTH, *layer.parameters()]
    return [y_BTH.detach(), *torch.autograd.grad(y_BTH, inputs, dy_BTH)]


@torch.no_grad()
def forward(layer: nn.Module, x_BTH: Tensor, dy_BTH: Tensor) -> list[Tensor]:
    """Output alone."""
    return [layer(x_BTH)[0]]


def compare(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for number, (found, expected) in enumerate(zip(ours, theirs, strict=True)):
        apart = (found - expected).abs().max() / expected.abs().max()
        if not apart < TOLERANCE:
            raise AssertionError(f"result {number} is {apart:.1e} apart")


def in_turns(call: Any, layers: tuple[Any, Any], seconds: float) -> tuple[list[float], list[float]]:
    """Seconds of each call, the two after one another, five times at least."""
    times: tuple[list[float], list[float]] = [], []
    began = time.perf_counter()
    while len(times[0]) < 5 or time.perf_counter() - began < seconds:
        for layer, kept in zip(layers, times, strict=True):
            start = time.perf_counter()
            call(layer)
            kept.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
