"""What every scan on a CPU does beside its cell's arithmetic.

Layout, R directions beside each other: gates (B, T, R, G H), outputs (B, T, R, H), states (B, R,
H), each as one axis for compiled code.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lm_research.kernels.fused.cpu.compiled import compiled, flat
from lm_research.kernels.fused.cpu.pairs import PAIRS
from lm_research.kernels.fused.cpu.product import number, packed, packed_pairs, put
from lm_research.kernels.walk import Walk


@dataclass(frozen=True)
class Direction:
    """One direction of a walk, in what compiled code takes.

    Attributes:
        number: of the direction, from 0.
        count: R.
        steps: T.
        hidden: H.
        reverse: whether it is against time.
        lengths_B: int64; T where the walk has no lengths.
        reset_BT: one axis of B T bytes; none where there are no resets.
    """

    number: int
    count: int
    steps: int
    hidden: int
    reverse: bool
    lengths_B: np.ndarray
    reset_BT: np.ndarray

    @classmethod
    def all(cls, walk: Walk, batch: int, steps: int, hidden: int) -> list["Direction"]:
        """Those of a walk over (batch, steps) with states of H each."""
        return [
            cls(
                number,
                walk.directions,
                steps,
                hidden,
                part.reverse,
                _lengths(part.lengths_B, batch, steps),
                _resets(part.reset_BT),
            )
            for number, part in enumerate(walk.parts())
        ]

    def products(self, rows: int, weight_GD: Tensor) -> int:
        """Of two numbers that all steps of so many rows take: those with the recurrent weight."""
        return rows * self.steps * weight_GD.numel() // self.count

    def place(self) -> tuple[Any, ...]:
        """What compiled code is told of it, beside lengths and resets."""
        return self.steps, self.hidden, self.count, self.number, self.reverse


def _lengths(lengths_B: Tensor | None, batch: int, steps: int) -> np.ndarray:
    if lengths_B is None:
        return np.full(batch, steps, np.int64)
    return lengths_B.to(torch.int64).contiguous().numpy()


def _resets(reset_BT: Tensor | None) -> np.ndarray:
    if reset_BT is None:
        return np.empty(0, np.uint8)
    return reset_BT.contiguous().to(torch.uint8).reshape(-1).numpy()


def weights(weight_GD: Tensor, directions: int, turned: bool = False) -> list[np.ndarray]:
    """Packed, one a direction: U for the forward scan, U's transpose for the backward scan."""
    if weight_GD.dtype == torch.bfloat16 and not PAIRS:
        weight_GD = weight_GD.float()
    pack = packed_pairs if weight_GD.dtype == torch.bfloat16 else packed
    found = []
    for part in weight_GD.chunk(directions):
        rows, size = part.shape
        shape = (size, rows, 1, size) if turned else (rows, size, size, 1)
        found.append(pack(flat(part), *shape))
    return found


def parts(tensor: Tensor, directions: int) -> list[np.ndarray]:
    """A bias (R H), by direction."""
    return [flat(part) for part in tensor.chunk(directions)]


def check_saved(saved: Tensor, expected: tuple[int, ...]) -> None:
    """``saved`` is what a backward scan reads, as compiled code looks at no size.

    Raises:
        RuntimeError: it is not, as when the forward scan was not told to save it.
    """
    if tuple(saved.shape) != expected:
        raise RuntimeError(
            f"Expected what the forward scan saved for the backward scan of size {expected}, got "
            f"{list(saved.shape)}: run the forward scan with save=True"
        )


@compiled
def taken(states, first, rows, hidden, count, way):
    """Some rows' states in one direction, (rows, H), as float32."""
    own = np.empty(rows * hidden, np.float32)
    for row in range(rows):
        start = ((first + row) * count + way) * hidden
        for unit in range(hidden):
            own[row * hidden + unit] = number(states, start + unit)
    return own


@compiled
def given(own, width, states, first, rows, hidden, count, way):
    """The reverse of :func:`taken`, from rows that are ``width`` apart."""
    for row in range(rows):
        start = ((first + row) * count + way) * hidden
        for unit in range(hidden):
            put(states, start + unit, number(own, row * width + unit))


@compiled
def widened(own, rows, hidden, width):
    """Rows of H as rows of a product's width, zeros behind."""
    wide = np.zeros(rows * width, np.float32)
    for row in range(rows):
        wide[row * width : row * width + hidden] = own[row * hidden : (row + 1) * hidden]
    return wide


@compiled
def cleared(own, width, reset, first, rows, steps, t, hidden):
    """States of rows in which a document begins at step t become zero."""
    if reset.size:
        for row in range(rows):
            if reset[(first + row) * steps + t]:
                own[row * width : row * width + hidden] = 0
