"""The time that no kernel can beat: max(FLOPs / peak, bytes / bandwidth, steps x exchange).

All are measured here: what torch.matmul and a copy reach on this device, not what its sheet
promises, and how long a state takes from one processor to another. Only a head whose U no processor
can hold has to be exchanged.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch

from kernel_suite.gpu import first_line, still_alive
from kernel_suite.points import TORCH, Point
from kernel_suite.timing import best_seconds


@dataclass(frozen=True)
class Peaks:
    """FLOP/s by type; bytes/s read and written by a copy; seconds from processor to processor, and
    the bytes that one has in registers and shared memory."""

    flops: dict[str, float]
    bandwidth: float
    exchange: float = 0.0
    capacity: float = math.inf


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


def exchanges_of(point: Point, capacity: float) -> int:
    """Steps that wait for each other between processors; layers of a stack may overlap."""
    if point.gates * point.head_size**2 * TORCH[point.dtype].itemsize <= capacity:
        return 0
    return (point.steps + point.layers - 1) * (2 if point.mode == "both" else 1)


def floor_ms(point: Point, peaks: Peaks) -> float:
    arithmetic, memory = flops_of(point) / peaks.flops[point.dtype], bytes_of(point)
    exchange = exchanges_of(point, peaks.capacity) * peaks.exchange
    return 1e3 * max(arithmetic, memory / peaks.bandwidth, exchange)


def measured_peaks(device: str, dtypes: tuple[str, ...]) -> Peaks:
    """By square products and a large copy: the best of several runs.

    Of random numbers: a GPU draws less power over ones and zeros, and is up to an eighth faster.
    """
    cuda = device == "cuda"
    side, elements = (8192, 2**28) if cuda else (256, 2**20)
    flops = {}
    for dtype in dtypes:
        pin_tf32(dtype == "tf32")
        a = torch.randn(side, side, device=device).to(TORCH[dtype])
        out = torch.empty_like(a)
        product = lambda a=a, out=out: torch.mm(a, a, out=out)  # noqa: E731
        flops[dtype] = 2 * side**3 / best_seconds(product, cuda)
    source = torch.randn(elements, device=device)
    target = torch.empty_like(source)
    copied = best_seconds(lambda: target.copy_(source), cuda)
    return Peaks(flops, 2 * 4 * elements / copied, *(_between_processors() if cuda else ()))


def _between_processors() -> tuple[float, float]:
    """Seconds of an exchange, 0 if it cannot be measured, and a processor's bytes."""
    found: Any = torch.cuda.get_device_properties()
    registers = 4 * getattr(found, "regs_per_multiprocessor", 65_536)
    return _exchange(), registers + found.shared_memory_per_block_optin


def _exchange() -> float:
    from kernel_suite.latency import measured_exchange  # imports Triton

    try:
        return measured_exchange("cuda")
    except Exception as error:  # the floor then lacks its third term; what is timed, is
        print(f"an exchange between processors was not measured: {first_line(error)}", flush=True)
        still_alive("cuda", "measuring an exchange between processors")
        return 0.0


def pin_tf32(allowed: bool) -> None:
    """cuDNN and cuBLAS alike: the first allows it by default, the second does not."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
