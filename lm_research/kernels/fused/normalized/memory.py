"""Memory for what these scans give beside states: statistics, and sums over a tile's rows."""

import triton
from torch import Tensor

from lm_research.kernels.fused.launch import BLOCK_B, Launch


def per_head(launch: Launch, like: Tensor) -> Tensor:
    """(B, T, P): a number for every step and head of every direction, in ``like``'s type."""
    heads = launch.walk.directions * launch.hidden // launch.head_size
    return like.new_empty(launch.batch, launch.steps, heads)


def per_tile(launch: Launch, like: Tensor) -> Tensor:
    """A row of ``like``'s size for every batch tile; their sum is the same at every run."""
    return like.new_empty(triton.cdiv(launch.batch, BLOCK_B), *like.shape)
