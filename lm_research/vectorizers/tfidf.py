"""TF-IDF over the last tokens: rare tokens weigh more.

Shapes: B batch, T time, n tokens of a window, N tokens of a document, V vocabulary, C columns (V,
and a bucket for each hashed n-gram), P projection.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lm_research.config.types import PositiveInt
from lm_research.text.tokenizer import Tokenizer
from lm_research.vectorizers.checks import as_ids, check_choice, check_setting
from lm_research.vectorizers.document_bags import Bags, count
from lm_research.vectorizers.fitted import Fitted
from lm_research.vectorizers.ngrams import hashed_ngrams
from lm_research.vectorizers.vectorizer import NOTHING
from lm_research.vectorizers.window import distinct, look_up, running_sum, windows
from lm_research.vectorizers.window_bag import WindowBag

Norm = Literal["l2"]

_FIX = "call fit(documents) with the training documents, or load its state"


class TfIdf(Fitted, WindowBag):
    """b_t[v] = tf_t(v) idf(v), divided by its Euclidean length with ``norm="l2"``.

    tf_t(v) is how often v occurs in x_{t-n+1} .. x_t, or 1 + ln of that (``sublinear``); and

        idf(v) = ln((1 + N) / (1 + df(v))) + 1,    or ln(N / df(v)) + 1 without ``smooth_idf``,

    where df(v) of the N training documents hold v: scikit-learn's definitions. Without smoothing
    a token of no training document is taken to be in one. The separator, which no document holds
    and every document ends with, is taken to be in all of them (idf 1), or it would outweigh
    all else around each boundary.

    ``document`` is TF-IDF of the whole document, like scikit-learn's ``TfidfVectorizer``.

    With ``n`` > 1 each k-gram, 1 < k <= n, that lies in the window or document counts as tokens do,
    in one of the buckets that k-grams share by a hash.

    Args:
        vocabulary_size: V.
        window: n, in tokens; ``context`` is n - 1.
        sublinear: damp repeated tokens.
        norm: "l2", or None for the raw product.
        smooth_idf: add one document that holds every token.
        block: a training document of more tokens counts as several documents of ``block`` tokens
            (the last one shorter), so that df means the same whatever a corpus calls a document.
            None takes documents as they are.
        projection: P, width of a learned projection, or None for V-wide x.
        with_last: append the last token's own vector, doubling D.
        n: longest k-gram.
        buckets: of the k-grams, beside the V tokens.
    """

    idf: Tensor

    def __init__(
        self,
        vocabulary_size: int,
        window: PositiveInt = 8,
        sublinear: bool = False,
        norm: Literal["l2"] | None = "l2",
        smooth_idf: bool = True,
        block: PositiveInt | None = 256,
        projection: PositiveInt | None = None,
        with_last: bool = False,
        n: PositiveInt = 1,
        buckets: PositiveInt = 65_536,
    ) -> None:
        check_setting("window", window, PositiveInt)
        if norm is not None:
            check_choice("norm", norm, Norm)
        if block is not None:
            check_setting("block", block, PositiveInt)
        check_setting("n", n, PositiveInt)
        check_setting("buckets", buckets, PositiveInt)
        std = (window * n) ** -0.5 if norm is None else 1.0
        columns = vocabulary_size + (buckets if n > 1 else 0)
        super().__init__(vocabulary_size, window, projection, with_last, std, columns)
        self.n, self.buckets = n, buckets
        self.sublinear = sublinear
        self.norm = norm
        self.smooth_idf = smooth_idf
        self.block = block
        self.register_buffer("idf", torch.ones(columns))
        self.declare_fitted()

    def fit(self, documents: Iterable[np.ndarray]) -> None:
        """Count the documents that hold each token. Raises ``ValueError`` when there are none."""
        df_C = np.zeros(self.columns, dtype=np.int64)
        count = 0
        for document in documents:
            ids_N = as_ids(document, self.vocabulary_size)
            block = self.block or max(1, len(ids_N))
            grams_kN = self.grams(torch.from_numpy(ids_N)[None])[0].numpy().reshape(self.n, -1)
            places_kN = np.arange(len(ids_N)) // block * self.columns + grams_kN
            held = np.unique(places_kN[grams_kN >= 0])
            np.add.at(df_C, held % self.columns, 1)
            count += max(1, -(-len(ids_N) // block))
        if count == 0:
            raise ValueError("TfIdf.fit got no training documents: the training split is empty")
        self.idf.copy_(torch.from_numpy(self._idf_of(df_C, count)))
        self.fitted.fill_(True)

    def _idf_of(self, df_C: np.ndarray, count: int) -> np.ndarray:
        if df_C[Tokenizer.separator_id] == 0:
            df_C[Tokenizer.separator_id] = count
        if self.smooth_idf:
            return np.log((1 + count) / (1 + df_C)) + 1
        return np.log(count / np.maximum(df_C, 1)) + 1

    def grams(self, ids: Tensor) -> Tensor:
        """Columns (..., n N) of N tokens in a row and of their k-grams, those of a k together."""
        if self.n == 1:
            return ids
        rows_BN = ids.flatten(0, -2)
        hashed = hashed_ngrams(rows_BN, self.n, self.buckets)
        moved = [torch.where(h >= 0, h + self.vocabulary_size, NOTHING) for h in hashed]
        return torch.cat([rows_BN, *moved], -1).unflatten(0, ids.shape[:-1])

    def weigh(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See the class. Raises ``RuntimeError`` before :meth:`fit`."""
        ids, weights = self._tf_idf(self.grams(ids))
        return ids, weights / _length(weights) if self.norm else weights

    def bags(self, documents: Sequence[Tensor]) -> Bags:
        """See the base class."""
        self.require_fitted(_FIX)
        grams = [self.grams(ids_N[None])[0] for ids_N in documents]
        bags = count(grams, None, self.columns)
        tf_M = 1 + bags.weights_M.log() if self.sublinear else bags.weights_M
        weights_M = tf_M * self.idf[bags.ids_M]
        if self.norm:
            at_M = bags.segments()
            squares_B = weights_M.new_zeros(len(documents)).index_add_(0, at_M, weights_M**2)
            weights_M = weights_M / squares_B.sqrt()[at_M]
        return bags._replace(weights_M=weights_M)

    def _tf_idf(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        self.require_fitted(_FIX)
        ids, counts = distinct(ids)
        if self.sublinear:
            counts = torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0)
        return ids, counts * look_up(ids, self.idf[:, None])[..., 0]

    def bag_each(self, ids_BT: Tensor) -> Tensor:
        """See the base class. But for the length, a projected bag of counts is a running sum."""
        if self.projection is None or self.sublinear or self.n > 1:
            return super().bag_each(ids_BT)
        _, weights_BTn = self._tf_idf(windows(ids_BT, self.window))
        rows_BTP = look_up(ids_BT, self.projection) * look_up(ids_BT, self.idf[:, None])
        sum_BTP = running_sum(rows_BTP, self.window)
        return sum_BTP / _length(weights_BTn) if self.norm else sum_BTP


def _length(weights: Tensor) -> Tensor:
    """Euclidean length over the last dimension, kept; never zero, so that an empty bag stays so."""
    length = torch.linalg.vector_norm(weights, dim=-1, keepdim=True)
    return length.clamp(min=torch.finfo(length.dtype).tiny)
