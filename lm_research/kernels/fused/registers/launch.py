"""How a scan with U in registers is launched, and which it can be."""

import torch
from torch import Tensor

from lm_research.kernels.fused import launch
from lm_research.kernels.walk import Walk

KINDS = {torch.float16: "fp16", torch.bfloat16: "bf16"}
LARGEST = {"rnn": 128, "lstm": 64, "gru": 128}
"""Units of the largest head of which no register is spilled, on sm_80 to sm_100 (Triton 3.9.0)."""
LARGER = {
    ("rnn", "fp16", "sm_80"): 256,
    ("rnn", "bf16", "sm_80"): 256,
    ("lstm", "bf16", "sm_80"): 128,
    ("lstm", "bf16", "sm_90"): 128,
}
"""Where it is larger. Elsewhere these sizes spill 2 to 13 registers, but run all the same."""
ODD = {"rnn": 128, "lstm": 64, "gru": 64}
"""The same if hidden or head size is no multiple of 16."""


def options_of(block: int) -> dict[str, int]:
    """A warp for 8 columns of every gate, at most 16 warps; no registers left for more programs."""
    warps = min(block // 8, 16)
    return {"num_warps": warps, "num_stages": 1, "maxnreg": min(65_536 // (32 * warps), 255)}


def largest_head(cell: str, kind: str, target: str, aligned: bool = True) -> int:
    """Units of the largest head, as ``limits.largest_head`` has it; kinds are fp16 and bf16."""
    if not aligned:
        return ODD[cell]
    return LARGER.get((cell, kind, target), LARGEST[cell])


def serves(
    cell: str, dtype: torch.dtype, head_size: int, walk: Walk, target: str, aligned: bool = True
) -> str | None:
    """Why the scan cannot be taken with U in registers, or None if it can.

    Args:
        cell: ``rnn``, ``lstm`` or ``gru``.
        dtype: of the gates.
        head_size: D.
        walk: what else is asked for.
        target: ``sm_80``, ``sm_90`` or ``sm_100``.
        aligned: whether hidden and head size are multiples of 16.
    """
    if not target.startswith("sm_"):
        return "U is held in registers on NVIDIA's chips alone"
    if dtype not in KINDS:
        return f"U is held in registers in float16 and bfloat16, not in {dtype}"
    largest = largest_head(cell, KINDS[dtype], target, aligned)
    if head_size > largest:
        return f"registers hold heads of {largest} units on {target}, not of {head_size}"
    if walk.dropout_BH is not None:
        return "state dropout is not in the kernels with U in registers"
    if walk.zoneout_h is not None or walk.zoneout_c is not None:
        return "zoneout is not in the kernels with U in registers"
    if walk.recompute:
        return "the kernels with U in registers cannot compute gates anew"
    return None


class Launch(launch.Launch):
    """As in plain Triton, with fewer masks and constants, and warps of its own."""

    def __init__(self, gates_BTG: Tensor, weight_GD: Tensor, gates: int, walk: Walk) -> None:
        super().__init__(gates_BTG, weight_GD, gates, walk)
        block = launch.block_of(self.head_size)
        self.constants = {"BLOCK_D": block}
        self.options = options_of(block)

    def masks(self) -> tuple[Tensor | None, ...]:
        """Lengths and resets."""
        return self.walk.lengths_B, self.walk.reset_BT
