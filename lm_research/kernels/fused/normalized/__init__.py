"""Scans of cells with layer normalization, as :mod:`lm_research.kernels.fused` has the others."""

from lm_research.kernels.fused.normalized import elman, gru, lstm

__all__ = ["elman", "gru", "lstm"]
