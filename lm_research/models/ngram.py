"""Interpolated modified Kneser-Ney n-grams, counted.

For a history h of m - 1 tokens, h' the same without its first (Chen and Goodman 1998,
"An empirical study of smoothing techniques for language modeling", TR-10-98, section 4.1.6):

    p_m(w | h) = max(a(hw) - D(a(hw)), 0) / sum_v a(hv) + g(h) p_{m-1}(w | h')
    g(h)       = (D_1 N_1(h) + D_2 N_2(h) + D_3 N_3+(h)) / sum_v a(hv)
    p_0(w)     = 1 / V
    D_1 = 1 - 2 Y n_2 / n_1,  D_2 = 2 - 3 Y n_3 / n_2,  D_3 = 3 - 4 Y n_4 / n_3,
    Y   = n_1 / (n_1 + 2 n_2)

At the highest order a(hw) is the count of the n-gram hw; below, it is the number of different
tokens seen in front of hw ("continuation count"), except that an n-gram which begins with the
separator keeps its count: nothing can stand in front of the start of a document. n_i is the number
of n-grams of that order with a = i, and N_i(h) the number of tokens w with a(hw) = i. A history
that was never seen leaves the estimate to the next lower order. Every order has its own three
discounts; where one of n_1..n_4 is zero, or a discount would leave (0, i], as happens in small
corpora, that order takes 0.5, 1 and 1.5. With one discount an order, as Kneser and Ney (1995) have
it, D_1 = D_2 = D_3 = n_1 / (n_1 + 2 n_2).

The separator plays both parts of sentence models: as a token it is predicted (the end of a
document), as the first token of a history it stands for the start. No history reaches beyond it.

Storage: for every order, sorted histories and the tokens that followed each, in compressed rows.
A history of length L is found by binary search for (rank of its last L - 1 tokens) * V + (its
first token), which stays far below 2^63 whatever the order.

Shapes: N tokens of a stream, R rows (positions) of a block, V vocabulary, C histories of one
order, G n-grams of one order.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from lm_research.config.types import NonNegativeInt, PositiveInt
from lm_research.models.sequence_model import CountModel

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
BLOCK_ELEMENTS = 2**20
"""Probabilities worked on at once: 8 MB, about what a processor's cache holds."""
UNSEEN = -1
FIELDS = ("histories", "offsets", "tokens", "counts")


@dataclass(frozen=True)
class Order:
    """The n-grams of one order, by history.

    ``histories`` are the sorted search keys; the tokens that followed history c are
    ``tokens[offsets[c]:offsets[c + 1]]``, ascending, and ``counts`` their a(hw). ``single``: one
    discount in place of three.
    """

    histories: np.ndarray
    offsets: np.ndarray
    tokens: np.ndarray
    counts: np.ndarray
    single: bool = False

    @cached_property
    def discounts(self) -> np.ndarray:
        """Discount of a count of 0, 1, 2 and 3 or more; float64."""
        return single_discount(self.counts) if self.single else discounts(self.counts)

    @cached_property
    def totals(self) -> np.ndarray:
        """sum_v a(hv) of each history."""
        return np.add.reduceat(self.counts, self.offsets[:-1])

    @cached_property
    def backoffs(self) -> np.ndarray:
        """g(h) of each history."""
        discounted_G = self.discounts[np.minimum(self.counts, 3)]
        return np.add.reduceat(discounted_G, self.offsets[:-1]) / self.totals

    def ranks(self, keys: np.ndarray) -> np.ndarray:
        """Position of each key among the histories, or UNSEEN."""
        found = np.searchsorted(self.histories, keys)
        found[found == len(self.histories)] = 0
        return np.where(self.histories[found] == keys, found, UNSEEN)

    def followers(self, ranks_R: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, token and discounted relative frequency of all that followed the given histories."""
        starts = self.offsets[ranks_R]
        sizes = self.offsets[ranks_R + 1] - starts
        rows = np.repeat(np.arange(len(ranks_R)), sizes)
        before = np.cumsum(sizes) - sizes
        entries = np.arange(len(rows)) + np.repeat(starts - before, sizes)
        counts = self.counts[entries]
        kept = counts - self.discounts[np.minimum(counts, 3)]
        return rows, self.tokens[entries], kept / self.totals[ranks_R][rows]


def discounts(counts: np.ndarray) -> np.ndarray:
    """(0, D_1, D_2, D_3) from the counts of one order; see the module's docstring."""
    n1, n2, n3, n4 = (float((counts == count).sum()) for count in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) > 0:
        y = n1 / (n1 + 2 * n2)
        estimates = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        if all(0 < estimate <= count for count, estimate in enumerate(estimates, start=1)):
            return np.array([0.0, *estimates])
    return np.array([0.0, *FALLBACK_DISCOUNTS])


def single_discount(counts: np.ndarray) -> np.ndarray:
    """(0, D, D, D), D = n_1 / (n_1 + 2 n_2); 0.5 where one of the two is zero."""
    n1, n2 = (float((counts == count).sum()) for count in (1, 2))
    d = n1 / (n1 + 2 * n2) if min(n1, n2) > 0 else FALLBACK_DISCOUNTS[0]
    return np.array([0.0, d, d, d])


def _restored(state: dict[str, np.ndarray], length: int) -> Order:
    histories, offsets, tokens, counts = (state[f"{length}/{name}"] for name in FIELDS)
    return Order(histories, offsets, tokens, counts)


class KneserNey(CountModel):
    """Interpolated modified Kneser-Ney of a given order; see the module's docstring.

    Args:
        vocabulary_size: V, the separator included. Ids never seen share the root's V-th parts.
        order: n; histories hold up to n - 1 tokens.
        separator_id: the id between documents.
        discounts: ``modified``, three an order; or ``single``, one.
    """

    def __init__(
        self,
        vocabulary_size: PositiveInt,
        order: PositiveInt = 5,
        separator_id: NonNegativeInt = 0,
        discounts: Literal["modified", "single"] = "modified",
    ) -> None:
        if order < 1:
            raise ValueError(f"order is {order}; it must be at least 1")
        if not 0 <= separator_id < vocabulary_size:
            raise ValueError(
                f"separator_id is {separator_id}; it must lie within [0, {vocabulary_size - 1}], "
                f"since vocabulary_size is {vocabulary_size}"
            )
        self.vocabulary_size, self.order, self.separator_id = vocabulary_size, order, separator_id
        if discounts not in ("modified", "single"):
            raise ValueError(f"discounts is {discounts!r}; choose 'modified' or 'single'")
        self.single = discounts == "single"
        self.orders: list[Order] = []

    def fit(self, ids_N: np.ndarray) -> None:
        """Count the training stream: documents joined by the separator, which starts it.

        Raises:
            ValueError: on a stream that is too short, begins with another id, or holds ids
                outside the vocabulary.
        """
        ids_N = self._checked(ids_N)
        if len(ids_N) < 2 or ids_N[0] != self.separator_id:
            raise ValueError(
                f"the training stream holds {len(ids_N)} tokens and begins with "
                f"{ids_N[:1].tolist()}; it must begin with the separator, {self.separator_id}, and "
                "hold at least one token more"
            )
        raw = self._count(ids_N[:-1], ids_N[1:])
        adjusted = [self._adjust(lower, upper) for lower, upper in pairwise(raw)]
        self._set_orders([*adjusted, raw[-1]])

    def log_probabilities(self, ids_N: np.ndarray, start: int, stop: int) -> np.ndarray:
        """log p(. | ids_N[:t+1]) in nats, float64 (stop - start, V), for t in start..stop-1.

        Tokens before ``start`` serve as history only. Every row of probabilities sums to one.
        """
        if not self.orders:
            raise RuntimeError("the n-gram model has counted nothing yet; call fit first")
        if not 0 <= start <= stop <= len(ids_N):
            raise ValueError(f"[{start}, {stop}) does not lie within the stream's {len(ids_N)} ids")
        first = max(0, min(start, start - self.order + 2))
        ranks = self._history_ranks(self._checked(ids_N[first:stop]), start - first)
        rows = max(1, BLOCK_ELEMENTS // self.vocabulary_size)
        result = np.empty((stop - start, self.vocabulary_size))
        for row in range(0, stop - start, rows):
            self._fill(result[row : row + rows], [rank[row : row + rows] for rank in ranks])
        return result

    def state_dict(self) -> dict[str, np.ndarray]:
        """Histories, tokens and adjusted counts of every order, and the settings they belong to."""
        state = {"settings": self._settings()}
        for length, level in enumerate(self.orders):
            state |= {f"{length}/{name}": getattr(level, name) for name in FIELDS}
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            ValueError: if it was counted with another vocabulary size, order or separator.
        """
        if not np.array_equal(state["settings"], self._settings()):
            raise ValueError(
                "vocabulary_size, order, separator_id (and 1: single) of the saved counts are "
                f"{state['settings'].tolist()}, of this model {self._settings().tolist()}"
            )
        lengths = sum(key.endswith("/histories") for key in state)
        self._set_orders([_restored(state, length) for length in range(lengths)])

    def parameter_count(self) -> int:
        """Number of different n-grams, of all orders."""
        return sum(len(level.tokens) for level in self.orders)

    def _settings(self) -> np.ndarray:
        own = [self.vocabulary_size, self.order, self.separator_id]
        return np.array([*own, 1] if self.single else own, dtype=np.int64)

    def _checked(self, ids_N: np.ndarray) -> np.ndarray:
        ids_N = np.asarray(ids_N).astype(np.int64)
        outside = ids_N[(ids_N < 0) | (ids_N >= self.vocabulary_size)]
        if len(outside):
            raise ValueError(
                f"id {outside[0]} is not in the vocabulary; ids must lie within "
                f"[0, {self.vocabulary_size - 1}]"
            )
        return ids_N

    def _reach(self, ids_N: np.ndarray) -> np.ndarray:
        """Tokens of the history that ends at each position: back to the separator, included."""
        position_N = np.arange(len(ids_N))
        begin_N = np.maximum.accumulate(np.where(ids_N == self.separator_id, position_N, 0))
        return position_N - begin_N + 1

    def _count(self, history_N: np.ndarray, token_N: np.ndarray) -> list[Order]:
        """Raw counts of all orders, the lowest first."""
        reach_N, rank_N = self._reach(history_N), np.zeros(len(history_N), dtype=np.int64)
        levels = []
        for length in range(self.order):
            at = np.flatnonzero(reach_N >= length)
            if not len(at):  # no document is this long
                break
            if length:
                keys = self._keys(rank_N[at], history_N[at - length + 1])
            else:
                keys = np.zeros(len(at), dtype=np.int64)
            histories, rank_N[at] = np.unique(keys, return_inverse=True)
            levels.append(self._order(histories, rank_N[at], token_N[at]))
        return levels

    def _order(self, histories: np.ndarray, ranks: np.ndarray, tokens: np.ndarray) -> Order:
        keys, counts = np.unique(self._keys(ranks, tokens), return_counts=True)
        row_G, token_G = np.divmod(keys, self.vocabulary_size)
        offsets = np.searchsorted(row_G, np.arange(len(histories) + 1))
        return Order(histories, offsets, token_G.astype(np.int32), counts.astype(np.int64))

    def _adjust(self, lower: Order, upper: Order) -> Order:
        """``lower`` with continuation counts, except for n-grams that begin with the separator."""
        parent_C = upper.histories // self.vocabulary_size
        extended = self._keys(np.repeat(parent_C, np.diff(upper.offsets)), upper.tokens)
        row_G = np.repeat(np.arange(len(lower.histories)), np.diff(lower.offsets))
        place = np.searchsorted(self._keys(row_G, lower.tokens), extended)
        continuation_G = np.bincount(place, minlength=len(row_G))
        # Every n-gram inside a document has something in front of it, so zero is the separator's.
        counts = np.where(continuation_G > 0, continuation_G, lower.counts)
        return Order(lower.histories, lower.offsets, lower.tokens, counts)

    def _keys(self, rank_G: np.ndarray, token_G: np.ndarray) -> np.ndarray:
        return rank_G * self.vocabulary_size + token_G

    def _set_orders(self, orders: list[Order]) -> None:
        self.orders = [replace(level, single=self.single) for level in orders]
        root = self.orders[0]
        self._root_V = np.full(self.vocabulary_size, root.backoffs[0] / self.vocabulary_size)
        _, tokens, values = root.followers(np.zeros(1, dtype=np.int64))
        self._root_V[tokens] += values

    def _history_ranks(self, ids_N: np.ndarray, start: int) -> list[np.ndarray]:
        """For lengths 1, 2, ...: rank of the history that ends at each position from ``start``."""
        reach_N, rank_N, ranks = self._reach(ids_N), np.zeros(len(ids_N), dtype=np.int64), []
        for length, level in enumerate(self.orders[1:], start=1):
            # A history is only there if its shorter part is: search those alone.
            at = np.flatnonzero((reach_N >= length) & (rank_N != UNSEEN))
            keys = self._keys(rank_N[at], ids_N[at - length + 1])
            rank_N = np.full(len(ids_N), UNSEEN)
            rank_N[at] = level.ranks(keys)
            ranks.append(rank_N[start:])
        return ranks

    def _fill(self, log_p_RV: np.ndarray, ranks: list[np.ndarray]) -> None:
        """Log-probabilities of one block of positions, in place.

        Unseen continuations, nearly all of V, get the root's probability times the product of
        the back-off weights g; their logarithm is a sum, so only the seen ones need a log.
        """
        scale_R = np.ones(len(log_p_RV))
        seen = []
        for level, rank_R in zip(self.orders[:0:-1], ranks[::-1], strict=True):
            rows = np.flatnonzero(rank_R != UNSEEN)
            entry, token, value = level.followers(rank_R[rows])
            seen.append((rows[entry], token, value * scale_R[rows][entry]))
            scale_R[rows] *= level.backoffs[rank_R[rows]]
        np.multiply.outer(scale_R, self._root_V, out=log_p_RV)
        for row, token, value in seen:
            log_p_RV[row, token] += value
        # What followed a long history also followed its last token: the last entries cover all.
        covered = seen[-1][:2] if seen else ((), ())
        log_seen = np.log(log_p_RV[covered])
        np.add.outer(np.log(scale_R), np.log(self._root_V), out=log_p_RV)
        log_p_RV[covered] = log_seen
