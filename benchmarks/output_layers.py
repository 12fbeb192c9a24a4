"""Output layers: one training step of each beside the full softmax's.

    OMP_NUM_THREADS=1 python benchmarks/output_layers.py [--tokens 50000] [--rows 1120]

A step is the loss, its gradients and Adam's update (fused), of the output layer alone.
Targets are drawn by Zipf's law. The layers take turns; the first turn is not counted; medians of
wall time. What each learns in equal steps is measured by runs (docs/output_layers.md).
"""

import argparse
import statistics
import time

import torch

from lm_research.tasks.output_layers.adaptive import Adaptive
from lm_research.tasks.output_layers.full import Full
from lm_research.tasks.output_layers.output_layer import OutputLayer, OutputSpec
from lm_research.tasks.output_layers.sampled import NoiseContrastive, Sampled

KINDS: dict[str, type[OutputLayer]] = {
    "full": Full,
    "adaptive": Adaptive,
    "sampled": Sampled,
    "nce": NoiseContrastive,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("tokens", 50_000), ("hidden", 200), ("rows", 1120), ("turns", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    counts_V = (1e6 / torch.arange(1, given.tokens + 1)).long() + 1
    targets_N = torch.multinomial(counts_V.double(), given.rows, replacement=True)
    y_NH = torch.randn(given.rows, given.hidden, requires_grad=True)
    spec = OutputSpec(given.hidden, given.tokens, counts_V=counts_V)
    layers = {name: kind(spec) for name, kind in KINDS.items()}
    optimizers = {
        n: torch.optim.Adam(layer.parameters(), fused=True) for n, layer in layers.items()
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in layers}
    for _ in range(given.turns + 1):
        for name, layer in layers.items():
            seconds[name].append(step(layer, optimizers[name], y_NH, targets_N))
    for name, found in seconds.items():
        backward, whole = (
            statistics.median(column) * 1e3 for column in zip(*found[1:], strict=True)
        )
        print(f"{name:10} loss and gradients {backward:7.1f} ms, with Adam {whole:7.1f} ms")


def step(
    layer: OutputLayer,
    optimizer: torch.optim.Optimizer,
    y_NH: torch.Tensor,
    targets_N: torch.Tensor,
) -> tuple[float, float]:
    """Seconds of loss and gradients, and of the whole step."""
    optimizer.zero_grad()
    began = time.perf_counter()
    layer.loss(y_NH, targets_N).backward()
    learned = time.perf_counter()
    optimizer.step()
    return learned - began, time.perf_counter() - began


if __name__ == "__main__":
    main()
