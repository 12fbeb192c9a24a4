"""Which source each lane of a sampled mixture reads, and from where: a plan made before training.

Training is cut into runs of K windows. All lanes begin a run together, each at a place of its own
in the stream of one source, and read on for K windows. Of B lanes in run s, source i gets those
whose points (u_s + b) / B, b = 0..B-1, fall into its part of [0, 1): systematic sampling (Kitagawa
1996), within one lane of B q_i. The u_s are multiples of the golden ratio modulo 1, so that over S
runs a source of constant share is off by O(log S) lane runs, not by their square root.

q_i is a share of tokens. Weights are shares of bytes, the unit of every mixture here:

    q_i = v_i tokens_i / bytes_i / sum_j,    v_i = w_i(progress) n_i^(1/T) / sum_j

with w_i at the run's middle, n_i the bytes of the source's stream, and no n_i without temperature.

A pass over a stream of N tokens is N // (K T) pieces from an offset of its own, in a random order:
no piece comes twice before all came once. A cap of k epochs is floor(k N / (K T)) pieces; where
they are used up, the others go on in their proportions.

Shapes: S runs, M sources, B lanes. All is a function of (seed, step): nothing has to be saved.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np

from lm_research.data.document import DataError

GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class StreamSize:
    """How long a source's training stream is: ids (separators included) and UTF-8 bytes."""

    tokens: int
    utf8_bytes: int


@dataclass(frozen=True)
class SamplingRule:
    """What a mixture asks of training time; see :class:`lm_research.data.mixture.Mixture`."""

    weights: Mapping[str, float]
    temperature: float | None = None
    epochs: float | Mapping[str, float] | None = None
    schedule: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    run_windows: int = 16
    on_exhausted: Literal["drop", "stop"] = "drop"

    @property
    def members(self) -> list[str]:
        """Sources that have a weight above 0 at some time."""
        return [name for name in self.weights if any(weight > 0 for _, weight in self._line(name))]

    def _line(self, name: str) -> Sequence[Sequence[float]]:
        return self.schedule.get(name, [[0.0, self.weights[name]]])

    def shares(self, progress_S: np.ndarray, utf8_bytes_M: np.ndarray) -> np.ndarray:
        """v_SM, shares of bytes of ``members`` at each fraction of the token budget, float64."""
        lines = [np.asarray(self._line(name), dtype=float) for name in self.members]
        weights_SM = np.stack([np.interp(progress_S, line[:, 0], line[:, 1]) for line in lines], 1)
        if self.temperature is not None:
            # Relative to the largest, no power overflows.
            weights_SM = weights_SM * (utf8_bytes_M / utf8_bytes_M.max()) ** (1 / self.temperature)
        return weights_SM / weights_SM.sum(1, keepdims=True)

    def cap(self, name: str) -> float:
        """Epochs of a source at most; infinity without a cap."""
        if isinstance(self.epochs, Mapping):
            return float(self.epochs.get(name, math.inf))
        return math.inf if self.epochs is None else float(self.epochs)


class SamplingPlan:
    """How many lanes each source has in each run.

    Args:
        rule: what is asked.
        sizes: of each member's stream.
        batch_size: B over all processes.
        window: T.
        steps: batches of the whole training.
        seed: of the first u, the offsets and the orders.

    Attributes:
        members: M names.
        counts_SM: lanes of each source in each run, int64.
        before_SM: pieces of each source that earlier runs have read, int64.
        asked_SM: shares of bytes that are asked for, float64.

    Raises:
        DataError: a stream is empty, a cap leaves less than one piece of it, the caps end before
            the budget of tokens does, or one binds under ``on_exhausted="stop"``.
    """

    def __init__(
        self, rule: SamplingRule, sizes: Mapping[str, StreamSize], batch_size: int, window: int,
        steps: int, seed: int,
    ) -> None:  # fmt: skip
        self.rule, self.members = rule, rule.members
        self.sizes = [sizes[name] for name in self.members]
        self.batch_size, self.window, self.steps, self.seed = batch_size, window, steps, seed
        self.run_windows = rule.run_windows
        self.tokens_M = np.array([size.tokens for size in self.sizes])
        self.bytes_M = np.array([size.utf8_bytes for size in self.sizes])
        if not self.bytes_M.all():
            empty = self.members[int(self.bytes_M.argmin())]
            raise DataError(f"data.weights.{empty}: the source has no training text")
        self.pieces_M = np.maximum(self.tokens_M // self.piece, 1)
        runs = -(-steps // self.run_windows)
        self.asked_SM = rule.shares(self._middles(runs), self.bytes_M)
        self.counts_SM = self._counts(self._pieces_left())
        self.before_SM = np.cumsum(self.counts_SM, axis=0) - self.counts_SM

    @property
    def piece(self) -> int:
        """Tokens that one lane reads in one run."""
        return self.run_windows * self.window

    def _middles(self, runs: int) -> np.ndarray:
        """Progress in the middle of each run; the last one may be cut short."""
        starts_S = np.arange(runs) * self.run_windows
        ends_S = np.minimum(starts_S + self.run_windows, self.steps)
        return (starts_S + ends_S) / 2 / max(self.steps, 1)

    def _pieces_left(self) -> list[float]:
        left = []
        for name, size in zip(self.members, self.sizes, strict=True):
            cap = self.rule.cap(name)
            pieces = math.inf if math.isinf(cap) else float(cap * size.tokens // self.piece)
            if pieces < 1:
                raise DataError(
                    f"data.epochs: {cap:g} epochs of {name} are {cap * size.tokens:,.0f} tokens, "
                    f"and a lane reads {self.piece:,} in a row (data.run_windows="
                    f"{self.run_windows} x budget.window={self.window})\n"
                    "  fix: a smaller data.run_windows, a higher cap, or leave the source out"
                )
            left.append(pieces)
        return left

    def _counts(self, left: list[float]) -> np.ndarray:
        per_byte_M = self.tokens_M / self.bytes_M
        start = np.random.default_rng((self.seed, len(self.members))).random()
        left_M, counts = np.array(left), []
        for number, asked_M in enumerate(self.asked_SM):
            point = (start + number * GOLDEN) % 1.0
            counts_M = self._deal(asked_M * per_byte_M, left_M, point, number)
            left_M = left_M - counts_M
            counts.append(counts_M)
        return np.array(counts, dtype=np.int64).reshape(-1, len(self.members))

    def _deal(
        self, shares_M: np.ndarray, left_M: np.ndarray, point: float, number: int
    ) -> np.ndarray:
        """Lanes of one run; what a source cannot take goes to those that can."""
        counts_M = np.zeros(len(shares_M))
        while (lanes := self.batch_size - int(counts_M.sum())) > 0:
            open_M = np.where(left_M > counts_M, shares_M, 0.0)
            if not open_M.any():
                raise self._ended(number)
            dealt_M = np.minimum(systematic(open_M, lanes, point), left_M - counts_M)
            counts_M = counts_M + dealt_M
            short = counts_M.sum() < self.batch_size
            if self.rule.on_exhausted == "stop" and short:
                raise self._bound(number, int(np.argmax((left_M <= counts_M) & (shares_M > 0))))
        return counts_M

    def _ended(self, number: int) -> DataError:
        done = number * self.batch_size * self.piece
        asked = self.steps * self.batch_size * self.window
        return DataError(
            f"data.epochs: the caps leave no source to read after {done:,} of {asked:,} tokens\n"
            f"  fix: higher caps, or budget.train_tokens={done}"
        )

    def _bound(self, number: int, member: int) -> DataError:
        return DataError(
            f"data.epochs: {self.members[member]} has had its "
            f"{self.rule.cap(self.members[member]):g} epochs after {self._share(number)} of "
            "training, and data.on_exhausted=stop keeps to the weights\n"
            "  fix: a higher cap, a lower weight, fewer budget.train_tokens, or "
            "data.on_exhausted=drop"
        )

    def _share(self, number: int) -> str:
        return f"{number * self.run_windows / self.steps:.0%}"

    def lanes(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(source_B, start_B) of run ``number``: index of the source, position in its stream."""
        counts_M = self.counts_SM[number]
        source_B = np.repeat(np.arange(len(counts_M)), counts_M)
        nth_B = np.concatenate([np.arange(count) for count in counts_M])
        piece_B = self.before_SM[number][source_B] + nth_B
        places = zip(source_B.tolist(), piece_B.tolist(), strict=True)
        start_B = np.array([self._start(member, piece) for member, piece in places])
        order_B = np.random.default_rng((self.seed, number, 1)).permutation(self.batch_size)
        return source_B[order_B], start_B[order_B]

    def _start(self, member: int, piece: int) -> int:
        turn, place = divmod(piece, int(self.pieces_M[member]))
        tokens, pieces = int(self.tokens_M[member]), int(self.pieces_M[member])
        offset, order_P = _pass(self.seed, member, turn, tokens, pieces)
        return int((offset + int(order_P[place]) * self.piece) % tokens)

    def tokens_read(self, step: int) -> np.ndarray:
        """Tokens that the first ``step`` batches have of each source, int64."""
        if not step:
            return np.zeros(len(self.members), np.int64)
        number, windows = divmod(step - 1, self.run_windows)
        lane_windows_M = self.before_SM[number] * self.run_windows
        lane_windows_M = lane_windows_M + self.counts_SM[number] * (windows + 1)
        return lane_windows_M * self.window

    def achieved(self, step: int) -> dict[str, dict[str, float]]:
        """Of each source up to ``step``: shares of bytes, read and asked for, and its epochs."""
        tokens_M = self.tokens_read(step)
        bytes_M = tokens_M * self.bytes_M / self.tokens_M
        number, windows = divmod(max(step - 1, 0), self.run_windows)
        length_S = np.full(number + 1, float(self.run_windows))
        length_S[-1] = windows + 1
        asked_M = length_S @ self.asked_SM[: number + 1] / length_S.sum()
        parts = {
            "share": bytes_M / max(bytes_M.sum(), 1.0),
            "asked": asked_M,
            "epochs": tokens_M / self.tokens_M,
        }
        return {
            name: {part: float(values_M[m]) for part, values_M in parts.items()}
            for m, name in enumerate(self.members)
        }


@lru_cache(maxsize=64)
def _pass(seed: int, member: int, turn: int, tokens: int, pieces: int) -> tuple[int, np.ndarray]:
    """Where a pass over a stream begins, and the order of its pieces."""
    rng = np.random.default_rng((seed, member, turn, 2))
    return int(rng.integers(tokens)), rng.permutation(pieces)


def systematic(shares_M: np.ndarray, lanes: int, point: float) -> np.ndarray:
    """How many of the points (point + b) / lanes fall into each share's part of [0, 1)."""
    edges_M = np.cumsum(shares_M)
    # The last edge is 1 to the bit, and equal edges stay equal: a share of 0 gets nothing.
    counts_M = np.diff(np.ceil(edges_M / edges_M[-1] * lanes - point), prepend=math.ceil(-point))
    return np.asarray(counts_M)
