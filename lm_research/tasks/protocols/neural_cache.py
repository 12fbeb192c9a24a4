"""A cache of the text's own last tokens, chosen by hidden states.

Grave, Joulin and Usunier 2017, "Improving Neural Language Models with a Continuous Cache"
(arXiv:1612.04426), equations 2 to 4, linear interpolation: with h_t what the output layer reads
after token x_t,

    p_cache(w) ~ sum over the last n of i < t of [w = x_{i+1}] exp(theta h_t . h_i)
    p(w) = (1 - lambda) p_vocabulary(w) + lambda p_cache(w)

Where nothing is in the cache, p is p_vocabulary. With theta = 0 it is a unigram cache (Kuhn and De
Mori 1990), which counted models can have, too.

Shapes: B lanes, T time, N states in the cache, M of them and of a call, H hidden, V vocabulary.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lm_research.config.types import NonNegativeFloat, OpenFraction, PositiveInt
from lm_research.tasks.counted import CountedLanguageModel
from lm_research.tasks.language_modeling import LanguageModeling, default_dtype
from lm_research.tasks.protocols.protocol import (
    LanguageModel,
    Protocol,
    ProtocolError,
    TrainingText,
)
from lm_research.tasks.streaming import Stream, StreamingModel


class NeuralCache(Protocol):
    """See the module. Nothing is learned, and no weight moves.

    Args:
        size: n.
        theta: how much the likeness of states matters.
        share: lambda.
    """

    def __init__(
        self,
        size: PositiveInt = 500,
        theta: NonNegativeFloat = 0.3,
        share: OpenFraction = 0.1,
    ) -> None:
        self.size, self.theta, self.share = size, theta, share

    def reader(self, model: LanguageModel, training: TrainingText) -> StreamingModel:
        """See the base class."""
        if isinstance(model, CountedLanguageModel) and self.theta:
            raise ProtocolError(
                f"protocol.theta={self.theta} compares hidden states, and a counted model "
                "(model=ngram) has none; fix: protocol.theta=0, a unigram cache"
            )
        return CacheReader(model, self)


class Place(NamedTuple):
    """Where a stream stands: the last n states, and the token after each of them but the last."""

    stream: Stream
    keys_BNH: Tensor | None = None
    values_BN: Tensor | None = None


class CacheReader:
    """Streams a model whose probabilities are mixed with those of its cache."""

    def __init__(self, model: LanguageModel, cache: NeuralCache) -> None:
        self.model, self.cache = model, cache
        self.vocabulary_size = model.vocabulary_size

    def start(self, batch: int) -> Place:
        """An empty cache."""
        return Place(self.model.start(batch))

    def advance(self, ids_BT: Tensor, place: Place) -> tuple[Tensor, Place]:
        """log_p_BTV (nats, float32 or finer), and where the stream stands."""
        with torch.inference_mode():
            y_BTH, log_p_BTV, stream = self._read(ids_BT, place.stream)
            keys_BMH, values_BM = y_BTH, ids_BT.to(y_BTH.device)
            if place.keys_BNH is None or place.values_BN is None:
                values_BM = values_BM[:, 1:]
            else:
                keys_BMH = torch.cat([place.keys_BNH, keys_BMH], 1)
                values_BM = torch.cat([place.values_BN, values_BM], 1)
            mixed_BTV = self._mix(log_p_BTV, y_BTH, keys_BMH[:, :-1], values_BM)
            kept = self.cache.size
            last_BN = values_BM[:, max(values_BM.shape[1] - kept + 1, 0) :]
            return mixed_BTV, Place(stream, keys_BMH[:, -kept:], last_BN)

    def _read(self, ids_BT: Tensor, stream: Stream) -> tuple[Tensor, Tensor, Stream]:
        """y_BTH, log_p_BTV and the stream on; a counted model's states are all alike."""
        if isinstance(self.model, LanguageModeling):
            with default_dtype(self.model.dtype):
                y_BTH, stream = self.model.hidden(ids_BT.to(self.model.device), stream)
                log_p_BTV = self.model.head.log_probs(y_BTH)
                return y_BTH.to(log_p_BTV.dtype), log_p_BTV, stream
        log_p_BTV, stream = self.model.advance(ids_BT, stream)
        return log_p_BTV.new_zeros(*ids_BT.shape, 1), log_p_BTV, stream

    def _mix(self, log_p_BTV: Tensor, y_BTH: Tensor, keys_BMH: Tensor, values_BM: Tensor) -> Tensor:
        """Steps of this call are the last T of the states, of which the very last has no value."""
        steps, known = y_BTH.shape[1], keys_BMH.shape[1]
        if not known:
            return log_p_BTV
        own_T1 = torch.arange(known + 1 - steps, known + 1, device=y_BTH.device)[:, None]
        place_M = torch.arange(known, device=y_BTH.device)
        in_cache_TM = (place_M < own_T1) & (place_M >= own_T1 - self.cache.size)
        scores_BTM = self.cache.theta * (y_BTH @ keys_BMH.transpose(1, 2))
        weights_BTM = scores_BTM.masked_fill(~in_cache_TM, -math.inf).softmax(-1)
        p_BTV = torch.zeros_like(log_p_BTV)
        p_BTV.scatter_add_(2, values_BM[:, None].expand_as(weights_BTM), weights_BTM)
        share = self.cache.share
        mixed_BTV = torch.logaddexp(log_p_BTV + math.log1p(-share), p_BTV.log() + math.log(share))
        return torch.where(in_cache_TM.any(1)[:, None], mixed_BTV, log_p_BTV)
