"""Functions that PTX lets a chip approximate.

Those within two units in the last place are numpy's float32 functions; the one that is allowed more
is as wrong as it may be.
"""

from collections.abc import Callable

import numpy as np

COARSE = np.int32(~0xFFF)
"""A float32's sign, exponent and 11 of its digits."""


def tanh(x: np.ndarray) -> np.ndarray:
    """Cut off after 11 digits: up to 2^-11 too small, which is the most that PTX allows."""
    return (np.tanh(x).view(np.int32) & COARSE).view(np.float32)


APPROXIMATE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ex2": np.exp2,
    "lg2": np.log2,
    "tanh": tanh,
    "rcp": lambda a: np.float32(1) / a,
    "sqrt": np.sqrt,
    "rsqrt": lambda a: np.float32(1) / np.sqrt(a),
}
