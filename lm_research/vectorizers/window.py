"""Arithmetic on the last n tokens, shared by the bags.

Shapes: B batch, T time, n tokens of a window (oldest first), V vocabulary, P projection.
``...`` stands for any leading dimensions. Ids are int64, ``NOTHING`` (any negative id) where
there is no token.

Every result at t is computed from the window of t alone, in an order that depends on nothing
else: no sums over the whole stream whose rounding would grow with t or with where it was cut.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lm_research.kernels.tracing import is_traced
from lm_research.vectorizers.tables import is_sparse, read, read_bags
from lm_research.vectorizers.vectorizer import NOTHING


def windows(ids_BT: Tensor, window: int) -> Tensor:
    """ids_BTn: the ``window`` last ids at every position, its own included (a view)."""
    padded = F.pad(ids_BT, (window, 0), value=NOTHING)
    if is_traced():  # ONNX unfolds no axis that may have any size
        steps_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
        return padded[:, steps_T[:, None] + torch.arange(1, window + 1, device=ids_BT.device)]
    return padded.unfold(1, window, 1)[:, 1:]


def distinct(ids: Tensor) -> tuple[Tensor, Tensor]:
    """The bag in every window: ids (..., n) sorted, and how often each occurs (..., n).

    A token that occurs c times has the count c at one of its places and 0 at the others, so that
    sums over places are sums over distinct tokens. O(n log n) a window.
    """
    ids = ids.sort(-1).values
    differs = ids[..., 1:] != ids[..., :-1]
    edge = torch.ones_like(ids[..., :1], dtype=torch.bool)
    starts, ends = torch.cat([edge, differs], -1), torch.cat([differs, edge], -1)
    place = torch.arange(ids.shape[-1], device=ids.device)
    start = _largest_so_far(torch.where(starts, place, 0))
    counts = torch.where(ends & (ids >= 0), place - start + 1, 0)
    return ids, counts.to(torch.get_default_dtype())


def _largest_so_far(x: Tensor) -> Tensor:
    """Along the last dimension, of numbers that are not negative."""
    if not is_traced():
        return x.cummax(-1).values
    place = torch.arange(x.shape[-1], device=x.device)  # ONNX has no such operator: n squared
    return torch.where(place <= place[:, None], x[..., None, :], 0).amax(-1)


def dense_bag(ids: Tensor, weights: Tensor, vocabulary_size: int) -> Tensor:
    """b (..., V) with b[v] = sum of the weights (..., n) at the places whose id is v."""
    bag = weights.new_zeros((*ids.shape[:-1], vocabulary_size))
    return bag.scatter_add_(-1, ids.clamp(min=0), torch.where(ids >= 0, weights, 0))


def projected_bag(ids: Tensor, weights: Tensor, table_VP: Tensor) -> Tensor:
    """b W (..., P) for the b of :func:`dense_bag`, without b: n rows of W gathered and summed."""
    if is_sparse(table_VP):
        return _sparse_bag(ids, weights, table_VP)
    weights = torch.where(ids >= 0, weights, 0).to(table_VP.dtype)
    sums = F.embedding_bag(
        ids.clamp(min=0).flatten(0, -2),
        table_VP,
        mode="sum",
        per_sample_weights=weights.flatten(0, -2),
    )
    return sums.view(*ids.shape[:-1], table_VP.shape[1])


def _sparse_bag(ids: Tensor, weights: Tensor, table_VP: Tensor) -> Tensor:
    real = ids >= 0
    offsets = F.pad(real.sum(-1).flatten().cumsum(0), (1, 0))
    weights_M = weights.expand(ids.shape)[real].to(table_VP.dtype)
    sums = read_bags(ids[real], table_VP, offsets, weights_M)
    return sums.view(*ids.shape[:-1], table_VP.shape[1])


def look_up(ids: Tensor, table_VP: Tensor) -> Tensor:
    """The table's rows (..., P) at ids (...), zero where there is no token."""
    # The test costs a CPU nothing, and would make a GPU wait; a pass over the rows is the reverse.
    # A graph that is written out does without the test.
    quick = ids.device.type == "cpu" and not is_traced()
    if quick and (not ids.numel() or ids.min() >= 0):
        return read(ids, table_VP)
    if is_sparse(table_VP):  # on a CPU
        rows = read(ids[ids >= 0], table_VP)
        return rows.new_zeros(*ids.shape, table_VP.shape[1]).index_put((ids >= 0,), rows)
    rows = F.embedding(ids.clamp(min=0), table_VP)
    return rows.masked_fill((ids < 0)[..., None], 0)


def running_sum(x_BTP: Tensor, window: int, decay: float = 1.0) -> Tensor:
    """y_t = sum over 0 <= k < window of decay^k x_{t-k}, with x before the start zero.

    Sums of 1, 2, 4, ... steps are built by doubling, S_2m(t) = S_m(t) + decay^m S_m(t-m), and
    those of the window's binary digits are added up: O(T P log n) operations, and no difference
    of long cumulative sums, whose rounding drifts.
    """
    if is_traced():  # no function of its own in a graph that is written out
        return _RunningSum.forward(None, x_BTP, window, decay, False)
    return x_BTP if window == 1 else _RunningSum.apply(x_BTP, window, decay, False)


class _RunningSum(torch.autograd.Function):
    """Its transpose is the same sum over the steps to come, so nothing needs to be saved."""

    @staticmethod
    def forward(ctx: Any, x_BTP: Tensor, window: int, decay: float, reverse: bool) -> Tensor:
        if ctx is not None:
            ctx.settings = (window, decay, not reverse)
        total: Tensor | None = None
        done, span = 0, 1
        while True:
            if window & span:
                total = x_BTP if total is None else _add(total, x_BTP, done, decay**done, reverse)
                done += span
            if done == window:
                assert total is not None
                return total
            x_BTP = _add(x_BTP, x_BTP, span, decay**span, reverse)
            span *= 2

    @staticmethod
    def backward(ctx: Any, gradient_BTP: Tensor) -> tuple[Tensor, None, None, None]:
        return _RunningSum.apply(gradient_BTP, *ctx.settings), None, None, None


def _add(a_BTP: Tensor, b_BTP: Tensor, steps: int, weight: float, reverse: bool) -> Tensor:
    """a + weight * (b delayed by so many steps, or advanced by them)."""
    if is_traced():  # forward alone, for any T
        return a_BTP + weight * F.pad(b_BTP, (0, 0, steps, 0))[:, : b_BTP.shape[1]]
    total, keep = a_BTP.clone(), b_BTP.shape[1] - steps
    if keep > 0 and reverse:
        total[:, :keep].add_(b_BTP[:, steps:], alpha=weight)
    elif keep > 0:
        total[:, steps:].add_(b_BTP[:, :keep], alpha=weight)
    return total
