"""Persistent spread scans compiled for a GPU and executed on the CPU, programs side by side.

    python tests/kernels/compiled_spread.py lstm sm_90 SEED [LAYERS]

Several programs wait for each other; whoever reads what no barrier, release or acquire has ordered
is an error there (``kernel_suite.ptx``). Kernels must not be interpreted in the same process.
"""

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(Path(__file__).parent)]

import test_spread  # noqa: E402
import test_wavefront  # noqa: E402
from kernel_suite.ptx.device import emulated  # noqa: E402
from test_spread import NAMES, cut, walk_of  # noqa: E402

LARGEST_ERROR = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
BATCH, STEPS = 2, 3


def alone(cell, dtype, walk, seed):
    """Outputs and gradients of one layer, and what they should be."""
    tensors = test_spread.case(cell, dtype, "cpu", BATCH, STEPS, 40)
    given = cotangents(dtype, (BATCH, STEPS, 40), tensors[2])
    plan = cut(16, warps=4, inner=64, persistent=True)
    with emulated(target_of(dtype), seed=seed):
        found = test_spread.spread(cell, *tensors, walk, given, plan)
    return found, test_spread.oracle(cell, *tensors, walk, given)


def stacked(cell, dtype, walk, seed, layers):
    """The same of layers that walk in one launch."""
    tensors = test_wavefront.case(cell, dtype, "cpu", layers, BATCH, STEPS, 64)
    given = cotangents(dtype, (BATCH, STEPS, 64), tensors[1])
    plan = cut(16, warps=4, inner=64, groups=layers, persistent=True)
    with emulated(target_of(dtype), seed=seed):
        found = test_wavefront.wave(cell, tensors, walk, given, plan)
    return found, test_wavefront.oracle(cell, tensors, walk, given)


def cotangents(dtype, shape, states):
    generator = torch.Generator().manual_seed(1)
    shapes = [shape, *(state.shape for state in states)]
    return [torch.randn(s, generator=generator).to(dtype) for s in shapes]


def target_of(dtype):
    return "sm_80" if dtype == torch.float32 else "sm_90"


def main(cell: str, target: str, seed: int, layers: int = 1) -> None:
    """Raises unless all outputs and gradients agree with float64."""
    dtype = torch.float32 if target == "sm_80" else torch.bfloat16
    precision = "tf32x3" if dtype == torch.float32 else "ieee"
    walk = walk_of("cpu", BATCH, STEPS, precision=precision)
    if layers == 1:
        found, expected = alone(cell, dtype, walk, seed)
    else:
        found, expected = stacked(cell, dtype, walk, seed, layers)
    for name, a, b in zip(NAMES[cell], found, expected, strict=True):
        error = ((a.double() - b).norm() / b.norm()).item()
        assert error <= LARGEST_ERROR[dtype], f"{name}: {error:.1e}"
        print(f"{cell} {target} {name}: {error:.1e}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
