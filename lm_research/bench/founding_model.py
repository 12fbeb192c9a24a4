"""The founding example's model as ``experiment=keras_lstm`` has it, in any of its shapes."""

from types import SimpleNamespace
from typing import Any, cast

import torch

from lm_research.bench.founding_worker import Shape
from lm_research.cli.assembly import build_model
from lm_research.config.compose import compose
from lm_research.tasks.language_modeling import LanguageModeling


def ours(shape: Shape) -> LanguageModeling:
    """Fresh from seed 0. Keras' LSTM and RNN have one bias a gate; its GRU has two, as ours."""
    own_bias = shape.cell == "gru"
    config = compose(
        [
            "experiment=keras_lstm",
            f"model={shape.cell}",
            f"vectorizer.dim={shape.embedding}",
            f"model.hidden_size={shape.hidden}",
            f"model.num_layers={shape.layers}",
            f"model.recurrent_bias={own_bias}",
            f"task.predict={shape.predict}",
        ]
    ).config
    torch.manual_seed(0)
    tokenizer = cast(Any, SimpleNamespace(vocabulary_size=shape.vocabulary))
    task = build_model(config, tokenizer, None)
    assert isinstance(task, LanguageModeling)
    return task
