"""One-hot vectors. Shapes: B batch, T time, N tokens of a document, V vocabulary."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lm_research.config.types import PositiveInt
from lm_research.kernels import TableRows
from lm_research.kernels.tracing import is_traced
from lm_research.vectorizers.checks import check_setting
from lm_research.vectorizers.document_bags import count
from lm_research.vectorizers.vectorizer import Vectorizer
from lm_research.vectorizers.window import dense_bag


class OneHot(Vectorizer):
    """x_t[v] = 1 if v is the token at t, else 0; D = V.

    A first layer's W x_t is then the look-up of a column of W: the same functions, and the same
    gradients, as a learned embedding of the layer's own width.
    """

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__(vocabulary_size)
        check_setting("vocabulary_size", vocabulary_size, PositiveInt)
        self.dim = vocabulary_size

    def forward(self, ids_BT: Tensor) -> Tensor:
        """x_BTV, zero where there is no token."""
        ones_BT = torch.ones(ids_BT.shape, device=ids_BT.device)
        return dense_bag(ids_BT[..., None], ones_BT[..., None], self.vocabulary_size)

    def rows(self, ids_BT: Tensor) -> TableRows | None:
        """Of the identity, whose product with W is W itself; none where it is the larger one."""
        if is_traced() or self.vocabulary_size > ids_BT.numel():
            return None
        return TableRows(torch.eye(self.vocabulary_size, device=ids_BT.device), ids_BT)

    def document(self, ids_N: Tensor) -> Tensor:
        """x_V, the share of each token in the document (the mean of its one-hot vectors)."""
        real_N = (ids_N >= 0).to(torch.get_default_dtype())
        return dense_bag(ids_N, real_N / real_N.sum().clamp(min=1), self.vocabulary_size)

    def documents(self, documents: Sequence[Tensor]) -> Tensor:
        """x_BV as a sparse CSR matrix."""
        sizes = [(ids_N >= 0).sum().clamp(min=1) for ids_N in documents]
        ones = torch.ones((), device=documents[0].device)
        shares = [(ones / n).expand(len(d)) for d, n in zip(documents, sizes, strict=True)]
        return count(documents, shares, self.vocabulary_size).csr(self.vocabulary_size)
