"""The scans with U in registers, for the compiler (``fused.ahead_of_time``)."""

from collections.abc import Iterator
from itertools import product
from types import ModuleType

from triton.experimental.gluon._runtime import GluonASTSource

from lm_research.kernels.fused.compiler import Kernel, Label, source_of
from lm_research.kernels.fused.launch import block_of
from lm_research.kernels.fused.registers import elman, gru, lstm
from lm_research.kernels.fused.registers.launch import options_of
from lm_research.kernels.fused.registers.limits import largest_head

MODULES: dict[str, ModuleType] = {"rnn": elman, "lstm": lstm, "gru": gru}


def registers(target: str, largest: bool) -> Iterator[Kernel]:
    """Every head, or the largest ones; for NVIDIA's chips."""
    kinds = ("fp16", "bf16") if target.startswith("sm_") else ()
    for cell, kind, aligned in product(MODULES, kinds, (True, False)):
        most = largest_head(cell, kind, target, aligned)
        sizes = [most] if largest else [size for size in (16, 32, 64, 128, 256) if size <= most]
        for size, kernel in product(sizes, ("forward", "backward")):
            yield kernel_of(Label(cell, "registers", kernel, kind, size, target, aligned))


def kernel_of(label: Label) -> Kernel:
    """With lengths and resets, gates being saved."""
    function = getattr(MODULES[label.cell], f"{label.kernel}_kernel")
    block = block_of(label.size)
    wide = {"before_ptr"} if label.cell == "lstm" else set()
    constants = {"RELU": False, "BLOCK_D": block}
    source = source_of(function, label, constants, {"H", "D"}, wide, GluonASTSource)
    return Kernel(label, source, options_of(block))
