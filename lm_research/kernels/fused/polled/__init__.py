"""Scans over several processors whose states are polled until they are there, in Gluon.

As in the scans of ``fused.spread`` each program owns some units of a head and all programs of a
group exchange states, step by step, through the GPU's second-level cache. There a counter says that
a state is complete: a step costs the way of the state, of the counter, and back. Here every word
says for itself whether it is there (``exchange``), U lies in registers, the exchange is laid out as
the tensor cores take it, and a step has one barrier (``products``).

Compiled ahead of time and executed in the PTX interpreter of the benchmarks, never run on a GPU:
dispatch does not choose them until they have been timed on one. NVIDIA from sm_80 on, 16 bits and
float32 (as one product of TF32 or three), without state dropout, zoneout and recomputed gates.
"""
