"""A counted model (n-grams) behind the interface that evaluation and generation use."""

import numpy as np
import torch
from torch import Tensor

from lm_research.models.sequence_model import CountModel
from lm_research.tasks.streaming import Stream


class CountedLanguageModel:
    """Streams a :class:`CountModel`: the stream is the last ``order - 1`` ids."""

    def __init__(self, model: CountModel, vocabulary_size: int) -> None:
        self.model, self.vocabulary_size = model, vocabulary_size

    def start(self, batch: int) -> Stream:
        """No history yet."""
        return [np.empty(0, np.int64) for _ in range(batch)]

    def advance(self, ids_BT: Tensor, stream: Stream) -> tuple[Tensor, Stream]:
        """log_p_BTV (float64, nats), and the histories on."""
        rows, histories = [], []
        for ids_T, history in zip(ids_BT.numpy(), stream, strict=True):
            joined = np.concatenate([history, ids_T])
            log_p = self.model.log_probabilities(joined, len(history), len(joined))
            rows.append(torch.from_numpy(log_p))
            histories.append(joined[max(len(joined) - self.model.order + 1, 0) :])
        return torch.stack(rows), histories
