"""Parameters and FLOPs against torch's own counter."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lm_research.metrics.flops import flops_per_token, parameter_count
from lm_research.models.cnn import CausalCNN
from lm_research.models.context import ContextModel
from lm_research.models.gru import GRU
from lm_research.models.log_bilinear import LogBilinear
from lm_research.models.lstm import LSTM
from lm_research.models.min_gru import MinGRU
from lm_research.models.min_lstm import MinLSTM
from lm_research.models.nplm import NPLM
from lm_research.models.rnn import RNN
from lm_research.models.tcn import TCN
from lm_research.models.transformer import Transformer
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.vectorizers.embedding import Embedding
from lm_research.vectorizers.one_hot import OneHot

VOCABULARY, WIDTH, HIDDEN, BATCH = 50, 12, 16, 3

MODELS = {
    "rnn": (RNN, {}),
    "gru": (GRU, {}),
    "lstm": (LSTM, {}),
    "lstm, learned start": (LSTM, {"start": "learned"}),
    "lstm, one bias": (LSTM, {"recurrent_bias": False}),
    "cnn": (CausalCNN, {"kernel_size": 3}),
    "cnn, same width": (CausalCNN, {"input_size": HIDDEN}),
    "tcn": (TCN, {}),
    "tcn, widths": (TCN, {"output_size": 5}),
    "min_gru": (MinGRU, {}),
    "min_lstm, no convolution": (MinLSTM, {"kernel_size": 0}),
    "nplm": (NPLM, {}),
    "nplm, direct": (NPLM, {"direct": True}),
    "log_bilinear": (LogBilinear, {}),
}


def parts(cls: Any, options: dict[str, Any]) -> tuple[Embedding, nn.Module, nn.Linear]:
    options = {"input_size": WIDTH, **options}
    vectorizer = Embedding(VOCABULARY, options["input_size"])
    deep = {} if issubclass(cls, ContextModel) else {"num_layers": 2}
    model = cls(hidden_size=HIDDEN, **deep, **options)
    return vectorizer, model, nn.Linear(model.output_size, VOCABULARY)


def counted(action: Any) -> int:
    """FLOPs by torch's counter, which sees neither oneDNN's LSTM nor fused attention."""
    with (
        torch.backends.mkldnn.flags(enabled=False),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        action()
    return counter.get_total_flops()


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("name", MODELS)
def test_matrices_cost_what_torch_counts(name: str, steps: int) -> None:
    vectorizer, model, head = parts(*MODELS[name])
    ids_BT = torch.randint(VOCABULARY, (BATCH, steps))
    flops = counted(lambda: head(model(vectorizer(ids_BT))[0]))
    assert flops == flops_per_token(vectorizer, model, head) * BATCH * steps


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_training_costs_three_times_as_much() -> None:
    vectorizer, model, head = parts(LSTM, {})
    ids_BT = torch.randint(VOCABULARY, (BATCH, 50))
    flops = counted(lambda: head(model(vectorizer(ids_BT))[0]).sum().backward())
    # The first step of each of two layers spares the gradient of its starting state.
    assert flops == pytest.approx(
        3 * flops_per_token(vectorizer, model, head) * BATCH * 50, rel=0.01
    )


CONTEXT = 8


def attention_flops(steps: int, state: Any, model: Transformer, x_BTD: Tensor) -> float:
    """FLOPs of attention per token and layer that torch counts beside the matrices."""
    total = counted(lambda: model(x_BTD[:, :steps], state)) / BATCH / steps
    matrices = 2 * sum(p.numel() for p in model.parameters() if p.ndim >= 2)
    return (total - matrices) / len(model.layers)


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_attention_costs_what_torch_counts() -> None:
    model = Transformer(WIDTH, HIDDEN, num_layers=2, num_heads=2, context=CONTEXT).eval()
    x_BTD = torch.randn(BATCH, 4 * CONTEXT, WIDTH)
    _, full = model(x_BTD)
    # Step by step, `context` keys meet each query: exactly the formula.
    assert attention_flops(1, full, model, x_BTD) == 4 * CONTEXT * HIDDEN
    assert model.mixing_flops_per_token == 2 * 4 * CONTEXT * HIDDEN
    # A block of `context` queries is computed against all 2 * context - 1 keys that one of them
    # sees, half of them masked: that is how it is done, not what has to be done.
    measured = attention_flops(4 * CONTEXT, full, model, x_BTD)
    assert measured == 4 * (2 * CONTEXT - 1) * HIDDEN


def test_attention_s_mixing_is_counted_beside_the_matrices() -> None:
    model = Transformer(WIDTH, HIDDEN, num_layers=2, num_heads=2, context=CONTEXT)
    embedding, head = Embedding(VOCABULARY, WIDTH), nn.Linear(HIDDEN, VOCABULARY)
    # Per layer: queries, keys, values and output (4 H^2), and a perceptron of 4 H and back (8 H^2).
    matrices = WIDTH * HIDDEN + 2 * 12 * HIDDEN**2 + HIDDEN * VOCABULARY
    assert flops_per_token(embedding, model, head) == 2 * matrices + 2 * 4 * CONTEXT * HIDDEN


def test_a_shared_matrix_is_one_matrix() -> None:
    def task(tie: bool, width: int) -> LanguageModeling:
        model = RNN(width, HIDDEN)
        vectorizer = Embedding(VOCABULARY, width)
        return LanguageModeling(vectorizer, model, torch.optim.SGD, lambda step: 1.0, True, tie)

    layer = HIDDEN * HIDDEN + 2 * HIDDEN
    table, head = VOCABULARY * HIDDEN, VOCABULARY * HIDDEN + VOCABULARY
    free, tied = task(False, HIDDEN), task(True, HIDDEN)
    assert parameter_count(free) == table + HIDDEN * HIDDEN + layer + head
    assert parameter_count(tied) == parameter_count(free) - table
    costs = [flops_per_token(t.vectorizer, t.model, t.head) for t in (free, tied)]
    assert costs[0] == costs[1] == 2 * (2 * HIDDEN * HIDDEN + VOCABULARY * HIDDEN)
    # Through a projection where the widths differ.
    narrow = task(True, WIDTH)
    matrices = HIDDEN * WIDTH + HIDDEN * HIDDEN + HIDDEN * WIDTH + WIDTH * VOCABULARY
    assert flops_per_token(narrow.vectorizer, narrow.model, narrow.head) == 2 * matrices


def test_one_hot_vectors_are_multiplied_and_tables_are_not() -> None:
    model, head = RNN(VOCABULARY, HIDDEN), nn.Linear(HIDDEN, VOCABULARY)
    matrices = VOCABULARY * HIDDEN + HIDDEN * HIDDEN + HIDDEN * VOCABULARY
    assert flops_per_token(OneHot(VOCABULARY), model, head) == 2 * matrices

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.layer = nn.Embedding(1000, HIDDEN), nn.Linear(HIDDEN, HIDDEN)

    assert flops_per_token(OneHot(3), Positions(), nn.Identity()) == 2 * HIDDEN * HIDDEN


def test_frozen_parameters_are_not_counted_as_trainable() -> None:
    layer = nn.Linear(3, 4)
    layer.bias.requires_grad_(False)
    assert parameter_count(layer) == 12
