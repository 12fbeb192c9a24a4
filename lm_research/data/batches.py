"""Batches straight from the memory map.

Shapes: B lanes, T steps (window), N tokens of the stream.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lm_research.data.document import DataError
from lm_research.data.token_store import TokenSplit


class Batch(NamedTuple):
    """One training window: predict ``targets_BT`` (ids one step later) from ``ids_BT``, int64.

    ``fresh`` says that the lanes jumped: a carried state must start anew. ``tokens_seen`` are those
    of all processes so far, this batch's among them, where batches differ in size; 0: they do not.
    ``rate`` is the share of the learning rate that the update on it takes.
    """

    ids_BT: Tensor
    targets_BT: Tensor
    fresh: bool
    tokens_seen: int = 0
    rate: float = 1.0


class Batches(ABC):
    """Batches that are a function of their number: the whole state is one integer.

    Args:
        batch_size: B over all processes.
        steps: number of batches to yield.
        world_size: processes that share the lanes.

    Raises:
        DataError: the lanes cannot be dealt out evenly.
    """

    def __init__(self, batch_size: int, steps: int, world_size: int) -> None:
        if batch_size % world_size:
            raise DataError(
                f"budget.batch_size={batch_size} over {world_size} processes: every process takes "
                f"as many lanes as the others, so it has to be a multiple of {world_size}"
            )
        self.steps, self.step, self.resumed = steps, 0, False

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        # Who knows the length need not ask for the end, so an iteration begins by starting anew.
        if self.step >= self.steps and not self.resumed:
            self.step = 0
        self.resumed = False
        while self.step < self.steps:
            step = self.step
            self.step += 1
            yield self.batch(step)

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """Batch number ``step`` (from 0)."""

    def state_dict(self) -> dict[str, Any]:
        """The position: the number of batches handed out."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after ``state["step"]`` batches."""
        self.step, self.resumed = int(state["step"]), True


class StreamBatches(Batches):
    """Windows of one stream; where they begin, subclasses say.

    A stream shorter than the window shortens the window.

    Args:
        split: the training split.
        batch_size: B over all processes.
        window: T.
        steps: number of batches to yield.
        seed: of where windows begin.
        rank, world_size: this process takes lanes ``rank::world_size``.
        overfit: if positive, repeat the first so many batches for ever.
        overlap: tokens of a window that the window before it in its lane has, too.

    Raises:
        DataError: the split is empty or too short, or the lanes cannot be dealt out evenly.
    """

    def __init__(
        self,
        split: TokenSplit,
        batch_size: int,
        window: int,
        steps: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        overfit: int = 0,
        overlap: int = 0,
    ) -> None:
        if len(split.ids_N) < 2:
            raise DataError(f"the {split.name} split has no document: there is nothing to train on")
        super().__init__(batch_size, steps, world_size)
        self.ids_N = split.ids_N
        # The stream closes to a circle; its last separator doubles as the first.
        self.length = len(self.ids_N) - 1
        self.window = min(window, self.length)
        if overlap >= self.window:
            raise DataError(
                f"task.unscored={overlap} leaves nothing of a window of {self.window} tokens to "
                f"train on: fewer, or a larger budget.window (the split has {self.length} tokens)"
            )
        self.batch_size, self.own = batch_size, slice(rank, None, world_size)
        self.seed, self.overfit = seed, overfit
        self.stride = self.window - overlap

    def batch(self, step: int) -> Batch:
        """Batch number ``step`` (from 0)."""
        if self.overfit:
            step %= self.overfit
        starts_B, fresh = self.starts(step)
        positions = (starts_B[self.own, None] + np.arange(self.size(step) + 1)) % self.length
        ids = torch.from_numpy(self.ids_N[positions].astype(np.int64))
        return Batch(ids[:, :-1], ids[:, 1:], fresh=fresh or bool(self.overfit))

    def size(self, step: int) -> int:
        """T of batch number ``step``."""
        return self.window

    @abstractmethod
    def starts(self, step: int) -> tuple[np.ndarray, bool]:
        """Where the windows of all processes begin, int64 [B], and whether they follow no other."""


class TrainingBatches(StreamBatches):
    """A stream cut into B lanes that are read side by side, window by window.

    Lane b's window follows its last one, so a state may be carried (truncated back-propagation
    through time); or it begins ``overlap`` tokens before that one's end, and then every window is
    fresh. A pass over the stream starts at an offset drawn from (seed, pass), so that lanes and
    windows are cut elsewhere; or, without ``moves``, at its first token, and all passes are alike.
    Everything is a function of the step: the loader's whole state is one integer, and continuing
    from it is exact. A stream shorter than B windows is read by lanes that overlap.
    """

    def __init__(self, *args: Any, moves: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        self.moves = moves
        self.lane_length = max(self.length // self.batch_size, self.window)
        self.lanes = np.arange(self.batch_size) * self.lane_length
        self.windows_per_pass = max(self.lane_length // self.stride, 1)
        self.follows = self.stride == self.window

    def starts(self, step: int) -> tuple[np.ndarray, bool]:
        """One window after the other in every lane; a pass begins anew."""
        turn, index = divmod(step, self.windows_per_pass)
        fresh = index == 0 or not self.follows
        return self.lanes + self.offset(turn) + index * self.stride, fresh

    def offset(self, turn: int) -> int:
        """Where pass number ``turn`` begins."""
        if not self.moves:
            return 0
        return int(np.random.default_rng((self.seed, turn)).integers(self.length))


class RandomBatches(StreamBatches):
    """Windows that begin anywhere in the stream, each drawn by itself, with replacement.

    Those of batch number n are a function of (seed, n), so that continuing from a step is exact.
    """

    def starts(self, step: int) -> tuple[np.ndarray, bool]:
        """Anywhere; none follows another."""
        rng = np.random.default_rng((self.seed, step))
        return rng.integers(self.length - self.window + 1, size=self.batch_size), True


class EvaluationWindow(NamedTuple):
    """Windows of one split that are read side by side; targets are scored in the stream's order."""

    ids_BT: Tensor
    targets_BT: Tensor
    start: int
    """position in the stream of the first scored row of ``ids_BT``"""
    scored: int
    """the last so many steps of each window are scored"""


class EvaluationWindows:
    """A whole split as one stream, in windows of ``window`` tokens (the last may be shorter).

    B is 1, every step is scored, and whoever reads them carries the state.
    """

    def __init__(self, split: TokenSplit, window: int) -> None:
        self.split = split
        self.window = window
        self.targets = len(split.ids_N) - 1

    def __len__(self) -> int:
        return -(-self.targets // self.window)

    def __iter__(self) -> Iterator[EvaluationWindow]:
        for start in range(0, self.targets, self.window):
            stop = min(start + self.window, self.targets)
            ids = torch.from_numpy(self.split.ids_N[start : stop + 1].astype(np.int64))
            yield EvaluationWindow(ids[None, :-1], ids[None, 1:], start, stop - start)


class StridedWindows:
    """A whole split in windows that overlap, each read from the initial state.

    A window begins ``stride`` tokens after the one before, and its last ``stride`` targets are
    scored; all of the first one's are. So every target is scored once, after at least
    ``window - stride`` tokens of context where there are as many. The last window ends with the
    split, and a split shorter than a window is one window.

    Args:
        stride: 1 to ``window``.
        rows: windows that are read side by side at most.
    """

    def __init__(self, split: TokenSplit, window: int, stride: int, rows: int = 16) -> None:
        if not 1 <= stride <= window:
            raise ValueError(f"stride is {stride}; it must lie within [1, {window}], the window")
        self.split, self.stride, self.rows = split, stride, rows
        self.targets = len(split.ids_N) - 1
        self.window = min(window, self.targets)
        self.rest = self.targets - self.window
        self.whole = self.rest // stride
        """windows after the first that score ``stride`` targets"""

    def __len__(self) -> int:
        return 1 + -(-self.whole // self.rows) + bool(self.rest % self.stride)

    def __iter__(self) -> Iterator[EvaluationWindow]:
        yield self._read([0], self.window)
        for first in range(0, self.whole, self.rows):
            last = min(first + self.rows, self.whole)
            starts = [(number + 1) * self.stride for number in range(first, last)]
            yield self._read(starts, self.stride)
        if left := self.rest % self.stride:
            yield self._read([self.rest], left)

    def _read(self, starts: list[int], scored: int) -> EvaluationWindow:
        positions_BS = np.array(starts)[:, None] + np.arange(self.window + 1)
        ids = torch.from_numpy(self.split.ids_N[positions_BS].astype(np.int64))
        start = starts[0] + self.window - scored
        return EvaluationWindow(ids[:, :-1], ids[:, 1:], start, scored)
