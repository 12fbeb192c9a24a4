"""Where an adaptive softmax parts the vocabulary, by what a row costs on average.

Ids are in order of frequency here. The first k of them are the shortlist; the others are parted by
cut-offs into J clusters of k_1, k_2, ... tokens. A row always meets the shortlist, with one output
more for each cluster, and a cluster with the probability p_i that its target is in there:

    outputs a row = k + J + sum over i of p_i k_i

which is the cost of Grave et al. (2017, https://arxiv.org/abs/1609.04309, section 4.2) where
matrices are large enough for a product to take time by its size. As there, that clusters are read
through fewer dimensions has no say: it would make the shortlist, which has them all, very small.
"""

from collections.abc import Sequence

import numpy as np

POINTS = 256
"""Cut-offs are sought among so many ranks in geometric steps; of few ids, among all."""


def widths(input_size: int, clusters: int, factor: int) -> list[int]:
    """Dimensions through which each cluster is read: H / factor^i, i = 1, 2, ..., at least 1."""
    return [max(input_size // factor**i, 1) for i in range(1, clusters + 1)]


def shares(counts_V: np.ndarray, cutoffs: Sequence[int]) -> list[float]:
    """p_i of each cluster.

    Args:
        counts_V: of each id, in order of frequency.
        cutoffs: first rank of each cluster, rising, each within [1, V - 1].
    """
    sums = np.add.reduceat(counts_V, [0, *cutoffs])
    return [float(one / sums.sum()) for one in sums[1:]]


def outputs(counts_V: np.ndarray, cutoffs: Sequence[int]) -> float:
    """Outputs a row, on average (see the module)."""
    sizes = np.diff([*cutoffs, len(counts_V)])
    return cutoffs[0] + len(cutoffs) + float(np.dot(shares(counts_V, cutoffs), sizes))


def cheapest_cutoffs(counts_V: np.ndarray, most_clusters: int) -> list[int]:
    """The cut-offs of fewest :func:`outputs`, of up to ``most_clusters``, by dynamic programming.

    Over the clusters from the last: the cheapest way to part all ids from a rank on is a first cut
    and the cheapest way to part the rest into one cluster less.
    """
    size = len(counts_V)
    points_P = np.unique(np.geomspace(1, size - 1, POINTS).round().astype(int))
    if size <= POINTS:
        points_P = np.arange(1, size)
    ends_E = np.append(points_P, size)
    mass_E = np.append(0.0, np.cumsum(counts_V / counts_V.sum()))[ends_E]
    sizes_PE = ends_E[None] - points_P[:, None]
    cost_PE = (mass_E[None] - mass_E[:-1, None]) * sizes_PE + 1
    cost_PE[sizes_PE <= 0] = np.inf
    rest_E = np.append(np.full(len(points_P), np.inf), 0.0)  # behind the last id is nothing
    chosen = []
    for _ in range(most_clusters):
        whole_PE = cost_PE + rest_E[None]
        chosen.append(whole_PE.argmin(1))
        rest_E = np.append(whole_PE.min(1), 0.0)
    return _followed(points_P, chosen[::-1], int((points_P + rest_E[:-1]).argmin()))


def _followed(points_P: np.ndarray, chosen: Sequence[np.ndarray], at: int) -> list[int]:
    """The cut-offs that the choices lead to from point ``at``."""
    cutoffs = []
    for best_P in chosen:
        cutoffs.append(int(points_P[at]))
        at = int(best_P[at])
        if at == len(points_P):
            break
    return cutoffs
