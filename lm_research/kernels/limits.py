"""How large a head each fused scan can hold, by cell, type and chip; needs no Triton.

Measured by compiling ahead of time (``python -m lm_research.kernels.fused.ahead_of_time``, Triton
3.6.0 and 3.9.0): the largest power of two at which neither direction spills registers or outgrows
shared memory. (With layer normalization in float32 the backward scans spill up to 8 registers if
3.6.0 compiles them.) What the compiler aborts on (an LSTM's plain float32 products on sm_90 from 32
units on) counts as too large.
"""

CELLS = ("rnn", "lstm", "gru")
LAYER_NORM_CELLS = ("layer_norm_rnn", "layer_norm_lstm", "layer_norm_gru")
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
    ("gru", "ieee"): (16, 16),
    ("lstm", "half"): (128, 64),
    ("lstm", "tf32"): (32, 32),
    ("lstm", "ieee"): (16, 16),
    ("layer_norm_rnn", "half"): (256, 128),
    ("layer_norm_rnn", "tf32"): (64, 64),
    ("layer_norm_rnn", "ieee"): (64, 64),
    ("layer_norm_gru", "half"): (64, 64),
    ("layer_norm_gru", "tf32"): (32, 32),
    ("layer_norm_gru", "ieee"): (16, 16),
    ("layer_norm_lstm", "half"): (64, 64),
    ("layer_norm_lstm", "tf32"): (32, 32),
}
_AMD = {
    ("rnn", "half"): (64, 64),
    ("rnn", "ieee"): (64, 64),
    ("gru", "half"): (32, 32),
    ("gru", "ieee"): (32, 32),
    ("lstm", "half"): (32, 32),
    ("lstm", "ieee"): (32, 32),
    ("layer_norm_rnn", "half"): (64, 64),
    ("layer_norm_rnn", "ieee"): (64, 32),
    ("layer_norm_gru", "half"): (32, 32),
    ("layer_norm_gru", "ieee"): (32, 32),
    ("layer_norm_lstm", "half"): (32, 32),
    ("layer_norm_lstm", "ieee"): (32, 32),
}
_GROUPS = {"fp16": "half", "bf16": "half", "tf32x3": "tf32", "tf32": "tf32", "ieee": "ieee"}


def least_block(cell: str, kind: str, masks: bool = False) -> int:
    """Columns of the smallest tile: normalized scans of 16 spill where those of 32 do not."""
    wide = _GROUPS[kind] == "half" or (_GROUPS[kind] == "tf32" and not masks)
    return 32 if wide and cell in ("layer_norm_lstm", "layer_norm_gru") else 16


def largest_head(
    cell: str,
    kind: str,
    target: str,
    aligned: bool = True,
    *,
    masks: bool = False,
    recompute: bool = False,
) -> int:
    """Units of the largest head, 0 if none fits.

    Args:
        cell: one of :data:`CELLS` or :data:`LAYER_NORM_CELLS`.
        kind: one of :data:`TYPES`.
        target: a chip of :data:`SHARED`.
        aligned: whether hidden and head size are multiples of 16.
        masks: with state dropout or zoneout, which take registers: half the units in float32, and
            with layer normalization.
        recompute: gates in the backward scan, which holds U straight and turned: half the units.
    """
    group, table = _GROUPS[kind], _AMD if target.startswith("gfx") else _NVIDIA
    most = table.get((cell, group), (0, 0))[0 if aligned else 1]
    short = group != "half" or cell in LAYER_NORM_CELLS
    tight = (masks and short) or (recompute and cell in ("gru", "lstm"))
    return max(most // 2, min(most, 16)) if tight else most  # 16 is the least tile there is
