"""A learned vector for each token. Shapes: B batch, T time, N tokens, V vocabulary, D size."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.config.types import DropProbability, PositiveFloat, PositiveInt
from lm_research.kernels import TableRows
from lm_research.vectorizers.checks import check_choice, check_setting
from lm_research.vectorizers.document_bags import averaged
from lm_research.vectorizers.tables import bring_up_to_date, row_table, unread_rows
from lm_research.vectorizers.vectorizer import HistoryStep, Vectorizer
from lm_research.vectorizers.window import look_up

Init = Literal["normal", "uniform", "keras"]

_SCALE: dict[str, float] = {"normal": 1.0, "uniform": 0.1, "keras": 0.05}


class Embedding(Vectorizer):
    """x_t = row x_t of a learned ``weight`` (V x D).

    Args:
        vocabulary_size: V.
        dim: D.
        dropout: probability of dropping a token's whole row, at all its places in the batch at
            once, while training; the others are divided by 1 - dropout (Gal and Ghahramani 2016,
            arXiv:1512.05287).
        init: "normal", N(0, scale^2) with scale 1, as ``torch.nn.Embedding``; "uniform",
            U(-scale, scale) with scale 0.1, usual for recurrent language models; "keras",
            U(-0.05, 0.05), as ``keras.layers.Embedding``.
        scale: another scale for "normal" or "uniform"; None takes the one above.
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: PositiveInt,
        dropout: DropProbability = 0.0,
        init: Literal["normal", "uniform", "keras"] = "normal",
        scale: PositiveFloat | None = None,
    ) -> None:
        super().__init__(vocabulary_size)
        check_setting("vocabulary_size", vocabulary_size, PositiveInt)
        check_setting("dim", dim, PositiveInt)
        check_setting("dropout", dropout, DropProbability)
        check_choice("init", init, Init)
        if scale is not None:
            check_setting("scale", scale, PositiveFloat)
            if init == "keras":
                raise ValueError(f"scale is {scale}, but init=keras fixes it: use init=uniform")
        self.dim = dim
        self.dropout = dropout
        self.weight = row_table(torch.empty(vocabulary_size, dim))
        self._initialise(init, _SCALE[init] if scale is None else scale)

    def _initialise(self, init: Init, scale: float) -> None:
        if init == "normal":
            nn.init.normal_(self.weight, std=scale)
        else:
            nn.init.uniform_(self.weight, -scale, scale)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """x_BTD, zero where there is no token."""
        x_BTD = look_up(ids_BT, self.weight)
        if not (self.training and self.dropout):
            return x_BTD
        keep_V1 = F.dropout(self.weight.new_ones(self.vocabulary_size, 1), self.dropout)
        return x_BTD * look_up(ids_BT, keep_V1)

    def rows(self, ids_BT: Tensor) -> TableRows | None:
        """Of ``weight``, unless rows of it are being dropped."""
        dropped = self.training and self.dropout
        return None if dropped else unread_rows(ids_BT, self.weight)

    def stepper(self) -> HistoryStep:
        """Rows of the matrix, looked up without a test for ids of no token."""
        if self.training and self.dropout:
            return self.step
        bring_up_to_date(self)
        weight_VD = self.weight.detach()
        return lambda ids_B, _: (weight_VD.index_select(0, ids_B), None)

    def document(self, ids_N: Tensor) -> Tensor:
        """x_D, the mean of the tokens' rows; zero for an empty document."""
        return self(ids_N[None])[0].sum(0) / (ids_N >= 0).sum().clamp(min=1)

    def documents(self, documents: Sequence[Tensor]) -> Tensor:
        """x_BD, the mean of each document's rows."""
        return averaged(documents, self.weight)

    def output_weight(self) -> Tensor:
        """``weight`` itself, V x D."""
        return self.weight
