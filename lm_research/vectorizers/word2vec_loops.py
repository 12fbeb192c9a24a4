"""The loops of word2vec, in the Python that numba compiles.

Shapes: V vocabulary, D vector size, M tokens of a chunk, K parts, P pairs, B tokens of a batch.
``noise`` is the tables of ``word2vec_noise.Noise``: starts, ids_V, share_V, other_V.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from lm_research.vectorizers.compiled import compiled
from lm_research.vectorizers.glove_loops import multiply

_STEP = np.uint64(0x9E3779B97F4A7C15)
_TINY = 1e-300
"""Probabilities below it count as it does in the objective."""


def alias(
    weights_V: np.ndarray, first: int, last: int, share_V: np.ndarray, other_V: np.ndarray
) -> None:
    """Vose's way (1991) to Walker's table of the places [first, last); what it has no need to
    change stays 1 and the place itself."""
    left = weights_V[first:last] * ((last - first) / weights_V[first:last].sum())
    little, much = np.empty(last - first, np.int64), np.empty(last - first, np.int64)
    lows = highs = 0
    for place in range(last - first):
        if left[place] < 1:
            little[lows] = place
            lows += 1
        else:
            much[highs] = place
            highs += 1
    while lows > 0 and highs > 0:
        lows -= 1
        low, high = little[lows], much[highs - 1]
        share_V[first + low] = left[low]
        other_V[first + low] = first + high
        left[high] -= 1 - left[low]
        if left[high] < 1:
            highs -= 1
            little[lows] = high
            lows += 1


def mix(state: np.uint64) -> np.uint64:
    """SplitMix64's bits (Steele et al. 2014) of a state."""
    bits = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def pull(e: np.ndarray, w: np.ndarray, h: np.ndarray, slope: float) -> None:
    """Move a context vector along h, and note in e where it would move h."""
    for d in range(len(h)):
        before = w[d]
        e[d] += slope * before
        w[d] = before + slope * h[d]


def count_pairs(
    ids_M: np.ndarray,
    low_M: np.ndarray,
    high_M: np.ndarray,
    part_V: np.ndarray,
    parts: int,
    counts: np.ndarray,
) -> None:
    """Add to ``counts[1 + b]`` the pairs of block b = part of the token x K + part of the
    neighbour."""
    for at in range(len(ids_M)):
        first = part_V[ids_M[at]] * parts + 1
        for near in range(low_M[at], high_M[at]):
            if near != at:
                counts[first + part_V[ids_M[near]]] += 1


def place_pairs(
    ids_M: np.ndarray,
    low_M: np.ndarray,
    high_M: np.ndarray,
    part_V: np.ndarray,
    parts: int,
    free: np.ndarray,
    pairs_P2: np.ndarray,
) -> None:
    """Write each pair to the next free place of its block."""
    for at in range(len(ids_M)):
        first = part_V[ids_M[at]] * parts
        for near in range(low_M[at], high_M[at]):
            if near != at:
                block = first + part_V[ids_M[near]]
                pairs_P2[free[block], 0] = ids_M[at]
                pairs_P2[free[block], 1] = ids_M[near]
                free[block] += 1


def compiled_learn() -> Callable[..., Any]:
    """One target and its negatives, with what it calls compiled into it."""
    multiplied, pulled = compiled(multiply, fastmath=True), compiled(pull, fastmath=True)
    mixed = compiled(mix)

    def learn(
        h: np.ndarray,
        e: np.ndarray,
        context_VD: np.ndarray,
        target: int,
        part: int,
        noise: tuple[np.ndarray, ...],
        negatives: int,
        rate: float,
        state: np.uint64,
    ) -> tuple[np.uint64, float]:
        """A step on the target's row and on each negative's in turn; e is where h should move.

        A negative that is the target is passed over. Returns the state of the draws and J.
        """
        starts, ids_V, share_V, other_V = noise
        first, size = starts[part], np.uint64(starts[part + 1] - starts[part])
        e[:] = 0
        w = context_VD[target]
        right = 1 / (1 + np.exp(-np.float64(multiplied(h, w))))
        pulled(e, w, h, np.float32(rate * (1 - right)))
        for _ in range(negatives):
            state += _STEP
            bits = mixed(state)
            place = first + np.int64(((bits >> np.uint64(32)) * size) >> np.uint64(32))
            if np.float32(bits & np.uint64(0xFFFFFF)) * np.float32(2**-24) >= share_V[place]:
                place = other_V[place]
            drawn = ids_V[place]
            if drawn != target:
                w = context_VD[drawn]
                real = 1 / (1 + np.exp(np.float64(multiplied(h, w))))
                pulled(e, w, h, np.float32(-rate * (1 - real)))
                right *= real
        return state, -np.log(max(right, _TINY))

    return compiled(learn)


def compiled_skip_gram() -> Callable[..., Any]:
    """The loop over blocks of pairs."""
    learned, mixed = compiled_learn(), compiled(mix)

    def skip_gram(
        chosen: np.ndarray,
        starts: np.ndarray,
        pairs_P2: np.ndarray,
        main_VD: np.ndarray,
        context_VD: np.ndarray,
        noise: tuple[np.ndarray, ...],
        negatives: int,
        rate: float,
        salt: np.uint64,
        values: np.ndarray,
    ) -> None:
        """Take the pairs of the chosen blocks in order; ``values[b]`` is block b's share of J."""
        parts, e = len(noise[0]) - 1, np.empty(main_VD.shape[1], np.float32)
        for block in chosen:
            state, total = mixed(salt + np.uint64(block)), 0.0
            for at in range(starts[block], starts[block + 1]):
                h, target = main_VD[pairs_P2[at, 0]], pairs_P2[at, 1]
                state, value = learned(
                    h, e, context_VD, target, block % parts, noise, negatives, rate, state
                )
                for d in range(len(h)):
                    h[d] += e[d]
                total += value
            values[block] = total

    return compiled(skip_gram)


def average(
    order_B: np.ndarray,
    ids_M: np.ndarray,
    low_M: np.ndarray,
    high_M: np.ndarray,
    main_VD: np.ndarray,
    h_BD: np.ndarray,
) -> None:
    """h: the mean of the rows of each token's neighbours; zero where it has none."""
    for to, at in enumerate(order_B):
        h = h_BD[to]
        h[:] = 0
        share = np.float32(1) / np.float32(max(1, high_M[at] - low_M[at] - 1))
        for near in range(low_M[at], high_M[at]):
            if near != at:
                w = main_VD[ids_M[near]]
                for d in range(len(h)):
                    h[d] += share * w[d]


def compiled_targets() -> Callable[..., Any]:
    """The loop over the tokens of a batch that are in some parts."""
    learned, mixed = compiled_learn(), compiled(mix)

    def targets(
        chosen: np.ndarray,
        bounds: np.ndarray,
        order_B: np.ndarray,
        ids_M: np.ndarray,
        low_M: np.ndarray,
        high_M: np.ndarray,
        h_BD: np.ndarray,
        context_VD: np.ndarray,
        noise: tuple[np.ndarray, ...],
        negatives: int,
        rate: float,
        salt: np.uint64,
        values: np.ndarray,
    ) -> None:
        """Learn the tokens ``order_B[bounds[p] : bounds[p + 1]]`` of each chosen part p in order.

        ``h_BD`` then holds where each of a token's neighbours should move; ``values[p]`` is part
        p's share of J.
        """
        e = np.empty(h_BD.shape[1], np.float32)
        for part in chosen:
            state, total = mixed(salt + np.uint64(part)), 0.0
            for row in range(bounds[part], bounds[part + 1]):
                at, h = order_B[row], h_BD[row]
                near = high_M[at] - low_M[at] - 1
                if near > 0:
                    state, value = learned(
                        h, e, context_VD, ids_M[at], part, noise, negatives, rate, state
                    )
                    for d in range(len(h)):
                        h[d] = e[d] / np.float32(near)
                    total += value
            values[part] = total

    return compiled(targets)


def spread(
    mine_K: np.ndarray,
    part_V: np.ndarray,
    order_B: np.ndarray,
    ids_M: np.ndarray,
    low_M: np.ndarray,
    high_M: np.ndarray,
    moves_BD: np.ndarray,
    main_VD: np.ndarray,
) -> None:
    """Move the rows of each token's neighbours that are in the parts that are mine."""
    for row, at in enumerate(order_B):
        for near in range(low_M[at], high_M[at]):
            if near != at and mine_K[part_V[ids_M[near]]]:
                w, move = main_VD[ids_M[near]], moves_BD[row]
                for d in range(len(w)):
                    w[d] += move[d]
