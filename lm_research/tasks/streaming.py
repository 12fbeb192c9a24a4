"""What evaluation and generation need of a language model, however it was trained.

Shapes: B batch, T time, V vocabulary.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from torch import Tensor

Stream = Any
"""What a model carries from one call to the next: recurrent state and vectorizer history."""


Step = Callable[[Tensor, Stream], tuple[Tensor, Stream]]
"""One token a stream: ids_B and the streams, to scores_BV of what comes next and the streams on.

Scores are log p (nats) up to a constant of each row, float32 or finer.
"""


class StreamingModel(Protocol):
    """A model that reads a stream of ids piece by piece; how it is cut changes nothing.

    One that can prepare what many single tokens need has ``stepper()``, too: see :func:`stepper`.
    """

    vocabulary_size: int

    def start(self, batch: int) -> Stream:
        """The stream before its first token."""
        ...

    def advance(self, ids_BT: Tensor, stream: Stream) -> tuple[Tensor, Stream]:
        """log_p_BTV: after each token, log p(next | all so far) in nats; and the stream on."""
        ...


def stepper(model: StreamingModel) -> Step:
    """:meth:`StreamingModel.advance` for one token at a time, by the weights as they are now."""
    prepared: Callable[[], Step] | None = getattr(model, "stepper", None)
    return partial(_advance, model) if prepared is None else prepared()


def _advance(model: StreamingModel, ids_B: Tensor, stream: Stream) -> tuple[Tensor, Stream]:
    log_p_B1V, stream = model.advance(ids_B[:, None], stream)
    return log_p_B1V[:, -1], stream


def map_tensors(function: Any, value: Any) -> Any:
    """Apply ``function`` to every tensor of a nested state."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: map_tensors(function, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [map_tensors(function, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def select(value: Any, rows: Tensor) -> Any:
    """The given rows of every tensor of a nested state."""
    return map_tensors(lambda tensor: tensor.index_select(0, rows), value)
