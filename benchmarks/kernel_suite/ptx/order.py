"""What happens before what: vector clocks, one a warp, and every byte's last accesses.

A warp counts its epochs; its vector holds, of every warp, the last epoch whose accesses happen
before its own next one. A barrier joins the vectors of a block's warps; a release puts the warp's
vector at the address, an acquire that reads there joins it. Two accesses to one byte, one of them a
write, that no vector orders are a race (Flanagan and Freund, FastTrack, PLDI 2009), unless both are
strong operations (atomic, volatile, relaxed, acquire, release).

A warp is one agent: what its lanes do to each other's bytes is taken in program order.
"""

import numpy as np

from kernel_suite.ptx.errors import RaceError


class Clock:
    """What a warp knows of all warps."""

    def __init__(self, agent: int, agents: int) -> None:
        self.agent = agent
        self.vector = np.zeros(agents, np.int32)
        self.vector[agent] = 1
        self.fence: np.ndarray | None = None  # what relaxed stores release, since the last fence
        self.seen = np.zeros(agents, np.int32)  # what the next fence acquires

    def tick(self) -> None:
        """A new epoch: what was handed on does not cover what is done from here."""
        self.vector[self.agent] += 1

    def join(self, vector: np.ndarray) -> None:
        """All that happened before ``vector`` happens before this warp's next access."""
        np.maximum(self.vector, vector, out=self.vector)

    def pass_fence(self) -> None:
        """A fence of acquire and release."""
        self.join(self.seen)
        self.fence = self.vector.copy()
        self.tick()


def meet(clocks: list[Clock]) -> None:
    """A barrier: everything before it happens before everything after it."""
    joined = np.maximum.reduce([clock.vector for clock in clocks])
    for clock in clocks:
        clock.vector[:] = joined
        clock.tick()


class History:
    """Every byte's last write, and every warp's last read of it.

    Args:
        size: bytes.
        agents: the warps that may come here.
    """

    def __init__(self, size: int, agents: range) -> None:
        self.agents = slice(agents.start, agents.stop)
        self.writer = np.full(size, agents.start, np.int32)
        self.written = np.zeros(size, np.int32)
        self.strong = np.zeros(size, bool)
        self.read = np.zeros((len(agents), size), np.int32)
        self.released: dict[int, np.ndarray] = {}

    def reading(self, clock: Clock, places: np.ndarray, strong: bool) -> None:
        """Raises RaceError where a byte's last write does not happen before."""
        late = self.written[places] > clock.vector[self.writer[places]]
        if strong:
            late &= ~self.strong[places]
        if late.any():
            self._report("reads what", "wrote", places[late], clock)
        self.read[clock.agent - self.agents.start, places] = clock.vector[clock.agent]

    def writing(self, clock: Clock, places: np.ndarray, strong: bool, changed: np.ndarray) -> None:
        """Raises RaceError where a byte's last write or reads do not happen before.

        Two warps may write the same value: Triton has values that several warps hold, and lets each
        of them store them.
        """
        late = self.written[places] > clock.vector[self.writer[places]]
        late &= changed
        if strong:
            late &= ~self.strong[places]
        if late.any():
            self._report("writes over what", "wrote", places[late], clock)
        if not strong:
            unseen = self.read[:, places] > clock.vector[self.agents, None]
            if unseen.any():
                reader, which = (axis[0] for axis in np.nonzero(unseen))
                raise RaceError(
                    f"writes byte {places[which]}, which warp {reader + self.agents.start} "
                    "reads, with nothing to order them"
                )
        self.writer[places] = clock.agent
        self.written[places] = clock.vector[clock.agent]
        self.strong[places] = strong

    def _report(self, does: str, did: str, places: np.ndarray, clock: Clock) -> None:
        place = places[0]
        raise RaceError(
            f"{does} warp {self.writer[place]} {did} at byte {place} with nothing to order them"
        )

    def release(self, clock: Clock, place: int, after_others: bool) -> None:
        """A release at ``place``; an atomic update also hands on what was released before it."""
        vector = clock.vector.copy()
        if after_others and place in self.released:
            np.maximum(vector, self.released[place], out=vector)
        self.released[place] = vector

    def store_relaxed(self, clock: Clock, place: int, after_others: bool) -> None:
        """A strong store without release: it hands on what happened before the last fence."""
        if clock.fence is None:
            if not after_others:
                self.released.pop(place, None)
            return
        vector = clock.fence
        if after_others and place in self.released:
            vector = np.maximum(vector, self.released[place])
        self.released[place] = vector

    def acquire(self, clock: Clock, place: int, now: bool) -> None:
        """A strong load at ``place``: acquires ``now``, or at the warp's next fence."""
        if place in self.released:
            if now:
                clock.join(self.released[place])
            np.maximum(clock.seen, self.released[place], out=clock.seen)
