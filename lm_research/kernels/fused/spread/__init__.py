"""Scans over several processors, for heads that one cannot hold.

Each program owns some units of a head: their rows of U stay with it, it computes their state, and
all programs of a group (a batch tile of a head) exchange states, step by step, through the GPU's
second-level cache. Not yet run on a GPU: checked in Triton's interpreter, one step a launch, and
compiled ahead of time.
"""
