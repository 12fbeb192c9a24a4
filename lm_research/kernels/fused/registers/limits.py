"""How large a head each scan with U in registers can hold; needs no Triton."""

LARGEST = {"rnn": 128, "lstm": 64, "gru": 128}
"""Units of the largest head that spills no register, sm_80 to sm_100 (Triton 3.6.0 and 3.9.0)."""
LARGER = {("rnn", "bf16", "sm_80"): 256}
"""Where it is larger. Elsewhere these sizes spill 2 to 13 registers, but run all the same."""
ODD = {"rnn": 128, "lstm": 64, "gru": 64}
"""The same if hidden or head size is no multiple of 16."""


def largest_head(cell: str, kind: str, target: str, aligned: bool = True) -> int:
    """Units of the largest head, as ``limits.largest_head`` has it; kinds are fp16 and bf16."""
    if not aligned:
        return ODD[cell]
    return LARGER.get((cell, kind, target), LARGEST[cell])
