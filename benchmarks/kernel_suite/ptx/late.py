"""Stores that others see late: an adversary that PTX's memory model allows.

Relaxed stores to two addresses may be seen in any order unless a fence is between them. Here those
of one value, such as a mark that says nothing is there, are seen by nobody before the warp that
stored them passes a fence; all other stores are seen at once.
"""

from collections import defaultdict

import numpy as np


class Late:
    """Stores of ``value`` (32 bits) that nobody has seen yet, by the warp that made them."""

    def __init__(self, value: int) -> None:
        self.value = np.frombuffer((value & 0xFFFFFFFF).to_bytes(4, "little"), np.uint8)
        self.kept: dict[int, set[int]] = defaultdict(set)

    def keep(self, agent: int, places: np.ndarray, values: np.ndarray) -> np.ndarray:
        """bool (lanes): which stores are seen at once. A newer one ends what was kept there."""
        late = np.zeros(len(places), bool)
        if values.shape[1] == len(self.value):
            late = (values == self.value).all(1)
        for kept in self.kept.values():
            kept -= set(places.tolist())
        self.kept[agent] |= set(places[late].tolist())
        return ~late

    def arrive(self, agent: int, memory: np.ndarray) -> None:
        """All that the warp has kept is seen."""
        for place in self.kept.pop(agent, ()):
            memory[place : place + len(self.value)] = self.value
