"""Scans as one Triton kernel each: a program holds U and walks over all time steps.

Imported at the first fused call, never before: ``TRITON_INTERPRET=1`` has to be set by then if the
kernels are to run on a CPU, in Triton's interpreter.
"""
