"""How a spread scan is launched: its grid, its exchange, and what if one waits in vain."""

import dataclasses
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from lm_research.kernels.fused.launch import INTERPRETED
from lm_research.kernels.fused.spread.layers import LINE
from lm_research.kernels.fused.spread.plan import GATES, Cell, Direction, Plan, plan, processors_of
from lm_research.kernels.obstacles import KINDS
from lm_research.kernels.walk import Walk

NUMBERS = ["B", "T", "R", "group", "start", "stop"]
"""Kernel arguments that no kernel is compiled anew for."""


@dataclasses.dataclass(frozen=True)
class Stack:
    """What layers that walk in one launch have beside their scans; a layer alone has nothing.

    Their tensors (states, weights, y, what is saved) then begin with a dimension of L layers, each
    of one head of H units in one direction. Gates (B, T, G), and in the backward scan y's gradient
    (B, T, H), are those of the bottom and of the top.

    Attributes:
        weight: W of all layers but the bottom, (L - 1, G, H).
        bias: of their gates, (L - 1, G).
        feed: (L - 1, B, T, H), what a layer's y is multiplied with for the layer above: dropout.
        fed: room for that product.
    """

    weight: Tensor | None = None
    bias: Tensor | None = None
    feed: Tensor | None = None
    fed: Tensor | None = None


ALONE = Stack()


@functools.cache
def failure(device: torch.device) -> Tensor:
    """int32 (1,), 1 once a scan on ``device`` has waited in vain.

    Pinned, so that kernels write it and the host reads it without waiting for the device.
    """
    return torch.zeros(1, dtype=torch.int32, pin_memory=device.type == "cuda")


def raise_failure(device: torch.device) -> None:
    """Raises RuntimeError once if an earlier scan on ``device`` has waited in vain."""
    flag = failure(device)
    if flag.item():
        flag.zero_()
        raise RuntimeError(
            "an earlier fused scan over several processors waited in vain for its other programs, "
            "and its results are NaN: its programs were not all run at once (a debugger, a shared "
            "GPU?); use backend='reference'"
        )


@contextmanager
def all_at_once() -> Iterator[None]:
    """A launch whose programs wait for each other: in words, if there is no room for all."""
    try:
        yield
    except RuntimeError as error:
        if "cooperative" not in str(error):
            raise
        raise RuntimeError(
            "the GPU has no room for all programs of a fused scan over several processors at "
            "once: it is shared or partitioned; use backend='reference'"
        ) from error


@functools.cache
def planned(
    device: torch.device,
    cell: Cell,
    direction: Direction,
    kind: str,
    batch: int,
    head_size: int,
    heads: int,
    layers: int,
) -> Plan:
    """:func:`plan` for the call; in the interpreter one step a launch, and few programs."""
    if INTERPRETED:  # no limit of a GPU's holds there
        return Plan(rows=16, units=64, warps=2, inner=128, groups=layers, persistent=False)
    return plan(cell, direction, kind, batch, head_size, heads, processors_of(device), layers)


class Launch:
    """A scan of ``steps_BT`` (B, T, any) with the recurrent weight (R x gates x H, D), or a
    wavefront of L scans with (L, gates x H, H).

    A persistent scan is one cooperative launch for as many groups as the processors can hold at
    once, and further ones for the rest. Otherwise each step is a launch, which needs no waiting:
    so it is in the interpreter, whose programs run one after another.

    A program that waits in vain (``exchange.LIMIT``) goes on without waiting and makes all it
    writes from there on NaN. The host does not wait to hear of it: the next scan on the device,
    its backward scan for one, raises RuntimeError.
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
        self.stacked = weight_GD.shape[:-2]
        self.layers = self.stacked.numel()
        self.head_size = weight_GD.shape[-1]
        self.gates = GATES[cell]
        self.width = weight_GD.shape[-2] // self.gates  # R x H
        self.hidden = self.width // walk.directions
        self.heads = self.width // self.head_size  # of all directions
        self.double = self.dtype == torch.float64
        self.accumulator = torch.float64 if self.double else torch.float32
        kind = KINDS.get(self.dtype, walk.precision)
        sizes = self.batch, self.head_size, self.heads, self.layers
        self.plan = given or planned(self.device, cell, direction, kind, *sizes)
        most = 4 * self.heads * self.plan.padded(self.head_size)
        exchanged = 2 * self.layers * (self.batch + self.plan.rows)
        if max(self.plan.rows * self.steps, exchanged) * most >= 2**31:
            raise RuntimeError(
                f"B={self.batch} rows of T={self.steps} steps of {self.width} units are too many "
                "for one fused scan: cut the sequence and hand the state on"
            )

    def empty(self, gates: int = 1, dtype: torch.dtype | None = None) -> Tensor:
        """(B, T, gates x R x H) for what the scan makes, of each layer if there are several."""
        shape = (*self.stacked, self.batch, self.steps, gates * self.width)
        return torch.empty(shape, dtype=dtype or self.dtype, device=self.device)

    def __call__(
        self,
        kernel: Any,
        inputs: tuple,
        outputs: tuple,
        h0_BH: Tensor | None = None,
        **constants: Any,
    ) -> None:
        """Run ``kernel`` on ``inputs``, the walk's masks, ``outputs``; a forward scan gives h0."""
        if not self.batch:
            return
        raise_failure(self.device)
        walk, plan = self.walk, self.plan
        masks = (walk.lengths_B, walk.reset_BT, walk.dropout_BH, walk.mask_h)
        given = [x if x is None else x.contiguous() for x in (*inputs, *masks)]
        groups = triton.cdiv(self.batch, plan.rows) * self.heads * self.layers
        counters = torch.zeros(groups, LINE.value, dtype=torch.int32, device=self.device)
        scratch = self._scratch(h0_BH)
        numbers = (self.batch, self.steps, self.hidden, self.head_size, walk.directions)
        for group in range(0, groups, plan.groups):
            grid = (plan.slices(self.head_size), min(plan.groups, groups - group))
            for start, stop in self._spans(h0_BH is None):
                self._run(
                    kernel[grid],
                    (*given, *outputs, *scratch, counters, failure(self.device)),
                    (*numbers, group, start, stop),
                    constants,
                )

    def _scratch(self, h0_BH: Tensor | None) -> tuple[Tensor, Tensor]:
        """States between launches; two slots of what is exchanged, the second filled with h0.

        The exchange is padded with zeros, rows to whole tiles and heads to whole chunks, so that
        nobody needs a mask to read it.
        """
        shape = (0,) if self.plan.persistent else (2, self.layers * self.batch, self.width)
        carried = torch.empty(shape, dtype=self.accumulator, device=self.device)
        rows = triton.cdiv(self.batch, self.plan.rows) * self.plan.rows
        gates = 1 if h0_BH is not None else self.gates
        exchange = torch.zeros(
            (2, self.layers, rows, gates, self.heads, self.plan.padded(self.head_size)),
            dtype=self.dtype,
            device=self.device,
        )
        if h0_BH is not None:
            dropout_BH = self.walk.dropout_BH
            h0_BH = h0_BH if dropout_BH is None else h0_BH * dropout_BH
            h0 = h0_BH.view(self.layers, self.batch, self.heads, self.head_size)
            exchange[1, :, : self.batch, 0, :, : self.head_size] = h0
        return carried, exchange

    def _spans(self, backward: bool) -> Iterator[tuple[int, int]]:
        """(start, stop) of each launch, counted in the steps of the layer that walks first.

        The backward scan ends with a product, after all steps.
        """
        if self.plan.persistent or not self.steps:
            yield 0, self.steps
            return
        last = self.steps + self.layers - 1 + backward
        yield from ((step, step + 1) for step in range(last))

    def _run(self, kernel: Any, tensors: tuple, numbers: tuple, constants: dict[str, Any]) -> None:
        walk, plan = self.walk, self.plan
        with torch.cuda.device_of(tensors[0]), all_at_once():  # Triton launches on that device
            kernel(
                *tensors,
                *numbers,
                **constants,
                REVERSE=walk.reverse,
                SHARE_H=walk.share_h,
                LAYERS=self.layers,
                SYNC=plan.persistent,
                BLOCK_B=plan.rows,
                UNITS=plan.units,
                W=plan.warps,
                K=plan.inner // plan.warps,
                CHUNKS=triton.cdiv(self.head_size, plan.inner),
                ACC=tl.float64 if self.double else tl.float32,
                PRECISION=walk.precision,
                UPCAST=INTERPRETED and self.dtype == torch.bfloat16,
                **plan.options(),
            )
