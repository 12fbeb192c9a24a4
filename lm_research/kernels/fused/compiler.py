"""Compile a kernel for a GPU that is not there: its registers, its shared memory, what spills."""

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lm_research.kernels.limits import SHARED

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}


POINTERS = {"fp16": "*fp16", "bf16": "*bf16"}
"""Types of pointers by the inputs' type; of all others float32."""
FIXED = {
    "lengths_ptr": "*i64",
    "reset_ptr": "*i1",
    "zoneout_h_ptr": "*i1",
    "zoneout_c_ptr": "*i1",
    "counters_ptr": "*i32",
    "failed_ptr": "*i32",
    "targets_ptr": "*i64",
    "rank_ptr": "*i64",
}
"""Types of pointers whatever the inputs' type is."""


@dataclass(frozen=True)
class Label:
    """Which kernel it is.

    Attributes:
        cell: of ``limits.CELLS``, a diagonal scan, or ``cross_entropy``.
        form: of ``dispatch.FORMS``, with what it is compiled with beyond.
        kernel: ``forward`` or ``backward``; of the loss ``forward``, or ``both`` in one.
        kind: type of the inputs, or for float32 how its products are taken (``limits.TYPES``).
        size: units of a head; of a diagonal scan channels of a tile, of the loss its logits.
        target: one of :data:`TARGETS`.
        aligned: whether the sizes are multiples of 16, which Triton compiles for specially.
    """

    cell: str
    form: str
    kernel: str
    kind: str
    size: int
    target: str
    aligned: bool


@dataclass(frozen=True)
class Kernel:
    """What is compiled: ``source`` as ``triton.compile`` takes it, and its ``options``."""

    label: Label
    source: Any = field(repr=False)
    options: dict[str, int]


@dataclass(frozen=True)
class Compiled(Label):
    """What the compiler made of a kernel.

    Attributes:
        registers: of a thread; None where the compiler does not say.
        spilled: bytes that a thread keeps in memory for want of registers.
        shared: bytes of shared memory.
    """

    warps: int
    registers: int | None
    spilled: int
    shared: int

    @property
    def fits(self) -> bool:
        """No spilled register, and shared memory within the chip's."""
        return self.spilled == 0 and self.shared <= SHARED[self.target]


def source_of(
    function: Any,
    label: Label,
    constants: dict[str, Any],
    sizes: set[str],
    wide: set[str],
    kind: type = ASTSource,
) -> Any:
    """A kernel's source, with the types of its arguments by their names.

    Args:
        function: the kernel.
        label: its type, and whether ``sizes`` are multiples of 16.
        constants: values by name, more than the kernel has; None is an argument left out.
        sizes: names of arguments.
        wide: pointers to what is in float32 in any case.
        kind: of source; Gluon's kernels have one of their own.
    """
    mine = {name: constants[name] for name in function.arg_names if name in constants}

    def type_of(name: str) -> str:
        if name in mine:
            return "constexpr"
        if not name.endswith("_ptr"):
            return "i32"
        usual = "*fp32" if name in wide else POINTERS.get(label.kind, "*fp32")
        return FIXED.get(name, usual)

    signature = {name: type_of(name) for name in function.arg_names}
    even = sizes if label.aligned else set()
    places = enumerate(function.arg_names)
    divisible = [i for i, name in places if name.endswith("_ptr") or name in even]
    attributes = {(i,): [["tt.divisibility", 16]] for i in divisible}
    return kind(function, signature, mine, attributes)


def compiled(kernel: Kernel) -> Compiled:
    """Compile it, or take it from Triton's cache."""
    label, options = kernel.label, kernel.options
    made: Any = triton.compile(kernel.source, target=TARGETS[label.target], options=options)
    resources = _of_amd if label.target.startswith("gfx") else _of_nvidia
    registers, spilled = resources(made.asm)
    return Compiled(
        **vars(label),
        warps=options["num_warps"],
        registers=registers,
        spilled=spilled,
        shared=made.metadata.shared,
    )


def _of_amd(made: dict[str, Any]) -> tuple[int | None, int]:
    used = re.search(r"\.vgpr_count:\s+(\d+)", made["amdgcn"])
    lost = re.search(r"\.vgpr_spill_count:\s+(\d+)", made["amdgcn"])
    return (int(used[1]) if used else None), int(lost[1]) if lost else 0


def _of_nvidia(made: dict[str, Any]) -> tuple[int | None, int]:
    """From the machine code itself; the stack is where registers are spilled to."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made["cubin"])
        file.flush()
        command = [str(tool), "-res-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", said)
    if found is None:
        raise RuntimeError(f"cuobjdump says nothing of registers: {said}")
    registers, stack, local = map(int, found.groups())
    return registers, stack + local
