"""How a spread scan is cut into programs; needs no Triton.

What fits was found by compiling ahead of time (Triton 3.6.0 and 3.9.0 for sm_80, sm_90 and sm_100):
no register spills, but for one that 3.6.0 puts aside while the GRU's backward scan walks (float32,
512 units, sm_80). What is best is a model, in cycles of a processor, that no GPU has confirmed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import torch

from lm_research.kernels.limits import SHARED

Cell = Literal["rnn", "lstm", "gru"]
Direction = Literal["forward", "backward"]
GATES: dict[Cell, int] = {"rnn": 1, "lstm": 4, "gru": 3}

ROWS, UNITS = (16, 32), (8, 16)
"""Rows of a batch tile (a tensor core takes 16), units of a program (and no fewer than 8)."""
GATHERED = 32_768
"""Bytes of what was exchanged that a program takes from the cache at once."""
LARGEST: dict[tuple[Cell, str], int] = {
    ("rnn", "half"): 2048,
    ("gru", "half"): 1024,
    ("lstm", "half"): 1024,
    ("rnn", "tf32"): 512,
    ("gru", "tf32"): 512,
    ("lstm", "tf32"): 256,
}
"""Units of the largest head that does not spill. Float32's U lies in registers, twice in tf32x3."""
LARGEST_STACKED: dict[Cell, int] = {"rnn": 1024, "gru": 1024, "lstm": 512}
"""Of layers that walk in one launch, in 16 bits: with U they hold W of what feeds them."""
MULTIPLE = 128
"""Of which their units are multiples: a layer reads another's result as it is, not padded."""
GROUPS = {"fp16": "half", "bf16": "half", "tf32x3": "tf32", "tf32": "tf32"}


@dataclass(frozen=True)
class Plan:
    """One launch's cut.

    Attributes:
        rows: of a batch tile.
        units: that a program owns.
        warps: of a program; each sums its share of the products over k.
        inner: units whose products are summed at once by all warps.
        groups: batch tiles x heads x directions x layers that one launch serves.
        persistent: whether a launch walks all steps, or one.
    """

    rows: int
    units: int
    warps: int
    inner: int
    groups: int
    persistent: bool = True

    def options(self) -> dict[str, int | bool]:
        """Triton's options for a launch."""
        registers = min(65_536 // (32 * self.warps), 255)
        options = {"num_warps": self.warps, "num_stages": 1, "maxnreg": registers}
        return {**options, "launch_cooperative_grid": self.persistent}

    def padded(self, head_size: int) -> int:
        """Units of a head, to whole chunks."""
        return -(-head_size // self.inner) * self.inner

    def slices(self, head_size: int) -> int:
        """Programs of a group."""
        return -(-head_size // self.units)


@dataclass(frozen=True)
class Processors:
    """What a GPU has.

    Attributes:
        count: of its processors; one holds one program.
        shared: bytes of shared memory that a program may have.
        nvidia: whether it is NVIDIA's, whose memory model the exchange relies on.
    """

    count: int
    shared: int
    nvidia: bool = True


def processors_of(device: torch.device) -> Processors:
    """Of a GPU; of an H100 where there is none and kernels are interpreted."""
    if device.type != "cuda":
        return Processors(132, SHARED["sm_90"])
    found: Any = torch.cuda.get_device_properties(device)
    nvidia = torch.version.hip is None
    return Processors(found.multi_processor_count, found.shared_memory_per_block_optin, nvidia)


def plan(
    cell: Cell,
    direction: Direction,
    kind: str,
    batch: int,
    head_size: int,
    heads: int,
    processors: Processors,
    layers: int = 1,
) -> Plan:
    """The cut that the model finds fastest.

    Args:
        kind: type of the inputs, or for float32 how its products are taken (``limits.TYPES``).
        heads: of all directions.
        layers: that walk in one launch.

    Raises:
        RuntimeError: nothing fits; says why.
    """
    if reason := obstacle(cell, kind, head_size, processors, layers):
        raise RuntimeError(f"no scan over several processors: {reason}")
    fitting = _fitting(cell, direction, kind, head_size, processors, layers)
    sizes = batch, head_size, heads, layers
    return min(fitting, key=lambda p: _cycles(p, cell, direction, kind, *sizes))


def obstacle(
    cell: Cell, kind: str, head_size: int, processors: Processors, layers: int = 1
) -> str | None:
    """Why no spread scan can serve such heads, or None."""
    if not processors.nvidia:
        return "programs exchange states as NVIDIA's memory model allows, and no other's"
    if kind not in GROUPS:
        return f"{kind} products take no tensor core"
    if layers > 1 and (GROUPS[kind] != "half" or head_size % MULTIPLE):
        return f"layers at once are in 16 bits, of a multiple of {MULTIPLE} units"
    largest = LARGEST[cell, GROUPS[kind]] if layers == 1 else LARGEST_STACKED[cell]
    if head_size > largest:
        return f"{head_size} units a head spill registers: at most {largest} in {kind}"
    directions: tuple[Direction, ...] = ("forward", "backward")
    if all(any(_fitting(cell, d, kind, head_size, processors, layers)) for d in directions):
        return None
    stack = f" in {layers} layers at once" if layers > 1 else ""
    return (
        f"{head_size} units a head{stack} do not fit {processors.count} processors of "
        f"{processors.shared:,} bytes"
    )


def _fitting(
    cell: Cell,
    direction: Direction,
    kind: str,
    head_size: int,
    processors: Processors,
    layers: int,
) -> Iterator[Plan]:
    """Plans whose layers fit the processors, each with as many groups as they hold at once."""
    half = GROUPS[kind] == "half"
    bytes_each = 2 if half else 4
    fine = head_size <= 8 * processors.count  # whether programs of 8 units fit
    warps = 16 if (cell, direction, half) == ("gru", "backward", False) else 8  # or it spills
    for rows, units in product(ROWS, UNITS) if half else [(16, 8)]:
        if rows == 32 and cell != "rnn" and (units == 16 or layers > 1):
            continue  # spills on some chips
        if cell == "lstm" and head_size % 16 and (rows == 32 or (units == 16 and fine)):
            continue  # spills on Hopper
        inner = _inner(head_size, 16 * warps, GATHERED // (rows * bytes_each))
        groups = processors.count // -(-head_size // units) // layers * layers
        made = Plan(rows, units, warps, inner, groups)
        shared = rows * inner * bytes_each
        if half:
            padded = made.padded(head_size)
            matrices = 1 if layers == 1 else 2  # U, and W of what another layer feeds
            shared += matrices * GATES[cell] * units * padded * bytes_each
            if layers > 1 and padded > inner:  # chunks of two products lie there at once
                shared += rows * padded * bytes_each
        if groups and shared <= processors.shared:
            yield made


def _inner(head_size: int, least: int, most: int) -> int:
    """The power of two that pads a head least; the largest of those."""
    sizes = [least]
    while sizes[-1] < min(most, head_size):
        sizes.append(2 * sizes[-1])
    return min(reversed(sizes), key=lambda size: -(-head_size // size) * size)


def _cycles(
    made: Plan,
    cell: Cell,
    direction: Direction,
    kind: str,
    batch: int,
    head_size: int,
    heads: int,
    layers: int,
) -> float:
    """Of one step: exchange, cache to processor, products, shared memory (all estimates)."""
    bytes_each = 2 if GROUPS[kind] == "half" else 4
    matrices = 1 if layers == 1 else 2
    weights = matrices * GATES[cell] * made.units * made.padded(head_size)
    read = matrices * made.rows * made.padded(head_size)
    read *= GATES[cell] if direction == "backward" else 1
    products = {"tf32x3": 6, "tf32": 2}.get(kind, 1)
    step = 1300 + read * bytes_each / 40 + made.rows * weights * products / 1300
    step += weights * bytes_each / 128
    groups = -(-batch // made.rows) * heads * layers
    return -(-groups // made.groups) * step
