"""Bags of whole documents, sparse: what is stored and added up are the tokens that occur.

Shapes: B documents, N tokens of a document, M distinct tokens of all documents, V columns, P
projection.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lm_research.vectorizers.tables import read_bags


class Bags(NamedTuple):
    """Document b holds ``ids_M[offsets[b] : offsets[b + 1]]`` (sorted) with those ``weights_M``.

    ``offsets`` has B + 1 numbers; all ids are int64.
    """

    ids_M: Tensor
    weights_M: Tensor
    offsets: Tensor

    def csr(self, columns: int) -> Tensor:
        """The documents as rows of a sparse CSR matrix (B x ``columns``)."""
        size = (len(self.offsets) - 1, columns)
        return torch.sparse_csr_tensor(
            self.offsets, self.ids_M, self.weights_M, size, check_invariants=False
        )

    def project(self, table_VP: Tensor) -> Tensor:
        """x_BP, the weighted sums of the table's rows; no column beyond theirs is touched."""
        weights_M = self.weights_M.to(table_VP.dtype)
        return read_bags(self.ids_M, table_VP, self.offsets, weights_M)

    def segments(self) -> Tensor:
        """The document (int64) of each of the M tokens."""
        lengths_B = self.offsets.diff()
        return torch.arange(len(lengths_B), device=lengths_B.device).repeat_interleave(lengths_B)


def count(documents: Sequence[Tensor], weights: Sequence[Tensor] | None, columns: int) -> Bags:
    """Each document's distinct tokens, with how often they occur or the sum of their weights.

    Args:
        documents: ids_N each; negative ids are no tokens.
        weights: as many numbers each (float), or None for ones.
        columns: V.
    """
    lengths = torch.tensor([len(d) for d in documents], dtype=torch.int64)
    device = documents[0].device if documents else None
    ids = torch.cat(list(documents)) if documents else torch.empty(0, dtype=torch.int64)
    document = torch.arange(len(documents)).repeat_interleave(lengths).to(device)
    real = ids >= 0
    keys, inverse, counts = (document * columns + ids)[real].unique(
        return_inverse=True, return_counts=True
    )
    sums = counts.to(torch.get_default_dtype())
    if weights is not None:
        sums = torch.zeros_like(sums).index_add_(
            0, inverse, torch.cat(list(weights))[real].to(sums)
        )
    held_B = torch.bincount(keys // columns, minlength=len(documents))
    return Bags(keys % columns, sums, F.pad(held_B.cumsum(0), (1, 0)))


def beside(left: Bags, right: Bags, columns: int) -> Bags:
    """Both bags of each document in one, the right one's ids after the left one's ``columns``."""
    document = torch.cat([left.segments(), right.segments()])
    order = document.argsort(stable=True)
    ids, weights = (
        torch.cat([left.ids_M, right.ids_M + columns]),
        torch.cat([left.weights_M, right.weights_M]),
    )
    return Bags(ids[order], weights[order], left.offsets + right.offsets)


def averaged(documents: Sequence[Tensor], table_VD: Tensor) -> Tensor:
    """x_BD, the mean of each document's rows; zero for an empty one."""
    bags = count(documents, None, len(table_VD))
    sizes_B = torch.stack([(d >= 0).sum() for d in documents]).clamp(min=1)
    return bags.project(table_VD) / sizes_B[:, None]
