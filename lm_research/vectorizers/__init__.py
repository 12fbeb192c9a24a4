"""Vectorization as an axis: modules from token ids to vectors that never see the future."""
