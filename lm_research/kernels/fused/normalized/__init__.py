"""Scans of cells with layer normalization, as :mod:`lm_research.kernels.fused` has the others."""
