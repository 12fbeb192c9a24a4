"""How a polled scan is launched: its grid, its exchange, and what if a program waits in vain."""

import functools
from typing import Any

import torch
import triton
from torch import Tensor

from lm_research.kernels.fused.polled.exchange import ABSENT, SLOTS
from lm_research.kernels.fused.polled.plan import UNITS, Plan, Scan, plan
from lm_research.kernels.fused.spread.launch import all_at_once, failure, raise_failure
from lm_research.kernels.fused.spread.plan import GATES, Cell, Direction, processors_of
from lm_research.kernels.obstacles import KINDS
from lm_research.kernels.walk import Walk


class Launch:
    """A scan of ``steps_BT`` (B, T, any) with the recurrent weight (R x gates x H, D).

    One cooperative launch serves as many groups as the processors can hold at once, further ones
    the rest. Who waits in vain goes on with NaNs, and the next scan on the device, its backward
    scan for one, raises RuntimeError (``spread.launch.raise_failure``).
    """

    def __init__(
        self,
        cell: Cell,
        direction: Direction,
        steps_BT: Tensor,
        weight_GD: Tensor,
        walk: Walk,
        given: Plan | None,
    ) -> None:
        self.walk, self.device, self.dtype = walk, steps_BT.device, steps_BT.dtype
        self.batch, self.steps = steps_BT.shape[:2]
        self.head_size = weight_GD.shape[1]
        self.hidden = weight_GD.shape[0] // GATES[cell] // walk.directions
        self.heads = walk.directions * self.hidden // self.head_size
        aligned = self.hidden % 16 == 0 and self.head_size % 16 == 0
        kind = KINDS.get(self.dtype, walk.precision)
        scan = Scan(cell, direction, kind, self.head_size, aligned)
        self.plan = given or planned(scan, self.batch, self.heads, self.device)
        self.words = (
            scan.exchanged,
            self.plan.padded(self.head_size) // UNITS,
            UNITS * self.plan.rows,
        )
        self.groups = triton.cdiv(self.batch, self.plan.rows) * self.heads
        in_ring = SLOTS.value * self.groups * self.words[0] * self.words[1] * self.words[2]
        in_tile = self.plan.rows * self.steps * 4 * walk.directions * self.hidden
        if max(in_ring, in_tile) >= 2**31:
            raise RuntimeError(
                f"B={self.batch} rows of T={self.steps} steps of {self.hidden} units are too many "
                "for one fused scan: cut the sequence and hand the state on"
            )

    def __call__(self, kernel: Any, inputs: tuple, outputs: tuple, **constants: Any) -> None:
        """Run ``kernel`` on ``inputs``, lengths, resets, ``outputs``; None is a gap."""
        if not self.batch:
            return
        raise_failure(self.device)
        walk, plan = self.walk, self.plan
        masks = walk.lengths_B, walk.reset_BT
        given = [x if x is None else x.contiguous() for x in (*inputs, *masks)]
        scratch = self._exchange(), failure(self.device)
        numbers = self.batch, self.steps, self.hidden, self.head_size, walk.directions
        for group in range(0, self.groups, plan.groups):
            grid = plan.slices(self.head_size), min(plan.groups, self.groups - group)
            with torch.cuda.device_of(given[0]), all_at_once():  # Triton launches on that device
                kernel[grid](
                    *given,
                    *outputs,
                    *scratch,
                    *numbers,
                    group,
                    int(walk.reverse),
                    **constants,
                    X3=self.dtype == torch.float32 and walk.precision == "tf32x3",
                    ROWS=plan.rows,
                    STEPS=plan.steps(self.head_size),
                    **plan.options(),
                )

    def _exchange(self) -> Tensor:
        """All words absent, but those zero that are nobody's: a head's units up to whole warps."""
        shape = SLOTS.value, self.groups, *self.words
        bits = torch.int16 if self.dtype.itemsize == 2 else torch.int32
        words = torch.full(shape, ABSENT, dtype=bits, device=self.device)
        words[:, :, :, self.plan.slices(self.head_size) :] = 0
        return words.view(self.dtype)


@functools.cache
def planned(scan: Scan, batch: int, heads: int, device: torch.device) -> Plan:
    """:func:`plan` for the call."""
    return plan(scan, batch, heads, processors_of(device))
