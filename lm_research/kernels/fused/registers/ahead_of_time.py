"""The scans with U in registers, for the compiler (``fused.ahead_of_time``)."""

from collections.abc import Iterator
from itertools import product

from lm_research.kernels.fused.compiler import Kernel, Label
from lm_research.kernels.fused.registers.compile import source
from lm_research.kernels.fused.registers.limits import largest_head
from lm_research.kernels.limits import CELLS


def registers(target: str, largest: bool) -> Iterator[Kernel]:
    """Every head, or the largest ones; for NVIDIA's chips."""
    kinds = ("fp16", "bf16") if target.startswith("sm_") else ()
    for cell, kind, aligned in product(CELLS, kinds, (True, False)):
        most = largest_head(cell, kind, target, aligned)
        sizes = [most] if largest else [size for size in (16, 32, 64, 128, 256) if size <= most]
        for size, kernel in product(sizes, ("forward", "backward")):
            label = Label(cell, "registers", kernel, kind, size, target, aligned)
            yield Kernel(label, *source(cell, kernel, kind, size, aligned))
