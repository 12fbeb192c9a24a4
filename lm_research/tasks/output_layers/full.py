"""The full softmax: every row's loss is taken over the whole vocabulary."""

from torch import Tensor

from lm_research.tasks.head_loss import head_loss, head_loss_with_hits
from lm_research.tasks.output_layers.linear import LinearOutput
from lm_research.tasks.output_layers.output_layer import OutputSpec


class Full(LinearOutput):
    """Cross-entropy of log softmax(W P y + b); by blocks of rows where the logits are many."""

    def __init__(self, spec: OutputSpec) -> None:
        super().__init__(spec)
        self.label_smoothing = spec.label_smoothing

    def loss(self, y_NH: Tensor, targets_N: Tensor) -> Tensor:
        """See :class:`OutputLayer`."""
        y_ND = self.project(y_NH)
        return head_loss(y_ND, self.weight, self.bias, targets_N, self.label_smoothing)

    def loss_with_hits(self, y_NH: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`OutputLayer`."""
        y_ND = self.project(y_NH)
        return head_loss_with_hits(y_ND, self.weight, self.bias, targets_N, self.label_smoothing)

    rows_loss = loss
