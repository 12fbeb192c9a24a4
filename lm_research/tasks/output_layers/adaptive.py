"""Adaptive softmax (Grave et al. 2017, https://arxiv.org/abs/1609.04309).

Shapes: N rows, H what the model gives, V vocabulary, K clusters; ``...`` any.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from lm_research.config.types import PositiveInt
from lm_research.tasks.head_loss import head_loss
from lm_research.tasks.output_layers.cutoffs import cheapest_cutoffs, shares, widths
from lm_research.tasks.output_layers.output_layer import OutputLayer, OutputSpec, log_softmax


class Adaptive(OutputLayer):
    """Frequent tokens at once; the others in clusters, each behind one output and a narrow map.

    With w of rank r by frequency, the first cut-off c and w in cluster k:

        p(w | y) = p_short(r | y)                              where r < c
        p(w | y) = p_short(c + k | y) p_k(w | y)               elsewhere
        p_short = softmax(S y + b),  p_k = softmax(W_k P_k y)

    It is normalised as it stands, so evaluation computes all of it and compares with any other
    layer. The weights' meaning is that of ``torch.nn.AdaptiveLogSoftmaxWithLoss``; ids need not be
    in order of frequency, and a cluster without a target has a gradient of zero rather than none
    (data-parallel processes add up gradients of every parameter). The order and the cut-offs are a
    part of the state, and a layer takes the shape of the one that is loaded into it.

    Args:
        cutoffs: rank of each cluster's first token; null: those of fewest outputs a row
            (:mod:`lm_research.tasks.output_layers.cutoffs`).
        clusters: at most, where cut-offs are chosen.
        factor: cluster k = 1, 2, ... is reached through H / factor^k dimensions.
    """

    needs_counts = True
    rank_V: Tensor
    cutoffs: Tensor

    def __init__(
        self,
        spec: OutputSpec,
        cutoffs: list[PositiveInt] | None = None,
        clusters: PositiveInt = 2,
        factor: PositiveInt = 4,
    ) -> None:
        super().__init__()
        _refuse(spec)
        self.spec, self.factor = spec, factor
        found_V = spec.frequencies()
        order_V = found_V.argsort(descending=True, stable=True)
        self.register_buffer("rank_V", order_V.argsort())
        self._counts_V = found_V[order_V].numpy() + 1e-12  # of what never occurs, too
        if cutoffs is None:
            cutoffs = cheapest_cutoffs(self._counts_V, clusters)
        self._make(cutoffs)

    def _make(self, cutoffs: Sequence[int]) -> None:
        """Draw the layers of these cut-offs."""
        spec, first = self.spec, int(cutoffs[0]) if cutoffs else 0
        _require_rising(cutoffs, spec.vocabulary_size)
        sizes = [b - a for a, b in pairwise([*cutoffs, spec.vocabulary_size])]
        self.register_buffer("cutoffs", torch.tensor(cutoffs))
        self.shortlist = nn.Linear(spec.input_size, first + len(sizes), bias=spec.bias)
        narrow = widths(spec.input_size, len(sizes), self.factor)
        self.clusters = nn.ModuleList(
            nn.Sequential(
                nn.Linear(spec.input_size, width, bias=False), nn.Linear(width, size, bias=False)
            )
            for width, size in zip(narrow, sizes, strict=True)
        )
        self.training_elements = float(self.shortlist.weight.numel()) + sum(
            share * sum(p.numel() for p in cluster.parameters())
            for share, cluster in zip(shares(self._counts_V, cutoffs), self.clusters, strict=True)
        )

    def log_probs(self, y: Tensor) -> Tensor:
        """See :class:`OutputLayer`."""
        short = log_softmax(self.shortlist(y))
        first = short.shape[-1] - len(self.clusters)
        parts = [short[..., :first]]
        for k, cluster in enumerate(self.clusters, first):
            parts.append(short[..., k : k + 1] + log_softmax(cluster(y)))
        return torch.cat(parts, -1).index_select(-1, self.rank_V)

    def rows_loss(self, y_NH: Tensor, targets_N: Tensor) -> Tensor:
        """-log p of the targets: the shortlist's part of every row, a cluster's of its own rows."""
        rank_N = self.rank_V[targets_N]
        first = self.shortlist.out_features - len(self.clusters)
        cluster_N = torch.bucketize(rank_N, self.cutoffs, right=True)  # 0: the shortlist
        short_N = torch.where(cluster_N == 0, rank_N, first - 1 + cluster_N)
        loss = head_loss(y_NH, self.shortlist.weight, self.shortlist.bias, short_N)
        for k, (cluster, cutoff) in enumerate(zip(self.clusters, self.cutoffs, strict=True), 1):
            rows_M = (cluster_N == k).nonzero()[:, 0]
            own = _cluster_loss(cluster, y_NH[rows_M], rank_N[rows_M] - cutoff)
            loss = loss + own * (len(rows_M) / len(y_NH))
        return loss

    def take_shape_of(self, state: dict[str, Tensor]) -> None:
        """The cut-offs of another layer: its weights are of other shapes."""
        found = state.get("cutoffs")
        if found is not None and not torch.equal(found.cpu(), self.cutoffs.cpu()):
            weight = self.shortlist.weight
            self._make(found.tolist())
            self.to(weight)

    def _load_from_state_dict(self, state_dict, prefix, *rest):  # type: ignore[no-untyped-def]
        own = {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}
        self.take_shape_of(own)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _cluster_loss(cluster: nn.Module, y_MH: Tensor, targets_M: Tensor) -> Tensor:
    narrow, last = cluster.children()
    assert isinstance(last, nn.Linear)
    if not len(targets_M):
        return last(narrow(y_MH)).sum()  # of nothing: zero, and so are its gradients
    return head_loss(narrow(y_MH), last.weight, None, targets_M)


def _refuse(spec: OutputSpec) -> None:
    if spec.shared_VD is not None:
        raise ValueError(
            "task.tie_weights=true: output_layer=adaptive has a matrix of another width for each "
            "cluster, and the vectorizer has one; allowed: false, or output_layer=full, sampled, "
            "nce"
        )
    if spec.label_smoothing:
        raise ValueError(
            f"task.label_smoothing={spec.label_smoothing}: output_layer=adaptive computes the "
            "clusters of the targets alone, and smoothing asks for all; allowed: 0.0, or "
            "output_layer=full"
        )
    if spec.vocabulary_size < 2:
        raise ValueError("output_layer=adaptive parts a vocabulary of two tokens at least")


def _require_rising(cutoffs: Sequence[int], vocabulary_size: int) -> None:
    bounds = [0, *cutoffs, vocabulary_size]
    if len(bounds) < 3 or any(a >= b for a, b in pairwise(bounds)):
        raise ValueError(
            f"output_layer.cutoffs={list(cutoffs)}: allowed are rising ranks from 1 to "
            f"{vocabulary_size - 1}, for a vocabulary of {vocabulary_size}; or null"
        )
