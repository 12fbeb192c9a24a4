"""Splits made of ids, and language models small enough to be worked out by hand."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from lm_research.data.token_store import StoreWriter, TokenSplit
from lm_research.models.cnn import CausalCNN
from lm_research.models.gru import GRU
from lm_research.models.log_bilinear import LogBilinear
from lm_research.models.lstm import LSTM
from lm_research.models.min_gru import MinGRU
from lm_research.models.min_lstm import MinLSTM
from lm_research.models.nplm import NPLM
from lm_research.models.rnn import RNN
from lm_research.models.sequence_model import SequenceModel
from lm_research.models.tcn import TCN
from lm_research.models.transformer import Transformer
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.vectorizers.embedding import Embedding
from lm_research.vectorizers.vectorizer import Vectorizer

VOCABULARY, WIDTH = 11, 8
MODELS: dict[str, Callable[[int], SequenceModel]] = {
    "rnn": partial(RNN, hidden_size=WIDTH),
    "gru": partial(GRU, hidden_size=WIDTH, start="learned"),
    "lstm": partial(LSTM, hidden_size=WIDTH, num_layers=2),
    "cnn": partial(CausalCNN, hidden_size=WIDTH, num_layers=3),
    "tcn": partial(TCN, hidden_size=WIDTH, num_layers=2),
    "min_gru": partial(MinGRU, hidden_size=WIDTH, num_layers=2),
    "min_lstm": partial(MinLSTM, hidden_size=WIDTH, num_layers=2),
    "transformer": partial(Transformer, hidden_size=WIDTH, num_heads=2, context=9),
    "nplm": partial(NPLM, hidden_size=WIDTH, context=3, direct=True),
    "log_bilinear": partial(LogBilinear, hidden_size=WIDTH, context=4),
}


@pytest.fixture(scope="session")
def models() -> dict[str, Callable[[int], SequenceModel]]:
    """Architectures by name, to be built with the size of the vectors."""
    return MODELS


@pytest.fixture
def make_split(tmp_path_factory) -> Callable[..., TokenSplit]:
    """A split of documents, each a list of ids, with sizes and spelling costs if they matter."""

    def make_split(
        documents: Sequence[Sequence[int]],
        text_bytes: Sequence[int] | None = None,
        words: Sequence[int] | None = None,
        spelling: Sequence[float] | None = None,
        name: str = "validation",
    ) -> TokenSplit:
        count = len(documents)
        writer = StoreWriter(tmp_path_factory.mktemp("stores") / "store", 70_000, 0)
        columns = (
            text_bytes or [max(len(d), 1) for d in documents],
            words or [1] * count,
            spelling or [0.0] * count,
        )
        for ids, *rest in zip(documents, *columns, strict=True):
            writer.add(name, np.array(ids, np.int64), *rest)
        return writer.finish({"language": "en"}).split(name)

    return make_split


@pytest.fixture
def make_task() -> Callable[..., LanguageModeling]:
    """A task with weights drawn from a seed; float64 unless asked otherwise."""

    def make_task(
        model: str = "lstm",
        vectorizer: Vectorizer | None = None,
        dtype: torch.dtype = torch.float64,
        optimizer: Any = torch.optim.SGD,
        scheduler: Any = lambda step: 1.0,
        seed: int = 0,
        **options: Any,
    ) -> LanguageModeling:
        torch.manual_seed(seed)
        vectorizer = vectorizer or Embedding(VOCABULARY, WIDTH - 3)
        inner = MODELS[model](vectorizer.dim)
        task = LanguageModeling(vectorizer, inner, optimizer, scheduler, **options)
        return task.to(dtype)

    return make_task
