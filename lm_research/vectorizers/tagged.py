"""Part-of-speech tags beside the words.

Shapes: B batch, T time, N tokens, V vocabulary, D inner vector size, G tag vector size.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lm_research.config.types import PositiveInt
from lm_research.vectorizers.checks import check_setting
from lm_research.vectorizers.embedding import Embedding
from lm_research.vectorizers.vectorizer import NOTHING, Vectorizer


class TaggedVectorizer(Vectorizer):
    """The inner vectorizer's x_t, followed by a learned vector of the tag of the token at t.

    The tag is a function of the token alone (its most frequent one, say): a tagger that reads the
    sentence would let the words to come show in the tags of those before.

    Args:
        vectorizer: what is tagged; fitted and streamed through this one.
        tag_of_token: V tag numbers in [0, tags).
        tags: number of tags.
        dim: G, size of a tag's vector. The whole is D + G wide.
    """

    tag_of_token: Tensor

    def __init__(
        self,
        vectorizer: Vectorizer,
        tag_of_token: Sequence[int] | np.ndarray,
        tags: PositiveInt,
        dim: PositiveInt = 8,
    ) -> None:
        super().__init__(vectorizer.vocabulary_size)
        check_setting("tags", tags, PositiveInt)
        tag_V = torch.from_numpy(np.asarray(tag_of_token, dtype=np.int64))
        if tag_V.shape != (self.vocabulary_size,):
            raise ValueError(
                f"tag_of_token has shape {tuple(tag_V.shape)}; it must hold one tag for "
                f"each of the {self.vocabulary_size} tokens"
            )
        if tag_V.min() < 0 or tag_V.max() >= tags:
            raise ValueError(
                f"tag_of_token holds {tag_V.min()} to {tag_V.max()}; tags must "
                f"lie within [0, {tags}), or `tags` be larger"
            )
        self.vectorizer = vectorizer
        self.register_buffer("tag_of_token", tag_V)
        self.tag_embedding = Embedding(tags, dim)
        self.dim = vectorizer.dim + dim
        self.context = vectorizer.context
        self.needs_fit = vectorizer.needs_fit

    def fit(self, documents: Iterable[np.ndarray]) -> None:
        """Fit the inner vectorizer."""
        self.vectorizer.fit(documents)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """x_BT(D+G), with a zero tag vector where there is no token."""
        return torch.cat([self.vectorizer(ids_BT), self.tag_embedding(self._tags(ids_BT))], -1)

    def document(self, ids_N: Tensor) -> Tensor:
        """x_(D+G): the inner document vector and the mean tag vector."""
        tags = self.tag_embedding.document(self._tags(ids_N))
        return torch.cat([self.vectorizer.document(ids_N), tags])

    def report(self) -> dict[str, Any]:
        """The inner vectorizer's."""
        return self.vectorizer.report()

    def _tags(self, ids: Tensor) -> Tensor:
        return torch.where(ids >= 0, self.tag_of_token[ids.clamp(min=0)], NOTHING)
