"""Hashes of many short runs of characters, by a few array operations.

A run of the code points c_0 .. c_{L-1} has the hash

    h = mix(sum_k c_k B^k mod 2^64),    B odd, mix: SplitMix64's finish.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np

_BASE = 0xD1342543DE82EF95
_INVERSE = pow(_BASE, -1, 1 << 64)
PIECE = 1 << 15
"""Characters that are hashed together: their products stay in the processor's cache."""


def run_hashes(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """A hash of each run of code points in an array.

    Args:
        values: code points [M], of any unsigned type.
        starts: where the runs begin, ascending; what stands between one and the next, if it is no
            part of it, must be zeros, which change no hash.

    Returns:
        uint64, one a run.
    """
    hashes = np.empty(len(starts), np.uint64)
    cuts = np.searchsorted(starts, np.arange(PIECE, len(values), PIECE)).tolist()
    for first, last in pairwise(dict.fromkeys([0, *cuts, len(starts)])):
        begin = starts[first]
        end = starts[last] if last < len(starts) else len(values)
        powers, inverses = _powers(int(end - begin))
        products = values[begin:end].astype(np.uint64)
        products *= powers[: end - begin]
        offsets = starts[first:last] - begin
        hashes[first:last] = np.add.reduceat(products, offsets) * inverses[offsets]
    return _mixed(hashes)


def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """At least so many powers of the base and of its inverse, mod 2^64."""
    return _powers_of(1 << max(count - 1, PIECE).bit_length())


@lru_cache(maxsize=2)
def _powers_of(count: int) -> tuple[np.ndarray, np.ndarray]:
    factors = np.ones((2, count), np.uint64)
    factors[0, 1:], factors[1, 1:] = _BASE, _INVERSE
    powers, inverses = np.cumprod(factors, axis=1, dtype=np.uint64)
    return powers, inverses


def _mixed(x_N: np.ndarray) -> np.ndarray:
    """SplitMix64's finish: every bit of a sum reaches all 64."""
    x_N = (x_N ^ (x_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x_N = (x_N ^ (x_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x_N ^ (x_N >> np.uint64(31))
