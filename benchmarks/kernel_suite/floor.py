"""The time that no kernel can beat: max(FLOPs / peak, bytes / bandwidth), both measured here.

Peaks are what torch.matmul and a copy reach on this device, not what its sheet promises. The third
term, T exchanges between programs through L2, waits for a kernel that exchanges anything.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from kernel_suite.points import TORCH, Point


@dataclass(frozen=True)
class Peaks:
    """FLOP/s by type, and bytes/s read and written by a copy."""

    flops: dict[str, float]
    bandwidth: float


def flops_of(point: Point) -> int:
    """Multiplications and additions of the products; the backward pass takes two for each."""
    widths = point.head_size + (point.hidden if point.accounting == "layer" else 0)
    forward = 2 * point.batch * point.steps * point.gates * point.hidden * widths * point.layers
    return forward * (3 if point.mode == "both" else 1)


def bytes_of(point: Point) -> int:
    """What has to be moved at least once: input, output and weights, and their gradients.

    What is between layers or kept for the backward pass could stay on the chip, so it is not here.
    """
    rows = point.batch * point.steps
    x, y = rows * point.input_size, rows * point.hidden
    width = point.head_size + (point.hidden + 2 if point.accounting == "layer" else 0)
    weights = point.layers * point.gates * point.hidden * width
    elements = x + y + weights
    if point.mode == "both":  # x is read again; dy comes in; dx and dW go out
        elements += 2 * x + y + 2 * weights
    return elements * TORCH[point.dtype].itemsize


def floor_ms(point: Point, peaks: Peaks) -> float:
    seconds = max(flops_of(point) / peaks.flops[point.dtype], bytes_of(point) / peaks.bandwidth)
    return 1e3 * seconds


def measured_peaks(device: str, dtypes: tuple[str, ...]) -> Peaks:
    """By square products and a large copy: the best of several runs."""
    cuda = device == "cuda"
    side, elements = (8192, 2**28) if cuda else (256, 2**20)
    flops = {}
    for dtype in dtypes:
        pin_tf32(dtype == "tf32")
        a = torch.ones(side, side, dtype=TORCH[dtype], device=device)
        out = torch.empty_like(a)
        flops[dtype] = 2 * side**3 / _best(lambda a=a, out=out: torch.mm(a, a, out=out), cuda)
    source = torch.ones(elements, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    copied = _best(lambda: target.copy_(source), cuda)
    return Peaks(flops, 2 * 4 * elements / copied)


def pin_tf32(allowed: bool) -> None:
    """cuDNN and cuBLAS alike: the first allows it by default, the second does not."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def _best(call: Callable[[], object], cuda: bool, runs: int = 10) -> float:
    """Seconds."""
    call()
    seconds = []
    for _ in range(runs):
        if cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
