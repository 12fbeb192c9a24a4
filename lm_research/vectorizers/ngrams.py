"""Hashed n-grams of tokens, as fastText has them (Joulin et al. 2017, "Bag of Tricks").

Shapes: B batch, T time, N tokens of a document, V vocabulary, D vector size, H buckets, n.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lm_research.config.types import PositiveFloat, PositiveInt
from lm_research.vectorizers.checks import check_choice, check_setting
from lm_research.vectorizers.tables import read_bags, row_table
from lm_research.vectorizers.vectorizer import NOTHING, Vectorizer
from lm_research.vectorizers.window import look_up

Init = Literal["normal", "uniform"]
_FACTOR = 0x5851F42D4C957F2D
"""Knuth's multiplier of a 64-bit linear congruential generator."""


class NGrams(Vectorizer):
    """x_t = the sum of a learned vector of the token at t and one of each k-gram, 1 < k <= n, that
    ends there.

    k-grams share H vectors by a hash; those that would reach before the stream's start count for
    nothing. ``document`` is the mean over all of a document's tokens and k-grams, fastText's input
    to a linear classifier.

    Args:
        vocabulary_size: V.
        dim: D.
        n: longest k-gram; ``context`` is n - 1.
        buckets: H.
        init: of both tables: "normal", N(0, scale^2) with scale 1 / sqrt(n), so that x_t begins
            with variance 1; "uniform", U(-scale, scale) with scale 1 / D, as fastText has it.
        scale: another deviation or bound; None takes the one above.
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: PositiveInt,
        n: PositiveInt = 2,
        buckets: PositiveInt = 65_536,
        init: Literal["normal", "uniform"] = "normal",
        scale: PositiveFloat | None = None,
    ) -> None:
        super().__init__(vocabulary_size)
        check_setting("vocabulary_size", vocabulary_size, PositiveInt)
        check_setting("dim", dim, PositiveInt)
        check_setting("n", n, PositiveInt)
        check_setting("buckets", buckets, PositiveInt)
        check_choice("init", init, Init)
        if scale is not None:
            check_setting("scale", scale, PositiveFloat)
        self.dim, self.n, self.buckets = dim, n, buckets
        self.context = n - 1
        scale = scale or (n**-0.5 if init == "normal" else 1 / dim)
        self.weight = row_table(_drawn(vocabulary_size, dim, init, scale))
        self.hashed = row_table(_drawn(buckets, dim, init, scale)) if n > 1 else None

    def hashes(self, ids_BT: Tensor) -> list[Tensor]:
        """See :func:`hashed_ngrams`."""
        return hashed_ngrams(ids_BT, self.n, self.buckets)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """x_BTD, zero where there is no token."""
        x_BTD = look_up(ids_BT, self.weight)
        for bucket_BT in self.hashes(ids_BT):
            assert self.hashed is not None
            x_BTD = x_BTD + look_up(bucket_BT, self.hashed)
        return x_BTD

    def document(self, ids_N: Tensor) -> Tensor:
        """x_D, the mean vector of the document's tokens and k-grams; zero for an empty one."""
        total = (ids_N >= 0).sum() + sum((h >= 0).sum() for h in self.hashes(ids_N[None]))
        return self(ids_N[None])[0].sum(0) / total.clamp(min=1)

    def documents(self, documents: Sequence[Tensor]) -> Tensor:
        """x_BD, the same of each: a bag of each table, without the padding between documents."""
        ids_BT = pad_sequence(list(documents), batch_first=True, padding_value=NOTHING)
        sums_BD, total_B = _sum(ids_BT, self.weight)
        if self.hashed is not None:
            hashed_BD, count_B = _sum(torch.cat(self.hashes(ids_BT), 1), self.hashed)
            sums_BD, total_B = sums_BD + hashed_BD, total_B + count_B
        return sums_BD / total_B.clamp(min=1)[:, None]


def hashed_ngrams(ids_BT: Tensor, n: int, buckets: int) -> list[Tensor]:
    """For k = 2 .. n the bucket (B, T) of the k-gram that ends at t, or ``NOTHING``."""
    found: list[Tensor] = []
    key_BT = ids_BT
    for k in range(2, n + 1):
        before_BT = F.pad(ids_BT, (k - 1, 0), value=NOTHING)[:, : ids_BT.shape[1]]
        key_BT = (key_BT * _FACTOR) ^ before_BT  # int64 wraps
        real_BT = (ids_BT >= 0) & (before_BT >= 0)
        real_BT = real_BT if k == 2 else real_BT & (found[-1] >= 0)
        bucket_BT = ((key_BT * _FACTOR) >> 31) % buckets
        found.append(torch.where(real_BT, bucket_BT, NOTHING))
    return found


def _sum(ids_BN: Tensor, table_VD: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of the rows (B, D), and how many there are (B)."""
    real_BN = ids_BN >= 0
    count_B = real_BN.sum(1)
    offsets = F.pad(count_B.cumsum(0), (1, 0))
    return read_bags(ids_BN[real_BN], table_VD, offsets, None), count_B


def _drawn(rows: int, dim: int, init: Init, scale: float) -> Tensor:
    """A table's first values (rows, D)."""
    if init == "normal":
        return torch.randn(rows, dim) * scale
    return torch.empty(rows, dim).uniform_(-scale, scale)
