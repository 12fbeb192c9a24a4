"""Global and shared memory: bytes with bounds, alignment, poison and a history."""

import numpy as np

from kernel_suite.ptx.errors import KernelError, OutOfBoundsError
from kernel_suite.ptx.late import Late
from kernel_suite.ptx.order import Clock, History

POISON = 0xFF
"""Of unwritten bytes: NaN in every floating-point type."""


class Memory:
    """One address space from ``base`` on.

    Args:
        name: in messages.
        size: bytes.
        base: first address.
        agents: warps that may come here.
    """

    def __init__(self, name: str, size: int, base: int, agents: range) -> None:
        self.name, self.base = name, base
        self.bytes = np.full(size, POISON, np.uint8)
        self.usable = np.ones(size, bool)
        self.history = History(size, agents)
        self.late: Late | None = None

    def load(
        self, clock: Clock, addresses: np.ndarray, size: int, strong: bool = False
    ) -> np.ndarray:
        """uint8 (lanes, size) from each lane's address."""
        places = self.places(addresses, size)
        self.history.reading(clock, places.ravel(), strong)
        return self.bytes[places]

    def store(
        self, clock: Clock, addresses: np.ndarray, values: np.ndarray, strong: bool = False
    ) -> None:
        """uint8 (lanes, size) to each lane's address."""
        places = self.places(addresses, values.shape[1])
        changed = (self.bytes[places] != values).ravel()
        self.history.writing(clock, places.ravel(), strong, changed)
        if strong and self.late:
            seen = self.late.keep(clock.agent, places[:, 0], values)
            places, values = places[seen], values[seen]
        self.bytes[places] = values
        if not strong and (self.bytes[places] != values).any():
            raise KernelError("lanes of a warp store different values at one address")

    def pass_fence(self, clock: Clock) -> None:
        """All that the warp has stored is seen before what it stores from here."""
        clock.pass_fence()
        if self.late:
            self.late.arrive(clock.agent, self.bytes)

    def places(self, addresses: np.ndarray, size: int) -> np.ndarray:
        """(lanes, size): indices of bytes; raises OutOfBoundsError."""
        first = addresses.astype(np.int64) - self.base
        places = first[:, None] + np.arange(size)
        outside = (first < 0) | (first + size > len(self.bytes))
        if not outside.any():
            outside = ~self.usable[places].all(1)
        if outside.any():
            self._refuse("no memory of the kernel's", addresses[outside], size)
        crooked = first % size != 0
        if crooked.any():
            self._refuse("not aligned", addresses[crooked], size)
        return places

    def _refuse(self, why: str, addresses: np.ndarray, size: int) -> None:
        offset = int(addresses[0]) - self.base
        raise OutOfBoundsError(
            f"{size} bytes at {self.name} byte {offset} of {len(self.bytes)}: {why} "
            f"({len(addresses)} lanes)"
        )
