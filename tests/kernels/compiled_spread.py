"""Persistent spread scans compiled for a GPU and executed on the CPU, programs side by side.

    python tests/kernels/compiled_spread.py lstm sm_90 SEED

Several programs wait for each other; whoever reads what no barrier, release or acquire has ordered
is an error there (``kernel_suite.ptx``). Kernels must not be interpreted in the same process.
"""

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(Path(__file__).parent)]

from kernel_suite.ptx.device import emulated  # noqa: E402
from test_spread import NAMES, case, cut, oracle, spread, walk_of  # noqa: E402

LARGEST_ERROR = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def main(cell: str, target: str, seed: int) -> None:
    """Raises unless all outputs and gradients agree with float64."""
    dtype = torch.float32 if target == "sm_80" else torch.bfloat16
    batch, steps, hidden = 2, 3, 40
    walk = walk_of("cpu", batch, steps, precision="tf32x3" if dtype == torch.float32 else "ieee")
    tensors = case(cell, dtype, "cpu", batch, steps, hidden)
    generator = torch.Generator().manual_seed(1)
    shapes = [(batch, steps, hidden), *(state.shape for state in tensors[2])]
    cotangents = [torch.randn(s, generator=generator).to(dtype) for s in shapes]
    plan = cut(16, warps=4, inner=64, persistent=True)
    with emulated(target, seed=seed):
        found = spread(cell, *tensors, walk, cotangents, plan)
    expected = oracle(cell, *tensors, walk, cotangents)
    for name, a, b in zip(NAMES[cell], found, expected, strict=True):
        error = ((a.double() - b).norm() / b.norm()).item()
        assert error <= LARGEST_ERROR[dtype], f"{name}: {error:.1e}"
        print(f"{cell} {target} {name}: {error:.1e}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
