"""Batches of a mixture that is sampled while training.

Shapes: B lanes, T steps (window), N tokens of a stream.
"""

from collections.abc import Mapping

import numpy as np
import torch

from lm_research.data.batches import Batch, Batches
from lm_research.data.mixture_plan import SamplingPlan


class MixtureBatches(Batches):
    """Every lane reads one source for a run of windows, as :class:`SamplingPlan` says.

    All lanes begin a run together, so that ``Batch.fresh`` speaks for all of them, as it does in a
    :class:`~lm_research.data.batches.TrainingBatches`: no state crosses from one source, or one
    place, to another. Batch number ``step`` is a function of (seed, step) and of B, T and the
    streams; processes and workers change nothing but who reads which lanes.

    Args:
        streams: name -> ids_N of each source's training split; the last id doubles as the first.
        plan: made for these streams, B, T and steps.
        rank, world_size: this process takes lanes ``rank::world_size``.
        overfit: if positive, repeat the first so many batches for ever.
    """

    def __init__(
        self,
        streams: Mapping[str, np.ndarray],
        plan: SamplingPlan,
        rank: int = 0,
        world_size: int = 1,
        overfit: int = 0,
    ) -> None:
        super().__init__(plan.batch_size, plan.steps, world_size)
        self.streams = [streams[name] for name in plan.members]
        self.plan, self.overfit = plan, overfit
        self.mine = np.arange(plan.batch_size)[rank::world_size]
        self.offsets_T = np.arange(plan.window + 1)
        self.run: tuple[int, np.ndarray, np.ndarray] | None = None

    def batch(self, step: int) -> Batch:
        """Batch number ``step`` (from 0)."""
        if self.overfit:
            step %= self.overfit
        number, index = divmod(step, self.plan.run_windows)
        source_B, start_B = self._lanes(number)
        ids_BT = np.empty((len(self.mine), self.plan.window + 1), np.int64)
        for member in np.unique(source_B):
            own_B = source_B == member
            positions = start_B[own_B, None] + index * self.plan.window + self.offsets_T
            ids_N = self.streams[member]
            ids_BT[own_B] = ids_N[positions % (len(ids_N) - 1)]
        ids = torch.from_numpy(ids_BT)
        return Batch(ids[:, :-1], ids[:, 1:], fresh=index == 0 or bool(self.overfit))

    def _lanes(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """This process's lanes of a run, kept while it lasts."""
        if self.run is None or self.run[0] != number:
            source_B, start_B = self.plan.lanes(number)
            self.run = number, source_B[self.mine], start_B[self.mine]
        return self.run[1:]
