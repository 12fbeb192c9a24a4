"""How a scan with U in registers is launched, and which it can be."""

import torch
from torch import Tensor

from lm_research.kernels.fused import launch
from lm_research.kernels.walk import Walk

LARGEST = {"rnn": 256, "lstm": 128, "gru": 128}
"""Units of the largest head, at 16 warps: all of U then takes half of an SM's registers."""


def options_of(block: int) -> dict[str, int]:
    """A warp for 8 columns of every gate, at most 16 warps; no registers left for more programs."""
    warps = min(block // 8, 16)
    return {"num_warps": warps, "num_stages": 1, "maxnreg": min(65_536 // (32 * warps), 255)}


def serves(cell: str, dtype: torch.dtype, head_size: int, walk: Walk) -> str | None:
    """Why the scan cannot be taken with U in registers, or None if it can.

    Args:
        cell: ``rnn``, ``lstm`` or ``gru``.
        dtype: of the gates.
    """
    if dtype not in (torch.float16, torch.bfloat16):
        return f"U is held in registers in float16 and bfloat16, not in {dtype}"
    if head_size > LARGEST[cell]:
        return f"registers hold heads of {LARGEST[cell]} units, not of {head_size}"
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
