"""How a scan is launched: its grid, its tiles, its warps."""

import os
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.limits import least_block
from lm_research.kernels.obstacles import KINDS
from lm_research.kernels.walk import Walk

BLOCK_B = 16
"""Rows of a batch tile: the least that a tensor core takes, since latency is what counts."""
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def block_of(head_size: int, least: int = 16) -> int:
    """Columns of a tile: a power of two, and at least the 16 that a product needs."""
    return max(least, triton.next_power_of_2(head_size))


def options_of(block: int, amd: bool) -> dict[str, int]:
    """Warps, each with 8 columns of a product (the least of a tensor core), up to 16; registers.

    Unless told that a thread may have all there are, NVIDIA's assembler spills some to make room
    for further programs, which a scan never has.
    """
    warps = min(max(4, block // 8), 16)
    options = {"num_warps": warps, "num_stages": 1}
    return options if amd else {**options, "maxnreg": min(65_536 // (32 * warps), 255)}


def turned(weight_GD: Tensor) -> Tensor:
    """Each head's and gate's square matrix transposed: rows of it are then read, not columns."""
    size = weight_GD.shape[1]
    return weight_GD.view(-1, size, size).mT.contiguous()


class Launch:
    """One scan over ``gates_BTG`` (B, T, R x gates x H) with the weight (R x gates x H, D).

    Args:
        cell: whose scan it is, if its smallest tile is not that of a product.
    """

    def __init__(
        self, gates_BTG: Tensor, weight_GD: Tensor, gates: int, walk: Walk, cell: str = ""
    ) -> None:
        self.walk = walk
        self.batch, self.steps, width = gates_BTG.shape
        self.hidden, self.head_size = width // gates // walk.directions, weight_GD.shape[1]
        if BLOCK_B * self.steps * max(gates, 4) * walk.directions * self.hidden >= 2**31:
            raise RuntimeError(
                f"T={self.steps} steps of H={self.hidden} units are too many for one fused scan: "
                "cut the sequence and hand the state on"
            )
        double = gates_BTG.dtype == torch.float64
        self.accumulator = torch.float64 if double else torch.float32
        least = least_block(cell, KINDS.get(gates_BTG.dtype, walk.precision), walk.masks)
        block, amd = block_of(self.head_size, least), torch.version.hip is not None
        self.options = options_of(block, amd or INTERPRETED)
        self.constants: dict[str, Any] = {
            "SHARE_H": walk.share_h,
            "BLOCK_B": BLOCK_B,
            "BLOCK_D": block,
            "ACC": tl.float64 if double else tl.float32,
            "PRECISION": walk.precision,
            "UPCAST": INTERPRETED and gates_BTG.dtype == torch.bfloat16,
        }

    def masks(self) -> tuple[Tensor | None, ...]:
        """What every scan of the walk reads: lengths, resets, dropout, zoneout of h."""
        walk = self.walk
        return walk.lengths_B, walk.reset_BT, walk.dropout_BH, walk.mask_h

    def __call__(self, kernel: Any, inputs: tuple, outputs: tuple, **constants: Any) -> None:
        """Run ``kernel`` on ``inputs``, the walk's masks, ``outputs``, and sizes; None is a gap."""
        given = [x if x is None else x.contiguous() for x in (*inputs, *self.masks())]
        if not self.batch:
            return
        programs = self.walk.directions * self.hidden // self.head_size
        grid = (triton.cdiv(self.batch, BLOCK_B), programs)
        with torch.cuda.device_of(given[0]):  # Triton launches on the current device
            kernel[grid](
                *given,
                *outputs,
                self.batch,
                self.steps,
                self.hidden,
                self.head_size,
                int(self.walk.reverse),
                **constants,
                **self.constants,
                **self.options,
            )
