"""Compile the scans for GPUs that are not there: do they fit, and do registers spill?

    python -m lm_research.kernels.fused.ahead_of_time [--target sm_90] [--largest]

Prints one row for each kernel that dispatch may choose, and exits with 1 if one spills registers or
does not fit.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lm_research.kernels.fused import elman, gru, launch, lstm
from lm_research.kernels.limits import CELLS, SHARED, TYPES, largest_head

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
MODULES = {"rnn": elman, "lstm": lstm, "gru": gru}
POINTERS = {"fp16": "*fp16", "bf16": "*bf16"}
FLOAT32 = {"before_ptr"}
"""Pointers to what is kept in the accumulator's type (the LSTM's cell)."""


@dataclass(frozen=True)
class Compiled:
    """What the compiler made of one kernel; registers are None where it does not say."""

    cell: str
    kernel: str
    kind: str
    head_size: int
    target: str
    warps: int
    registers: int | None
    spilled: int
    shared: int
    aligned: bool
    masks: bool
    recompute: bool

    @property
    def fits(self) -> bool:
        """No spilled register, and shared memory within the chip's."""
        return self.spilled == 0 and self.shared <= SHARED[self.target]


def compile_scan(
    cell: str,
    kernel: str,
    kind: str,
    head_size: int,
    target: str,
    aligned: bool = True,
    masks: bool = False,
    recompute: bool = False,
) -> Compiled:
    """Compile ``kernel`` (``forward`` or ``backward``) of ``cell`` for ``target``.

    Args:
        kind: type of the inputs, or for float32 how its products are taken (``limits.TYPES``).
        aligned: whether the sizes are multiples of 16, which Triton compiles for specially.
        masks: with state dropout and zoneout.
        recompute: gates in the backward scan.
    """
    function = getattr(MODULES[cell], f"{kernel}_kernel")
    block = launch.block_of(head_size)
    constants = _constants(function, block, kind)
    constants |= _without(function, kernel, masks, recompute)
    signature = {name: _type(name, cell, kind, constants) for name in function.arg_names}
    even = {"H", "D"} if aligned else set()
    names = enumerate(function.arg_names)
    divisible = [i for i, name in names if name.endswith("_ptr") or name in even]
    source = ASTSource(
        fn=function,
        signature=signature,
        constexprs=constants,
        attrs={(i,): [["tt.divisibility", 16]] for i in divisible},
    )
    options = launch.options_of(block, target.startswith("gfx"))
    made: Any = triton.compile(source, target=TARGETS[target], options=options)
    registers, spilled = _registers(made, target)
    shared = made.metadata.shared
    warps = options["num_warps"]
    found = warps, registers, spilled, shared
    return Compiled(cell, kernel, kind, head_size, target, *found, aligned, masks, recompute)


def _constants(function: Any, block: int, kind: str) -> dict[str, Any]:
    every = {
        "SHARE_H": None,
        "SHARE_C": None,
        "RELU": False,
        "BLOCK_B": launch.BLOCK_B,
        "BLOCK_D": block,
        "ACC": tl.float32,
        "PRECISION": kind if kind.startswith("tf32") else "ieee",
        "UPCAST": False,
    }
    return {name: value for name, value in every.items() if name in function.arg_names}


def _without(function: Any, kernel: str, masks: bool, recompute: bool) -> dict[str, Any]:
    """What the variant is not given."""
    gaps = set() if masks else {"dropout_ptr", "zoneout_h_ptr", "zoneout_c_ptr"}
    gaps |= {"saved_ptr"} if recompute and kernel == "forward" else set()
    gaps |= set() if recompute else {"hidden_ptr"}
    flags = {"RECOMPUTE": recompute}
    return {n: flags.get(n) for n in function.arg_names if n in gaps or n in flags}


def _type(name: str, cell: str, kind: str, constants: dict[str, Any]) -> str:
    if name in constants:
        return "constexpr"
    if name == "lengths_ptr":
        return "*i64"
    if name in ("reset_ptr", "zoneout_h_ptr", "zoneout_c_ptr"):
        return "*i1"
    if name.endswith("_ptr"):
        return "*fp32" if cell == "lstm" and name in FLOAT32 else POINTERS.get(kind, "*fp32")
    return "i32"


def _registers(made: Any, target: str) -> tuple[int | None, int]:
    if target.startswith("gfx"):
        text = made.asm["amdgcn"]
        used = re.search(r"\.vgpr_count:\s+(\d+)", text)
        lost = re.search(r"\.vgpr_spill_count:\s+(\d+)", text)
        return (int(used[1]) if used else None), int(lost[1]) if lost else 0
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(made.asm["ptx"])
        file.flush()
        said = _ptxas(file.name, target)
    used = re.search(r"Used (\d+) registers", said)
    spilled = sum(map(int, re.findall(r"(\d+) bytes spill", said)))
    return (int(used[1]) if used else None), spilled


def _ptxas(ptx: str, target: str) -> str:
    """What the assembler says; of those that Triton brings, the first that reads this PTX."""
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    name = {"sm_90": "sm_90a", "sm_100": "sm_100a"}.get(target, target)
    said = ""
    for tool in ("ptxas-blackwell", "ptxas"):
        if not (tools / tool).exists():
            continue
        command = [str(tools / tool), "-v", f"--gpu-name={name}", ptx, "-o", "/dev/null"]
        done = subprocess.run(command, capture_output=True, text=True)
        said = done.stdout + done.stderr
        if done.returncode == 0:
            return said
    raise RuntimeError(f"no assembler of Triton's reads its PTX for {target}: {said}")


Configuration = tuple[str, str, str, int, str, bool, bool, bool]
VARIANTS = {"plain": (False, False), "masks": (True, False), "recompute": (True, True)}
"""(masks, recompute): the last with both, which takes the most."""


def configurations(
    target: str, largest: bool, variants: Iterable[str] = ("plain",)
) -> Iterator[Configuration]:
    """(cell, kernel, type, head size, target, aligned, masks, recompute) that dispatch may choose.

    Args:
        target: the chip.
        largest: of each the largest head alone.
        variants: of :data:`VARIANTS`.
    """
    for name, cell, kind, aligned in product(variants, CELLS, TYPES, (True, False)):
        masks, recompute = VARIANTS[name]
        most = largest_head(
            cell,  # type: ignore[arg-type]
            kind,
            target,
            aligned,
            masks=masks,
            recompute=recompute,
        )
        sizes = [most] if largest else [size for size in (16, 32, 64, 128, 256) if size <= most]
        for size, kernel in product(sizes if most else [], ("forward", "backward")):
            yield cell, kernel, kind, size, target, aligned, masks, recompute


def line(row: Compiled) -> str:
    """A row of the table."""
    verdict = "" if row.fits else "  DOES NOT FIT"
    sizes = "multiples of 16" if row.aligned else "any size"
    variant = " masks" * row.masks + " recompute" * row.recompute
    return (
        f"{row.target:6} {row.cell:4} {row.kernel:8} {row.kind:6} D {row.head_size:3} {sizes:15} "
        f"{row.warps:2} warps {row.registers} registers, {row.spilled} B spilled, "
        f"{row.shared:7,} B shared{variant}{verdict}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--target", choices=list(TARGETS), help="this chip alone")
    parser.add_argument("--largest", action="store_true", help="of each the largest head alone")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=["plain"])
    parser.add_argument("--json", action="store_true", help="a JSON object a row")
    arguments = parser.parse_args()
    bad = 0
    for target in [arguments.target] if arguments.target else TARGETS:
        for configuration in configurations(target, arguments.largest, arguments.variants):
            row = compile_scan(*configuration)
            bad += not row.fits
            text = json.dumps({**asdict(row), "fits": row.fits}) if arguments.json else line(row)
            print(text, flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
