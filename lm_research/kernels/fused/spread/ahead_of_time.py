"""Compile the spread scans, as plans cut them, for GPUs that are not there.

    python -m lm_research.kernels.fused.spread.ahead_of_time [--target sm_90] [--cell lstm]

``--largest`` compiles the largest heads alone. Prints one row for each kernel, and exits
with 1 if one spills registers or does not fit.
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any

import triton
import triton.language as tl
from triton.compiler import ASTSource

from lm_research.kernels.fused.ahead_of_time import POINTERS, TARGETS, Compiled, _registers
from lm_research.kernels.fused.spread import elman, gru, lstm
from lm_research.kernels.fused.spread.plan import (
    GATES,
    GROUPS,
    LARGEST,
    Cell,
    Direction,
    Plan,
    Processors,
    obstacle,
    plan,
)
from lm_research.kernels.limits import SHARED

COUNTS = {"sm_80": 108, "sm_90": 132, "sm_100": 148}
"""Processors of an A100, an H100, a B200."""
MODULES: dict[Cell, Any] = {"rnn": elman, "lstm": lstm, "gru": gru}
SIZES = (256, 512, 768, 1000, 1024, 2048)
TYPES = {"lengths_ptr": "*i64", "reset_ptr": "*i1", "counters_ptr": "*i32", "failed_ptr": "*i32"}
Configuration = tuple[Cell, Direction, str, int, int, str]


def compile_scan(
    cell: Cell, direction: Direction, kind: str, head_size: int, batch: int, target: str
) -> tuple[Compiled, Plan]:
    """Compile for one head of ``head_size`` units with lengths and resets, as planned."""
    processors = Processors(COUNTS[target], SHARED[target])
    made = plan(cell, direction, kind, batch, head_size, 1, processors)
    function = getattr(MODULES[cell], f"{direction}_kernel")
    constants = _constants(function, made, kind, head_size)
    names = function.arg_names
    even = {"H", "D"} if head_size % 16 == 0 else set()
    divisible = [i for i, name in enumerate(names) if name.endswith("_ptr") or name in even]
    source = ASTSource(
        fn=function,
        signature={name: _type(name, cell, kind, constants) for name in names},
        constexprs=constants,
        attrs={(i,): [["tt.divisibility", 16]] for i in divisible},
    )
    built: Any = triton.compile(source, target=TARGETS[target], options=made.options())
    registers, spilled = _registers(built, target)
    row = Compiled(
        cell=cell,
        kernel=direction,
        kind=kind,
        head_size=head_size,
        target=target,
        warps=made.warps,
        registers=registers,
        spilled=spilled,
        shared=built.metadata.shared,
        aligned=head_size % 16 == 0,
        masks=False,
        recompute=False,
    )
    return row, made


def _constants(function: Any, made: Plan, kind: str, head_size: int) -> dict[str, Any]:
    every = {
        "dropout_ptr": None,
        "zoneout_h_ptr": None,
        "zoneout_c_ptr": None,
        "REVERSE": False,
        "SHARE_H": None,
        "SHARE_C": None,
        "RELU": False,
        "SYNC": True,
        "BLOCK_B": made.rows,
        "UNITS": made.units,
        "W": made.warps,
        "K": made.inner // made.warps,
        "CHUNKS": made.padded(head_size) // made.inner,
        "ACC": tl.float32,
        "PRECISION": kind if kind.startswith("tf32") else "ieee",
        "UPCAST": False,
    }
    if function is elman.forward_kernel:
        every["saved_ptr"] = None
    return {name: value for name, value in every.items() if name in function.arg_names}


def _type(name: str, cell: Cell, kind: str, constants: dict[str, Any]) -> str:
    if name in constants:
        return "constexpr"
    if name == "carried_ptr" or (name == "before_ptr" and cell == "lstm"):
        return "*fp32"
    return TYPES.get(name) or (POINTERS.get(kind, "*fp32") if name.endswith("_ptr") else "i32")


def configurations(target: str, cells: list[Cell], largest: bool) -> Iterator[Configuration]:
    """What dispatch may choose of few and of many rows; or only the largest heads of many."""
    for cell, kind in product(cells, ("bf16", "tf32x3")):
        most = LARGEST[cell, GROUPS[kind]]
        sizes = [most] if largest else [size for size in SIZES if size <= most]
        for size, batch, direction in product(sizes, (1, 128), ("forward", "backward")):
            if _fits(cell, kind, size, target) and not (largest and batch == 1):
                yield cell, direction, kind, size, batch, target  # type: ignore[misc]


def _fits(cell: Cell, kind: str, size: int, target: str) -> bool:
    return obstacle(cell, kind, size, Processors(COUNTS[target], SHARED[target])) is None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--target", choices=list(COUNTS), help="this chip alone")
    parser.add_argument("--cell", choices=list(GATES), help="this cell alone")
    parser.add_argument("--largest", action="store_true", help="of each the largest head alone")
    arguments = parser.parse_args()
    bad = 0
    cells = [arguments.cell] if arguments.cell else list(GATES)
    for target in [arguments.target] if arguments.target else COUNTS:
        for configuration in configurations(target, cells, arguments.largest):
            row, made = compile_scan(*configuration)
            bad += not row.fits
            print(line(row, made), flush=True)
    sys.exit(1 if bad else 0)


def line(row: Compiled, made: Plan) -> str:
    """A row of the table."""
    verdict = "" if row.fits else "  DOES NOT FIT"
    return (
        f"{row.target:6} {row.cell:4} {row.kernel:8} {row.kind:6} D {row.head_size:4} "
        f"{made.rows} rows x {made.units:2} units, {row.warps:2} warps, {row.registers} registers, "
        f"{row.spilled} B spilled, {row.shared:7,} B shared{verdict}"
    )


if __name__ == "__main__":
    main()
