"""Bags of the last tokens: what was said, not in which order.

Shapes: B batch, T time, n tokens of a window (oldest first), V vocabulary, P projection.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from lm_research.config.types import PositiveInt, Probability
from lm_research.vectorizers.checks import check_choice, check_setting
from lm_research.vectorizers.document_bags import Bags, count
from lm_research.vectorizers.window import distinct, look_up, running_sum
from lm_research.vectorizers.window_bag import WindowBag

Weighting = Literal["count", "binary", "mean", "decay"]


class BagOfWords(WindowBag):
    """b_t[v] = sum over 0 <= k < n of g(k) [x_{t-k} = v], with the token at t itself k = 0.

    g(k) is 1 (count), 1 / the number of tokens in the window (mean: n, fewer at the start of a
    stream), or decay^k (decay: a truncated fixed-size ordinally-forgetting encoding, Zhang et al.
    2015, arXiv:1505.01504); binary is min(1, count). With ``projection``, x_t = b_t W is computed
    as the weighted sum of rows of W; with ``window=1`` it is exactly a learned embedding.

    ``document`` is the same bag with the whole document as its window.

    Args:
        vocabulary_size: V.
        window: n, in tokens; ``context`` is n - 1.
        weighting: how occurrences are weighed.
        decay: weight of a token relative to the one after it; read by ``weighting="decay"`` only.
        projection: P, width of a learned projection, or None for V-wide x.
        with_last: append the last token's own vector, doubling D.
    """

    def __init__(
        self,
        vocabulary_size: int,
        window: PositiveInt = 8,
        weighting: Literal["count", "binary", "mean", "decay"] = "count",
        decay: Probability = 0.7,
        projection: PositiveInt | None = None,
        with_last: bool = False,
    ) -> None:
        check_setting("window", window, PositiveInt)
        check_choice("weighting", weighting, Weighting)
        check_setting("decay", decay, Probability)
        norm = _weights(weighting, decay, window).square().sum().sqrt().item()
        # x_t of n different tokens starts with variance 1, whatever the window.
        super().__init__(vocabulary_size, window, projection, with_last, projection_std=1 / norm)
        self.weighting = weighting
        self.decay = decay

    def weigh(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        if self.weighting == "binary":
            ids, counts = distinct(ids)
            return ids, counts.clamp(max=1)
        weights = _weights(self.weighting, self.decay, ids.shape[-1]).to(ids.device)
        if self.weighting == "mean":
            weights = 1 / (ids >= 0).sum(-1, keepdim=True).clamp(min=1).to(weights.dtype)
        return ids, weights.expand(ids.shape)

    def bags(self, documents: Sequence[Tensor]) -> Bags:
        """See the base class."""
        if self.weighting in ("count", "binary"):
            bags = count(documents, None, self.vocabulary_size)
            counts_M = bags.weights_M.clamp(max=1) if self.weighting == "binary" else bags.weights_M
            return bags._replace(weights_M=counts_M)
        weights = [self.weigh(ids_N)[1] for ids_N in documents]
        return count(documents, weights, self.vocabulary_size)

    def bag_each(self, ids_BT: Tensor) -> Tensor:
        """See the base class. Weights that depend on k alone make a projected bag a running sum."""
        if self.projection is None or self.weighting == "binary":
            return super().bag_each(ids_BT)
        decay = self.decay if self.weighting == "decay" else 1.0
        sum_BTP = running_sum(look_up(ids_BT, self.projection), self.window, decay)
        if self.weighting != "mean":
            return sum_BTP
        real_BT1 = (ids_BT >= 0).to(sum_BTP.dtype)[..., None]
        return sum_BTP / running_sum(real_BT1, self.window).clamp(min=1)


def _weights(weighting: Weighting, decay: float, window: int) -> Tensor:
    """g(k) of a full window's tokens, oldest (k = n - 1) first."""
    if weighting == "decay":
        return decay ** torch.arange(window - 1, -1, -1, dtype=torch.get_default_dtype())
    return torch.full((window,), 1 / max(window, 1) if weighting == "mean" else 1.0)
