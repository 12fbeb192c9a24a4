"""What bag of words and TF-IDF share: a weighted bag of the last n tokens.

Shapes: B batch, T time, n tokens of a window, V vocabulary, P projection, D vector size.
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lm_research.config.types import PositiveInt
from lm_research.vectorizers.checks import check_setting
from lm_research.vectorizers.document_bags import Bags, beside, count
from lm_research.vectorizers.tables import row_table
from lm_research.vectorizers.vectorizer import NOTHING, Vectorizer
from lm_research.vectorizers.window import dense_bag, look_up, projected_bag, windows


class WindowBag(Vectorizer):
    """x_t = b_t, or b_t W, where b_t[v] weighs the occurrences of v in x_{t-n+1} .. x_t.

    A subclass says how by :meth:`weigh`. The window includes the token at t itself, since x_t
    serves to predict t+1.

    Args:
        vocabulary_size: V.
        window: n.
        projection: P, the columns of a learned W_VP; the V-wide b_t is then never built. None
            leaves b_t as it is.
        with_last: append the vector of the last token alone, which the bag cannot tell from
            the others: its one-hot vector, or its row of a second learned V x P matrix.
        projection_std: standard deviation of W at the start.
        columns: of b_t; None: V.
    """

    def __init__(
        self,
        vocabulary_size: int,
        window: PositiveInt,
        projection: PositiveInt | None,
        with_last: bool,
        projection_std: float,
        columns: PositiveInt | None = None,
    ) -> None:
        super().__init__(vocabulary_size)
        self.columns = columns or vocabulary_size
        check_setting("vocabulary_size", vocabulary_size, PositiveInt)
        check_setting("window", window, PositiveInt)
        if projection is not None:
            check_setting("projection", projection, PositiveInt)
        self.window = window
        self.with_last = with_last
        self.context = window - 1
        width = projection or self.columns
        self.dim = width * (1 + with_last)
        self.projection = self._table(projection, projection_std)
        self.last = self._table(projection, 1.0) if with_last else None

    def _table(self, columns: int | None, std: float) -> nn.Parameter | None:
        if columns is None:
            return None
        return row_table(torch.randn(self.columns, columns) * std)

    @abstractmethod
    def weigh(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The bag in windows of any length n: ids (..., n) in any order, weights (..., n).

        Weights of one id add up; those where ids are ``NOTHING`` are ignored.
        """

    def forward(self, ids_BT: Tensor) -> Tensor:
        """x_BTD, the bag of the last ``window`` tokens at every position."""
        return self._append_last(self.bag_each(ids_BT), ids_BT)

    def document(self, ids_N: Tensor) -> Tensor:
        """x_D, the bag of the whole document (one window of N tokens)."""
        ids_1N = ids_N[None] if ids_N.numel() else ids_N.new_full((1, 1), NOTHING)
        return self._append_last(self._bag(ids_1N), ids_1N[:, -1])[0]

    @abstractmethod
    def bags(self, documents: Sequence[Tensor]) -> Bags:
        """What :meth:`weigh` gives of whole documents (ids_N each), distinct tokens only."""

    def documents(self, documents: Sequence[Tensor]) -> Tensor:
        """x_BD of B documents: dense with a projection; else sparse CSR, V columns never built."""
        bags = self.bags(documents)
        if self.projection is None:
            return self._sparse(bags, documents)
        bag_BP = bags.project(self.projection)
        nothing = [d.new_full((1,), NOTHING) for d in documents]
        ends = [torch.cat([n, d])[-1] for n, d in zip(nothing, documents, strict=True)]
        return self._append_last(bag_BP, torch.stack(ends)) if self.with_last else bag_BP

    def _sparse(self, bags: Bags, documents: Sequence[Tensor]) -> Tensor:
        bag_BV = bags.csr(self.columns)
        if not self.with_last:
            return bag_BV
        last = count([d[-1:] for d in documents], None, self.columns)
        return beside(bags, last, self.columns).csr(self.dim)

    def output_weight(self) -> Tensor | None:
        """W_VP where x is b W and nothing else: with all weights 1, the tied log-bilinear model."""
        return None if self.with_last or self.columns > self.vocabulary_size else self.projection

    def bag_each(self, ids_BT: Tensor) -> Tensor:
        """b_t or b_t W at every position. Subclasses may know a quicker way to the same."""
        return self._bag(windows(ids_BT, self.window))

    def _bag(self, ids: Tensor) -> Tensor:
        ids, weights = self.weigh(ids)
        if self.projection is None:
            return dense_bag(ids, weights, self.columns)
        return projected_bag(ids, weights, self.projection)

    def _append_last(self, bag: Tensor, ids: Tensor) -> Tensor:
        if not self.with_last:
            return bag
        if self.last is None:
            ones = torch.ones_like(ids, dtype=bag.dtype)
            last = dense_bag(ids[..., None], ones[..., None], self.columns)
        else:
            last = look_up(ids, self.last)
        return torch.cat([bag, last], -1)
