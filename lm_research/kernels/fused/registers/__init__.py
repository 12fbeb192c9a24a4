"""Scans whose U lies in registers from the first step to the last, in Triton's Gluon dialect.

Plain Triton keeps U in shared memory and reads all of it at every step. Here a warp owns some
columns of every gate, holds them as the right operand of ``mma.sync.m16n8k16``, and reads h alone:
16 rows, by way of shared memory, double-buffered, one barrier a step. Gates are read from global
memory straight into the layout of the sums, a step ahead where registers allow it.

Compiled ahead of time and executed in the PTX interpreter of the benchmarks, never run on a GPU:
dispatch does not choose them until they have been timed on one. NVIDIA from sm_80 on, float16 and
bfloat16, without state dropout, zoneout and recomputed gates.
"""
