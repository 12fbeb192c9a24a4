"""Windows of random length, so that their edges fall elsewhere in every pass.

Merity, Keskar and Socher (2017, https://arxiv.org/abs/1708.02182, section 4): with windows of one
length the words next to an edge would be learned with little or no context in every pass, since the
lanes are cut at the same places.

Shapes: N windows of a lane in one pass.
"""

from bisect import bisect_left, bisect_right
from typing import Any

import numpy as np

from lm_research.data.batches import Batch, TrainingBatches

DEVIATION = 5.0
"""Standard deviation of a length, in tokens."""
HALVED = 0.05
"""Probability that a length is drawn about half of the window."""
LEAST = 5
"""Tokens of the shortest window."""


class RandomLengthBatches(TrainingBatches):
    """Lanes read side by side, by windows of random length; every lane's are as long.

    A length is max(5, floor(x)), x from N(``window``, 5^2), or with probability 0.05 from
    N(``window`` / 2, 5^2). What a lane has left for no whole window is read in another pass, as
    with windows of one length. Those of pass number n are a function of (seed, n), so that
    continuing from a step is exact. A batch's ``rate`` is its length over ``window``: an update on
    fewer predictions is a smaller one, and all predictions have an equal share in training.

    The arguments are those of :class:`~lm_research.data.batches.StreamBatches`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.edges: list[np.ndarray] = []  # of each pass known so far: 0, T_1, T_1 + T_2, ...
        self.steps_before, self.lane_before = [0], [0]  # batches, and tokens of a lane

    def batch(self, step: int) -> Batch:
        """Batch number ``step`` (from 0)."""
        rate = self.size(step % self.overfit if self.overfit else step) / self.window
        return super().batch(step)._replace(tokens_seen=self.tokens(step + 1), rate=rate)

    def starts(self, step: int) -> tuple[np.ndarray, bool]:
        """Where the last window ended, in every lane; a pass begins anew."""
        turn, index = self._place(step)
        return self.lanes + self.offset(turn) + int(self.edges[turn][index]), index == 0

    def size(self, step: int) -> int:
        """T of batch number ``step``."""
        turn, index = self._place(step)
        return int(self.edges[turn][index + 1] - self.edges[turn][index])

    def tokens(self, steps: int) -> int:
        """Training tokens of the first ``steps`` batches, over all processes."""
        turns, rest = divmod(steps, self.overfit) if self.overfit else (0, steps)
        lane = turns * self._lane_tokens(self.overfit) + self._lane_tokens(rest)
        return self.batch_size * lane

    def steps_for(self, tokens: int) -> int:
        """The fewest batches with as many tokens, or more; ``tokens`` is at least 1."""
        lane = -(-tokens // self.batch_size)
        while self.lane_before[-1] < lane:
            self._one_more_pass()
        turn = bisect_left(self.lane_before, lane) - 1
        index = np.searchsorted(self.edges[turn], lane - self.lane_before[turn])
        return self.steps_before[turn] + int(index)

    def _lane_tokens(self, steps: int) -> int:
        turn, index = self._place(steps)
        return self.lane_before[turn] + int(self.edges[turn][index])

    def _place(self, step: int) -> tuple[int, int]:
        """Pass, and number in the pass, of batch number ``step``."""
        while self.steps_before[-1] <= step:
            self._one_more_pass()
        turn = bisect_right(self.steps_before, step) - 1
        return turn, step - self.steps_before[turn]

    def _one_more_pass(self) -> None:
        edges_N = self._edges(len(self.edges))
        self.edges.append(edges_N)
        self.steps_before.append(self.steps_before[-1] + len(edges_N) - 1)
        self.lane_before.append(self.lane_before[-1] + int(edges_N[-1]))

    def _edges(self, turn: int) -> np.ndarray:
        """Where the windows of pass number ``turn`` begin in a lane; last, where they end."""
        rng = np.random.default_rng((self.seed, turn, 1))  # (seed, turn) draws the pass's offset
        most = self.lane_length // LEAST + 1
        mean_N = np.where(rng.random(most) < HALVED, self.window / 2, self.window)
        drawn_N = np.maximum(rng.normal(mean_N, DEVIATION).astype(np.int64), LEAST)
        ends_N = np.minimum(drawn_N, self.lane_length).cumsum()
        return np.concatenate([[0], ends_N[ends_N <= self.lane_length]])
