"""Which part of a spread scan a program has, and how layers follow each other.

A group is a batch tile of a head in one layer; its programs hold slices of the head's units. Layers
of one launch are a wavefront: at any time each walks a step further than the one that it feeds.

What a layer reads of the one before it (forward the one below, backward the one above) is no
exchange of two slots but the whole result, which is stored after a step's arrival and so is there
for whoever has seen the arrival of the step after (:func:`followed`). For the last step there is
one arrival more (:func:`leave`).

Shapes: B batch, T time, H hidden size of a direction, D head size, R directions.
"""

import triton
import triton.language as tl

from lm_research.kernels.fused.spread.exchange import arrive, wait

LINE = tl.constexpr(32)
"""int32s between two counters: groups do not share a line of the cache."""


@triton.jit
def part_of(
    B,
    H,
    D,
    R,
    group,
    BACKWARD: tl.constexpr,
    BLOCK_B: tl.constexpr,
    UNITS: tl.constexpr,
    LAYERS: tl.constexpr,
):
    """(layer, head, its direction, the tile, rows within it, rows of the batch, own units)."""
    order = group % LAYERS
    group //= LAYERS
    heads = R * H // D  # of all directions
    tile = group // heads
    head = group % heads
    local = tl.arange(0, BLOCK_B)
    own = tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    layer = LAYERS - 1 - order if BACKWARD else order
    return layer, head, head * D // H, tile, local, tile * BLOCK_B + local, own


@triton.jit
def followed(counter_ptr, step, behind, alive):
    """Until the layer before this one has stored ``step``; returns whether it came.

    Args:
        behind: whether there is one.
    """
    target = (step + 2) * tl.num_programs(0)
    return wait(counter_ptr - LINE * behind, target * behind, alive)


@triton.jit
def leave(counter_ptr, T, alive):
    """After the last step: what it stored is there, for a layer that follows."""
    alive = wait(counter_ptr, T * tl.num_programs(0), alive)
    arrive(counter_ptr)
    return alive
