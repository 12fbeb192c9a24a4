"""How large a head each fused scan can hold, by cell, type and chip; needs no Triton.

Measured by compiling ahead of time (``python -m lm_research.kernels.fused.ahead_of_time``, Triton
3.9.0): the largest power of two at which neither direction spills registers or outgrows shared
memory. What the compiler aborts on (an LSTM's plain float32 products on sm_90 from 32 units on)
counts as too large.
"""

from typing import Literal

CELLS = ("rnn", "lstm", "gru")
TYPES = ("fp16", "bf16", "tf32x3", "tf32", "ieee")
"""Types of the inputs; the last three are float32 by how products are taken."""
SHARED = {"sm_80": 166_912, "sm_90": 232_448, "sm_100": 232_448, "gfx942": 65_536}
"""Bytes of shared memory that a program may have."""

# Units of the largest head: (of sizes that are multiples of 16, of other sizes).
_NVIDIA = {
    ("rnn", "half"): (256, 128),
    ("rnn", "tf32"): (64, 64),
    ("rnn", "ieee"): (64, 64),
    ("gru", "half"): (128, 64),
    ("gru", "tf32"): (64, 64),
    ("gru", "ieee"): (64, 16),
    ("lstm", "half"): (128, 64),
    ("lstm", "tf32"): (64, 32),
    ("lstm", "ieee"): (16, 16),
}
_AMD = {
    ("rnn", "half"): (64, 64),
    ("rnn", "ieee"): (64, 64),
    ("gru", "half"): (32, 32),
    ("gru", "ieee"): (32, 32),
    ("lstm", "half"): (32, 32),
    ("lstm", "ieee"): (32, 32),
}
_GROUPS = {"fp16": "half", "bf16": "half", "tf32x3": "tf32", "tf32": "tf32", "ieee": "ieee"}


def largest_head(
    cell: Literal["rnn", "lstm", "gru"],
    kind: str,
    target: str,
    aligned: bool = True,
    recompute: bool = False,
) -> int:
    """Units of the largest head, 0 if none fits.

    Args:
        kind: one of :data:`TYPES`.
        target: a chip of :data:`SHARED`.
        aligned: whether hidden and head size are multiples of 16.
        recompute: whether the backward scan makes the gates anew, for which it holds U twice.
    """
    table = _AMD if target.startswith("gfx") else _NVIDIA
    size = table.get((cell, _GROUPS[kind]), (0, 0))[0 if aligned else 1]
    return size // 2 if recompute and cell != "rnn" and size > 16 else size
