"""What the machine can do at most, and whether it does it evenly."""

import time
from dataclasses import asdict, dataclass
from statistics import median, quantiles

import torch

SIZE = 1024
"""Of the square matrices whose product is the peak."""
NOISY = 1.1
"""Upper over lower quartile of one and the same product's seconds."""


@dataclass(frozen=True)
class Machine:
    """Measured on this machine, with as many threads as the benchmark has.

    Attributes:
        gemm_gflops: float32, of a product of 1024 x 1024 matrices.
        bfloat16_gflops: the same in bfloat16.
        copy_gbs: GB/s read and written by a copy of 256 MB.
        spread: upper over lower quartile of the product's seconds.
    """

    gemm_gflops: float
    bfloat16_gflops: float
    copy_gbs: float
    spread: float

    def peak_gflops(self, dtype: str) -> float:
        """Of products in a type, by its name."""
        return self.bfloat16_gflops if dtype == "bfloat16" else self.gemm_gflops

    @property
    def noisy(self) -> bool:
        """Whether something else seems to take the processor's time."""
        return self.spread > NOISY

    def columns(self) -> dict[str, float]:
        """For a results file."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def measured(rounds: int = 30) -> Machine:
    """Takes a second or two."""
    products = _products(torch.float32, rounds)
    halves = median(_products(torch.bfloat16, max(5, rounds // 4)))
    source, target = torch.ones(2, 32 * 2**20)
    copies = _seconds(lambda: target.copy_(source), max(5, rounds // 4))
    low, middle, high = quantiles(products, n=4)
    flops, copied = 2 * SIZE**3 / 1e9, 2 * source.nbytes / median(copies) / 1e9
    return Machine(flops / middle, flops / halves, copied, high / low)


def _products(dtype: torch.dtype, rounds: int) -> list[float]:
    a, b, into = torch.randn(3, SIZE, SIZE).to(dtype)
    return _seconds(lambda: torch.mm(a, b, out=into), rounds)


def _seconds(call: object, rounds: int) -> list[float]:
    assert callable(call)
    found = []
    for number in range(rounds + 3):
        began = time.perf_counter()
        call()
        if number >= 3:
            found.append(time.perf_counter() - began)
    return found
