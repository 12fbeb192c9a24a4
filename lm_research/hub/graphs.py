"""A model as a graph that other programs run: TorchScript, and ONNX.

Three shapes of graph, by what the model is:

- a language model continues a stream: ``ids (B, T), state... -> log_p (B, T, V), state...``;
- a classifier reads padded documents: ``ids (B, T), lengths (B) -> log_p (B, C)``;
- a classifier of one vector a document reads one: ``ids (N) -> log_p (C)``.

Where a model's own loop over time would be unrolled (layer normalization inside a recurrent layer),
a language model's graph takes one step: T is 1. log_p are nats in float32;
where a document may have several labels, of each class by itself.

Shapes: B batch, T time, N tokens, V vocabulary, C classes or history.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lm_research.data.document_batches import PADDING, DocumentBatch
from lm_research.models.document_models import DocumentModel, VectorModel
from lm_research.tasks.classification import Classification
from lm_research.tasks.language_modeling import LanguageModeling
from lm_research.tasks.models import RunModel
from lm_research.tasks.streaming import map_tensors
from lm_research.vectorizers.vectorizer import NOTHING

Axes = dict[int, str]
EXAMPLE_STEPS = 5


class GraphError(Exception):
    """A model that has no graph; says which do."""


class Graph(nn.Module):
    """What is written out: tensors in, tensors out.

    Args:
        parts: the modules that are used. The LightningModule around them can be traced as little
            as it can be without a trainer, so it is kept where no module looks.

    Attributes:
        inputs, outputs: the name of each, with the names of the axes that may have any size.
        sizes: (rows, tokens) of the calls by which a written graph is compared with the model.
    """

    inputs: dict[str, Axes]
    outputs: dict[str, Axes]
    sizes: Sequence[tuple[int, int]] = ((2, EXAMPLE_STEPS), (1, 1), (1, 9), (3, 17))

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    @abstractmethod
    def example(self, rows: int, tokens: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Random arguments for a call."""

    @abstractmethod
    def expected(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """What the model itself says, by the way that evaluation and prediction take."""


class LanguageModelGraph(Graph):
    """See the module.

    Args:
        model: in evaluation mode.
        any_steps: False: T is 1.
    """

    def __init__(self, model: LanguageModeling, any_steps: bool = True) -> None:
        super().__init__([model.vectorizer, model.model, model.head])
        self.tasks = (model,)
        parts: list[Tensor] = []
        map_tensors(parts.append, model.model.initial_state(1))
        history = ["history"] if model.vectorizer.context else []
        self.names = [*history, *(f"state_{i}" for i in range(len(parts)))]
        time: Axes = {0: "batch", 1: "time"} if any_steps else {0: "batch"}
        self.inputs = {"ids": time} | {name: {0: "batch"} for name in self.names}
        self.outputs = {"log_p": time} | {f"{name}_out": {0: "batch"} for name in self.names}
        if not any_steps:
            self.sizes = ((2, 1), (1, 1), (3, 1))

    def forward(self, ids_BT: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """log_p_BTV, and the state on."""
        y_BTH, stream = self.tasks[0].hidden(ids_BT, self._stream(state))
        return (self.tasks[0].head.log_probs(y_BTH), *self._flat(stream))

    def start(self, rows: int) -> tuple[Tensor, ...]:
        """The state before the first token, of so many rows."""
        context = self.tasks[0].vectorizer.context
        history = torch.full((rows, context), NOTHING) if context else None
        return self._flat((history, self.tasks[0].model.initial_state(rows)))

    def example(self, rows: int, tokens: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The middle of a stream."""
        shape = (rows, tokens)
        draw = [torch.randint(self.tasks[0].vocabulary_size, shape, generator=generator)] * 2
        return draw[0], *self.expected(draw[1], *self.start(rows))[1:]

    def expected(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """As ``LanguageModeling.advance``."""
        log_p_BTV, stream = self.tasks[0].advance(arguments[0], self._stream(arguments[1:]))
        return (log_p_BTV, *self._flat(stream))

    def _stream(self, state: Sequence[Tensor]) -> Any:
        parts = iter(state)
        history = next(parts) if self.tasks[0].vectorizer.context else None
        template = self.tasks[0].model.initial_state(1)
        return history, map_tensors(lambda _: next(parts), template)

    def _flat(self, stream: Any) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        map_tensors(found.append, stream)
        return tuple(part.clone() for part in found) if found else ()


class ClassifierGraph(Graph):
    """See the module. ``model`` is in evaluation mode."""

    def __init__(self, model: Classification) -> None:
        pooling = [] if model.pooling is None else [model.pooling]
        super().__init__([model.vectorizer, model.model, *pooling, model.head])
        self.tasks = (model,)
        self.inputs = {"ids": {0: "batch", 1: "time"}, "lengths": {0: "batch"}}
        self.outputs = {"log_p": {0: "batch"}}

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, ...]:
        """log_p_BC. A causal model needs no lengths: what lies behind the end is not pooled."""
        task = self.tasks[0]
        x_BTD = task.vectorizer(ids_BT)
        if isinstance(task.model, DocumentModel):
            return (task.normalized(task.head(task.model(x_BTD, lengths_B))),)
        assert task.pooling is not None
        assert not isinstance(task.model, VectorModel)
        y_BTH, _ = task.model(x_BTD, task.model.initial_state(x_BTD.shape[0]))
        return (task.normalized(task.head(task.pooling(y_BTH, lengths_B))),)

    def example(self, rows: int, tokens: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Documents of every length up to ``tokens``, padded."""
        size = self.tasks[0].vectorizer.vocabulary_size
        ids_BT = torch.randint(1, size, (rows, tokens), generator=generator)
        lengths_B = torch.randint(1, tokens + 1, (rows,), generator=generator)
        lengths_B[0] = tokens
        place_T = torch.arange(tokens)
        return ids_BT.masked_fill(place_T >= lengths_B[:, None], PADDING), lengths_B

    def expected(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """As ``Classification.log_probabilities``."""
        ids_BT, lengths_B = arguments
        return (self.tasks[0].log_probabilities(DocumentBatch(ids_BT, lengths_B, lengths_B)),)


class DocumentGraph(Graph):
    """See the module: one document a call. ``model`` is in evaluation mode."""

    sizes = ((1, EXAMPLE_STEPS), (1, 1), (1, 9), (1, 17))

    def __init__(self, model: Classification) -> None:
        super().__init__([model.vectorizer, model.model, model.head])
        self.tasks = (model,)
        self.inputs, self.outputs = {"ids": {0: "tokens"}}, {"log_p": {}}

    def forward(self, ids_N: Tensor) -> tuple[Tensor, ...]:
        """log_p_C."""
        x_1D = self.tasks[0].vectorizer.document(ids_N)[None]
        return (self.tasks[0].normalized(self.tasks[0].head(self.tasks[0].model(x_1D)))[0],)

    def example(self, rows: int, tokens: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Random ids."""
        size = self.tasks[0].vectorizer.vocabulary_size
        return (torch.randint(1, size, (tokens,), generator=generator),)

    def expected(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """As ``Classification.log_probabilities``."""
        ids_N = arguments[0]
        length_1 = torch.tensor([len(ids_N)])
        return (self.tasks[0].log_probabilities(DocumentBatch(ids_N[None], length_1, length_1))[0],)


def graphs_of(model: RunModel) -> list[Graph]:
    """The graphs that ``model`` may have, the more useful ones first.

    Raises:
        GraphError: none.
    """
    if isinstance(model, LanguageModeling):
        return [LanguageModelGraph(model), LanguageModelGraph(model, any_steps=False)]
    if isinstance(model, Classification):
        one = isinstance(model.model, VectorModel)
        return [DocumentGraph(model) if one else ClassifierGraph(model)]
    raise GraphError(
        f"{type(model).__name__} has no graph: TorchScript and ONNX are for language models and "
        "classifiers that PyTorch trains; format=safetensors and hugging_face are for every run"
    )
