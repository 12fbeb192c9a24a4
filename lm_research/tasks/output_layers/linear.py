"""What output layers with one row of weights a token share: all but the loss.

Shapes: N rows, H what the model gives, D width of a shared matrix, V vocabulary; ``...`` any.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from lm_research.kernels.prepared import prepared_linear
from lm_research.tasks.output_layers.output_layer import (
    OutputLayer,
    OutputSpec,
    fine,
    log_softmax,
)

BEFORE = {"0.weight": "projection", "1.weight": "weight", "1.bias": "bias"}
"""Names in checkpoints of before, where a projected layer was an ``nn.Sequential`` of two."""


class LinearOutput(OutputLayer):
    """log p = log softmax(W P y + b), W (V, D) and b (V).

    The projection P (D, H) is there only where W is the vectorizer's and D is not H (Press & Wolf
    2017). Subclasses say how W and b are learned; their weights are the same, so that a run may
    start from those of another (``init_from``).
    """

    def __init__(self, spec: OutputSpec) -> None:
        super().__init__()
        weight_VD = spec.shared_VD
        width = spec.input_size if weight_VD is None else weight_VD.shape[1]
        last = nn.Linear(width, spec.vocabulary_size)
        projected = width != spec.input_size
        between = nn.Linear(spec.input_size, width, bias=False) if projected else None
        self.projection = None if between is None else between.weight
        self.weight = last.weight if weight_VD is None else weight_VD
        self.bias = last.bias if spec.bias else None
        self.training_elements = float(self.weight.numel() + width * spec.input_size * projected)

    def project(self, y: Tensor) -> Tensor:
        """(..., D): what W multiplies."""
        return y if self.projection is None else F.linear(y, self.projection)

    def forward(self, y: Tensor) -> Tensor:
        """Logits (..., V)."""
        return F.linear(self.project(y), self.weight, self.bias)

    def log_probs(self, y: Tensor) -> Tensor:
        """See :class:`OutputLayer`."""
        return log_softmax(self(y))

    def scorer(self) -> Callable[[Tensor], Tensor]:
        """Logits."""
        logits = prepared_linear(self.weight, self.bias)
        if self.projection is None:
            return lambda y: fine(logits(y))
        project = prepared_linear(self.projection, None)
        return lambda y: fine(logits(project(y)))

    def _load_from_state_dict(self, state_dict, prefix, *rest):  # type: ignore[no-untyped-def]
        for old, new in BEFORE.items():
            if prefix + old in state_dict:
                state_dict[prefix + new] = state_dict.pop(prefix + old)
        super()._load_from_state_dict(state_dict, prefix, *rest)
