"""What a fused layer adds to torch.nn's where dispatch hands over to it (a CPU).

``auto`` does so for an LSTM; of RNN and GRU, for which it has scans of its own, ``backend="torch"``
is asked.

Both run a forward and a backward pass on the same weights and input, in pairs, the order changing
from pair to pair; CPU time is counted, on one thread. Before any timing both must give the same
outputs and gradients to the bit. The overhead is the median of the pairs' ratios less 1, with the
95 % interval that order statistics give of a median.

    OMP_NUM_THREADS=1 python benchmarks/wrapper_overhead.py [--pairs 4000]
"""

import argparse
import datetime
import json
import math
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from lm_research.kernels import FusedGRU, FusedLSTM, FusedRNN
from lm_research.tracking.environment import environment

GOAL = 0.02
LAYERS = {"rnn": (FusedRNN, nn.RNN), "lstm": (FusedLSTM, nn.LSTM), "gru": (FusedGRU, nn.GRU)}
BACKENDS = {"rnn": "torch", "lstm": "auto", "gru": "torch"}
SIZES = {"hidden": 64, "batch": 8, "steps": 32}
"""So small that an LSTM's step takes about a millisecond: what a wrapper adds is felt the most."""


def step(layer: nn.Module, x: Tensor) -> tuple[float, list[Tensor]]:
    """Seconds of a forward and a backward pass; the output and the gradients."""
    started = time.thread_time()
    y, _ = layer(x)
    y.sum().backward()
    seconds = time.thread_time() - started
    found = [y.detach(), *(p.grad for p in layer.parameters())]
    for parameter in layer.parameters():
        parameter.grad = None
    return seconds, found


def interval(ratios: list[float]) -> list[float]:
    """95 %: between the order statistics that a fair coin's tosses lie between."""
    ordered, half = sorted(ratios), 0.98 * math.sqrt(len(ratios))
    low, high = (round(len(ratios) / 2 + sign * half) for sign in (-1, 1))
    return [ordered[max(low, 0)], ordered[min(high, len(ordered) - 1)]]


def measured(cell: str, pairs: int) -> dict[str, object]:
    """One cell's figures, of ``pairs`` pairs after a tenth as many for warm-up."""
    torch.manual_seed(0)
    ours_of, theirs_of = LAYERS[cell]
    fused = ours_of(SIZES["hidden"], SIZES["hidden"], backend=BACKENDS[cell])
    plain = theirs_of(SIZES["hidden"], SIZES["hidden"])
    plain.load_state_dict(fused.state_dict())
    x = torch.randn(SIZES["steps"], SIZES["batch"], SIZES["hidden"])
    same = zip(step(fused, x)[1], step(plain, x)[1], strict=True)
    assert all(torch.equal(a, b) for a, b in same), f"{cell}: they differ"
    ours, theirs = [], []
    for pair in range(-pairs // 10, pairs):
        seconds = {}
        for layer in (fused, plain) if pair % 2 else (plain, fused):
            seconds[layer] = step(layer, x)[0]
        if pair >= 0:
            ours.append(seconds[fused])
            theirs.append(seconds[plain])
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "backend": BACKENDS[cell],
        "torch_ms": round(1e3 * statistics.median(theirs), 4),
        "overhead_us": round(1e6 * statistics.median(differences), 1),
        "overhead": round(statistics.median(ratios) - 1, 5),
        "overhead_95": [round(ratio - 1, 5) for ratio in interval(ratios)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=4000)
    pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    result = {
        "date": datetime.date.today().isoformat(),
        "command": "OMP_NUM_THREADS=1 python benchmarks/wrapper_overhead.py",
        "machine": f"{environment()['cpu']['model']}, torch {torch.__version__}, one thread",
        **SIZES,
        "pairs": pairs,
        "goal": GOAL,
        "equal_bits": True,
        "cells": {cell: measured(cell, pairs) for cell in LAYERS},
    }
    text = json.dumps(result, indent=1)
    print(text)
    path = Path(__file__).parent / "results/wrapper_overhead.json"
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
