"""Adam's steps on rows without a gradient, put off until somebody reads the row.

Dense Adam moves every row at every step: moments fade, and while they do the row drifts on. A row
that nobody reads may as well catch up later, in one go while it is in the cache.
"""

import numpy as np
from torch import Tensor

from lm_research.tasks.row_steps import AdamSettings, AdamStep, AdamTables, advance, pending


class DeferredRows:
    """Which rows of a table are behind, and what the steps were that they have missed.

    Nothing of it is in a checkpoint: all rows are up to date there. Bits do not depend on when rows
    catch up, so that a run that is cut ends as it would have.

    Args:
        tables: weights and moments, V x D.
        now: steps done so far, all rows being up to date.
        settings: of all steps to come.
        decays: whether rows move that have never had a gradient (weight decay).
    """

    def __init__(self, tables: AdamTables, now: int, settings: AdamSettings, decays: bool) -> None:
        self.tables, self.settings, self.decays = tables, settings, decays
        moved_V = (tables.m != 0).any(1) | (tables.v != 0).any(1)
        self.last_V = np.where(moved_V.numpy() | decays, now, -1)
        self.start, self.count = now, 0
        self.steps_3S = np.empty((3, 64), tables.w.numpy().dtype)

    def catch_up(self, ids_M: Tensor | None) -> None:
        """Bring rows up to date that are about to be read; None: all of them."""
        if not self.count:
            return
        rows_P, firsts_P = pending(self.last_V, self.start + self.count, ids_M)
        steps_3S = self.steps_3S[:, : self.count]
        advance(rows_P, firsts_P - self.start, self.tables, steps_3S, self.settings)
        if ids_M is None:
            self.start, self.count = self.start + self.count, 0

    def step(self, rows_U: Tensor, step: AdamStep) -> None:
        """Note a step; the rows, which were up to date, are so again."""
        if self.count == self.steps_3S.shape[1]:
            self.steps_3S = np.concatenate([self.steps_3S, np.empty_like(self.steps_3S)], axis=1)
        self.steps_3S[:, self.count] = step
        self.count += 1
        self.last_V[rows_U.numpy()] = self.start + self.count
