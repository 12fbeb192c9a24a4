"""The output layer's loss by blocks, against all logits at once: time and memory.

    python benchmarks/cross_entropy.py                 # three shapes, float32 and bfloat16
    python benchmarks/cross_entropy.py --rows 8192 --vocabulary 50000 --features 256

Each figure is of forward and backward. Both sides are first compared with each other; then they
run in turns, with freed memory kept as in a run, and the ratio of CPU seconds is the median over
the rounds, with its quartiles. Memory is the peak of a process of its own for each side, less what
it held before. Prints a table and writes
results/cross_entropy.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import quantiles
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lm_research.cli.allocator import keep_freed_memory
from lm_research.kernels import linear_cross_entropy

RESULT = Path(__file__).parent / "results/cross_entropy.json"
SHAPES = [(1120, 200, 10_000), (4096, 128, 2000), (8192, 256, 50_000)]
"""Rows, features, vocabulary: a window of 32 x 35 over ten thousand words, of 64 x 64 over two
thousand pieces, and the large one."""
Side = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def plain(x_NH: Tensor, weight_VH: Tensor, bias_V: Tensor, targets_N: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(x_NH, weight_VH, bias_V), targets_N)


SIDES: dict[str, Side] = {"plain": plain, "blocks": linear_cross_entropy}


def main() -> int:
    arguments = options()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    if arguments.side:
        print(peak_bytes(SIDES[arguments.side], arguments))
        return 0
    shapes = [(arguments.rows, arguments.features, arguments.vocabulary)]
    rows = []
    for shape in shapes if arguments.rows else SHAPES:
        for dtype in ("float32", "bfloat16"):
            rows.append(measured(shape, dtype, arguments))
            print(line(rows[-1]), flush=True)
    about = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": arguments.threads,
        "torch": torch.__version__,
    }
    RESULT.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n")
    return 0


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("rows", "features", "vocabulary"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def inputs(shape: tuple[int, int, int], dtype: str) -> list[Tensor]:
    rows, features, vocabulary = shape
    torch.manual_seed(0)
    made = [
        torch.randn(rows, features),
        torch.randn(vocabulary, features) / features**0.5,
        torch.zeros(vocabulary),
    ]
    made = [tensor.to(getattr(torch, dtype)).requires_grad_() for tensor in made]
    return [*made, torch.randint(vocabulary, (rows,))]


def both_passes(side: Side, given: list[Tensor]) -> list[Tensor]:
    loss = side(*given)
    return [loss.detach(), *torch.autograd.grad(loss, given[:3])]


def measured(shape: tuple[int, int, int], dtype: str, arguments: Any) -> dict[str, Any]:
    given = inputs(shape, dtype)
    compare(*(both_passes(side, given) for side in SIDES.values()), dtype)
    ratios = []
    for _ in range(arguments.rounds):
        seconds = {}
        for name, side in SIDES.items():
            began = time.process_time()
            both_passes(side, given)
            seconds[name] = time.process_time() - began
        ratios.append(seconds["plain"] / seconds["blocks"])
    memory = {name: peak_of(name, shape, dtype) for name in SIDES}
    return {
        "rows": shape[0],
        "features": shape[1],
        "vocabulary": shape[2],
        "dtype": dtype,
        "times_as_fast": quantiles(ratios, n=4),
        "peak_mb": {name: round(peak / 1e6, 1) for name, peak in memory.items()},
    }


def compare(ours: list[Tensor], theirs: list[Tensor], dtype: str) -> None:
    near = 1e-4 if dtype == "float32" else 3e-2
    for a, b in zip(ours, theirs, strict=True):
        error = ((a.double() - b.double()).norm() / b.double().norm()).item()
        if not error < near:
            raise AssertionError(f"{dtype}: the sides differ by {error:.1e} of the norm")


def peak_of(side: str, shape: tuple[int, int, int], dtype: str) -> int:
    names = ("rows", "features", "vocabulary")
    sizes = [f"--{name}={size}" for name, size in zip(names, shape, strict=True)]
    command = [sys.executable, __file__, f"--side={side}", f"--dtype={dtype}", *sizes]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak_bytes(side: Side, arguments: Any) -> int:
    both_passes(side, inputs((8, 8, 8), arguments.dtype))
    given = inputs((arguments.rows, arguments.features, arguments.vocabulary), arguments.dtype)
    before = peak_kb()
    both_passes(side, given)
    return (peak_kb() - before) * 1024


def peak_kb() -> int:
    """The most memory that this process has held; `ru_maxrss` would begin at its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def line(row: dict[str, Any]) -> str:
    low, middle, high = row["times_as_fast"]
    peaks = row["peak_mb"]
    return (
        f"{row['rows']} rows x {row['vocabulary']}, {row['features']} features, {row['dtype']}: "
        f"{middle:.2f} times as fast ({low:.2f} to {high:.2f}), "
        f"{peaks['blocks']} MB where all logits take {peaks['plain']}"
    )


if __name__ == "__main__":
    sys.exit(main())
